"""A model file of any engine -> the model as a release carries it. Connected side only.

Each format is read by a file of its own, and its package imported only then: a PyTorch model is packed on a
machine without onnx.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import ModelError
from sealift.model.adapted import Adapted
from sealift.model.engines import WEIGHTS_SUFFIXES, default_engine
from sealift.model.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file, the engine that shall load it ('' : by its suffix), and what its project says of its tensors."""

    path: Path
    engine: str = ""
    inputs: Sequence[TensorSpec] = ()
    outputs: Sequence[TensorSpec] = ()


def adapt_file(model: ModelFile, destination: Path) -> Adapted:
    """Write the model and its data files into the folder `destination` (made if missing), as `model.SUFFIX`.

    Raises: ModelError: not readable, a data file is missing, or its inputs and outputs cannot be served or are
        not as declared.
    """
    _refuse_weights(model.path)
    if model.path.suffix == ".onnx" or default_engine(model.path) is None:
        from sealift.model.onnx_graph import adapt

        return adapt(model.path, destination)
    if destination.resolve() == model.path.parent.resolve():
        raise ModelError(f"{destination} holds the model itself; choose another folder to write into.")
    signature = signature_of_file(model)
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    for file in files_of(model.path):
        target = destination / f"model{file.suffix}"
        shutil.copyfile(file, target)
        written.append(target)
    return Adapted(written[0], tuple(written), signature)


def files_of(path: Path) -> tuple[Path, ...]:
    """The model, or its weights alone, and the data files that belong to it.

    Raises: ModelError: one of them is not there.
    """
    if path.suffix in WEIGHTS_SUFFIXES:
        return (path,)
    if path.suffix == ".xml":
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise ModelError(
                f"{path.name}: the weights {weights.name} do not lie beside it",
                next_step="copy both files that openvino.save_model wrote",
            )
        return (path, weights)
    if path.suffix == ".onnx" or default_engine(path) is None:
        from sealift.model.onnx_graph import data_files

        return (path, *data_files(path))
    return (path,)


def size_of(path: Path) -> int:
    """Bytes on disk of the model with its data files. Raises: ModelError: as `files_of`."""
    return sum(file.stat().st_size for file in files_of(path))


def signature_of_file(model: ModelFile) -> Signature:
    """What the model takes and gives, from its file or its project; TorchScript is run to find out.

    Raises: ModelError.
    """
    return _reader(model.path)(model)


def _refuse_weights(path: Path) -> None:
    if path.suffix in WEIGHTS_SUFFIXES:
        from sealift.model.graph_checkpoint import weights_alone

        raise weights_alone(path)


def _reader(path: Path) -> Callable[[ModelFile], Signature]:
    _refuse_weights(path)
    match default_engine(path):
        case "torch":
            from sealift.model.graph_checkpoint import refuse_checkpoint
            from sealift.model.graph_torch import exported_signature, script_signature

            refuse_checkpoint(path)
            if path.suffix == ".pt2":
                return lambda model: exported_signature(model.path)
            return lambda model: script_signature(model.path, model.inputs, model.outputs)
        case "openvino":
            from sealift.model.graph_openvino import ir_signature

            return lambda model: ir_signature(model.path)
        case _:
            from sealift.model.onnx_graph import read_signature

            return lambda model: read_signature(model.path)
