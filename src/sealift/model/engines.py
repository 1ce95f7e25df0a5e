"""Which engines there are, and the files that each of them loads."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

ENGINES: Final[dict[str, tuple[str, ...]]] = {
    "onnxruntime": (".onnx",),
    "openvino": (".xml", ".onnx"),
    "torch": (".pt", ".ts", ".pt2"),
}
"""Engine -> suffixes of its files. The first engine that has a suffix is its default."""

SCRIPT_SUFFIXES: Final = (".pt", ".ts")
"""TorchScript: a file that tells neither the names nor the shapes of what it takes and gives."""

WEIGHTS_SUFFIXES: Final = (".safetensors", ".pth")
"""Weights alone, which no engine loads: with the Python that builds their module they become ONNX."""

PLATFORMS: Final[dict[str, str]] = {
    "onnxruntime": "onnxruntime_onnx",
    "openvino": "openvino",
    "torch": "pytorch_libtorch",
}
"""Engine -> `platform` of the Open Inference Protocol's model metadata, in Triton's words."""


def default_engine(path: PurePath) -> str | None:
    """The engine of a file whose project names none; None: no engine loads such a file."""
    return next((engine for engine, suffixes in ENGINES.items() if path.suffix in suffixes), None)


def known_suffixes() -> str:
    """For messages: `.onnx, .xml, .pt, .ts, .pt2`."""
    return ", ".join(dict.fromkeys(suffix for suffixes in ENGINES.values() for suffix in suffixes))
