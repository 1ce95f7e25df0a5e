"""Weights and the Python of their module -> what a first project says of them, and the files that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealift.errors import UsageError
from sealift.model.engines import WEIGHTS_SUFFIXES
from sealift.model.words import listed
from sealift.project.code import code_files
from sealift.project.forward import forward_arguments


@dataclass(frozen=True, slots=True)
class Built:
    """`architecture` as the project file has it, the Python files to copy by their place in the folder, and what
    `forward()` takes."""

    architecture: str
    copies: dict[str, Path]
    arguments: tuple[str, ...]


def architecture_problems(model: Path | None, architecture: str | None) -> list[str]:
    """What is wrong with a model and an architecture given together, or one without the other."""
    is_weights = model is not None and model.suffix in WEIGHTS_SUFFIXES
    if architecture is None:
        if model is None or not is_weights:
            return []
        return [
            f"model: {model.name} holds weights; name the Python that builds their module: --architecture net.py:Net"
        ]
    file, _, name = architecture.rpartition(":")
    problems = []
    if not is_weights:
        what = model.name if model is not None else "no model"
        problems.append(
            f"architecture: it belongs to weights ({listed(WEIGHTS_SUFFIXES)}), given with {what}"
        )
    if not file.endswith(".py") or not name.isidentifier():
        problems.append(f'architecture: expected "FILE.py:NAME" such as "net.py:Net", got "{architecture}"')
    elif not Path(file).is_file():
        problems.append(f"architecture: {file} is {'not a file' if Path(file).exists() else 'not there'}")
    return problems


def read_built(directory: Path, weights: Path, architecture: str) -> Built:
    """Look at both without running either.

    Raises: UsageError: no such class or function, or the Python lies where a project cannot name it. ModelError: the
        weights are a pickle of more than tensors.
    """
    file, _, name = architecture.rpartition(":")
    arguments = forward_arguments(Path(file), name)
    if weights.suffix != ".safetensors":
        from sealift.model.graph_checkpoint import read_weights

        read_weights(weights)
    module, inside = Path(file).resolve(), directory.resolve()
    if module.is_relative_to(inside):
        return Built(f"{module.relative_to(inside).as_posix()}:{name}", {}, arguments)
    copies = {path.relative_to(module.parent).as_posix(): path for path in code_files(module)}
    if weights.name in copies:
        raise UsageError(f"{weights.name} and the Python of its module would have one name")
    return Built(f"{module.name}:{name}", copies, arguments)
