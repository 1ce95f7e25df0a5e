"""Weights + the Python that builds their module -> the module, in evaluation mode.

The Python is the engineer's own and is executed here, on the connected machine. The weights are not: they are tensors,
read from a `.safetensors`, or from a `.pth` by a reader that runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError
from sealift.model.arrays import did_you_mean
from sealift.model.graph_checkpoint import read_weights
from sealift.model.handler_load import failure_text, load_code
from sealift.project.project import Architecture

_FOREIGN = (Exception, SystemExit)
"""A person's own Python, and readers of files: anything can come out of them."""

_PARALLEL: Final = "module."
"""What torch.nn.DataParallel puts before every name."""

_TORCH: Final = "pip install 'sealift[torch]'"


def import_exporter() -> Any:
    """torch, once all that an export takes is known to be here.

    Raises: ModelError: torch or onnxscript is missing.
    """
    try:
        import onnxscript  # noqa: F401  the exporter imports it late, and with a message of its own
        import torch
    except ImportError as error:
        raise ModelError(
            f"making ONNX of a PyTorch model needs PyTorch and onnxscript on this machine: {error}",
            next_step=f"{_TORCH}; the box needs neither",
        ) from error
    return torch


def build_module(architecture: Architecture, weights: Path) -> Any:
    """A torch.nn.Module with exactly these weights, in evaluation mode.

    Raises: ModelError: the file does not load, has no such name or it raises, what it returns is no module, or the
        weights do not fit it: all missing and unexpected names and other shapes at once.
    """
    torch = import_exporter()
    build = _named(architecture)
    try:
        module = build(**architecture.arguments)
    except _FOREIGN as error:
        given = ", ".join(f"{key}={value!r}" for key, value in architecture.arguments.items())
        why = failure_text(error, architecture.module.parent)
        raise ModelError(
            f"{architecture.module.name}: {architecture.name}({given}) raises {why}",
            next_step="what it is called with stands in [model.arguments]",
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{architecture.module.name}: {architecture.name} gives a {type(module).__name__}, "
            "expected a torch.nn.Module"
        )
    tensors = _fitting(module.state_dict(), load_tensors(weights), weights, architecture)
    module.load_state_dict(tensors)
    return module.eval()


def load_tensors(weights: Path) -> dict[str, Any]:
    """Name -> torch.Tensor. Raises: ModelError: damaged, or a `.pth` with anything but tensors."""
    torch = import_exporter()
    if weights.suffix != ".safetensors":
        return {name: torch.from_numpy(array.copy()) for name, array in read_weights(weights).items()}
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModelError(
            f"{weights.name} needs the package safetensors: {error}", next_step=_TORCH
        ) from error
    try:
        return dict(load_file(weights))
    except _FOREIGN as error:
        raise ModelError(
            f"{weights.name} is not a safetensors file, or is damaged: {error}",
            next_step="copy the file again",
        ) from error


def _named(architecture: Architecture) -> Any:
    file, name = architecture.module, architecture.name
    try:
        module = load_code(file, "architecture")
    except ModelError as error:
        raise ModelError(
            error.message,
            problems=error.problems,
            next_step="install what it imports on this machine; the box does not need it",
        ) from error
    found = getattr(module, name, None)
    if found is None:
        there = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise ModelError(f"{file.name} has no {name}{did_you_mean(name, there)}")
    if not callable(found):
        raise ModelError(f"{file.name}: {name} is a {type(found).__name__}, expected a class or function")
    return found


def _fitting(
    expected: Mapping[str, Any], tensors: Mapping[str, Any], weights: Path, architecture: Architecture
) -> Mapping[str, Any]:
    """The tensors under the module's own names. Raises: ModelError: they are not the module's."""
    if not set(tensors) & set(expected) and all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    problems = [*_misfits(expected, tensors)]
    if problems:
        raise ModelError(
            f"{weights.name} does not fit {architecture.module.name}:{architecture.name}",
            problems=problems,
            next_step="give the architecture and [model.arguments] of the training",
        )
    return tensors


def _misfits(expected: Mapping[str, Any], tensors: Mapping[str, Any]) -> Iterator[str]:
    for name, wanted in expected.items():
        if name not in tensors:
            yield f"{name} is missing; the module has {list(wanted.shape)}"
        elif tensors[name].shape != wanted.shape:
            yield f"{name} is {list(tensors[name].shape)}, the module has {list(wanted.shape)}"
    for name in tensors:
        if name not in expected:
            yield f"{name} is unexpected: the module has no such tensor"
