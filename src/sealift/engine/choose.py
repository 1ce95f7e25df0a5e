"""Which engine loads a model file; the engine's own package is imported only then."""

from __future__ import annotations

from pathlib import Path

from sealift.engine.protocol import Engine
from sealift.errors import ModelError


def engine_for(model: Path) -> Engine:
    """The engine of a file, by its suffix. Raises: ModelError: no engine for it."""
    if model.suffix == ".onnx":
        from sealift.engine.onnxruntime import OnnxRuntime

        return OnnxRuntime()
    raise ModelError(
        f"{model.name}: no engine loads {model.suffix or 'a file without a suffix'} (known: .onnx)"
    )
