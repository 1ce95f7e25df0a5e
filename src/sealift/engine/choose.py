"""Which engine loads a model; the engine's own package is imported only then."""

from __future__ import annotations

from pathlib import Path

from sealift.engine.gpu_build import prefer_gpu_build
from sealift.engine.protocol import Engine
from sealift.errors import ModelError
from sealift.model.engines import default_engine, known_suffixes
from sealift.model.service import ServedModel


def engine_of(model: ServedModel) -> Engine:
    """The engine of a served model: the one that it names, else that of its file's suffix.

    Raises: ModelError: no engine for it, or the engine's package is not installed here.
    """
    names = tuple(spec.name for spec in model.signature.inputs)
    results = tuple(spec.name for spec in model.signature.outputs)
    if model.precision == "bf16":
        return _in_bf16(model, names, results)
    return engine_for(model.path, model.engine, names, results)


def _in_bf16(model: ServedModel, names: tuple[str, ...], results: tuple[str, ...]) -> Engine:
    """Raises: ModelError: only OpenVINO calculates in another precision than the file's."""
    engine = model.engine or default_engine(model.path)
    if engine != "openvino":
        raise ModelError(f"{model.path.name}: {engine} does not calculate in bf16, openvino does")
    from sealift.engine.openvino import OpenVino

    return OpenVino(names, results, precision="bf16")


def engine_for(
    model: Path, engine: str = "", inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()
) -> Engine:
    """An engine for a file.

    Args:
        engine: a name of `model.engines.ENGINES`; empty: by the file's suffix.
        inputs: names in the order of the model's arguments, for files that carry none; likewise `outputs`.
    Raises: ModelError: no engine for it, or the engine's package is not installed here.
    """
    match engine or default_engine(model):
        case "onnxruntime":
            prefer_gpu_build()
            from sealift.engine.onnxruntime import OnnxRuntime

            return OnnxRuntime()
        case "openvino":
            from sealift.engine.openvino import OpenVino

            return OpenVino(inputs, outputs)
        case "torch":
            from sealift.engine.torch import Torch

            return Torch(inputs, outputs)
        case None:
            known = f"(known: {known_suffixes()})"
            raise ModelError(
                f"{model.name}: no engine loads {model.suffix or 'a file without a suffix'} {known}"
            )
        case other:
            raise ModelError(f"{model.name}: this sealift has no engine {other!r}")
