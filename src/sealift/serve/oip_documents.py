"""The descriptive documents of the Open Inference Protocol v2, and those Triton's clients also ask for."""

from __future__ import annotations

from typing import Any, Final

from sealift import __version__
from sealift.model.engines import PLATFORMS, default_engine
from sealift.model.service import ServedModel, Service
from sealift.model.signature import TensorSpec
from sealift.serve.metrics import Stages

EXTENSIONS: Final = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]
_TRITON_TYPE: Final = {"BYTES": "TYPE_STRING"}


def server_metadata() -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": "sealift", "version": __version__, "extensions": EXTENSIONS}


def model_metadata(model: ServedModel, version: str) -> dict[str, Any]:
    """`GET /v2/models/{model}`; open axes are -1."""
    return {
        "name": model.name,
        "versions": [version],
        "platform": PLATFORMS[_engine(model)],
        "inputs": [_tensor(spec) for spec in model.signature.inputs],
        "outputs": [_tensor(spec) for spec in model.signature.outputs],
    }


def model_config(model: ServedModel) -> dict[str, Any]:
    """`GET /v2/models/{model}/config`: as much of Triton's model configuration as holds here."""
    return {
        "name": model.name,
        "platform": PLATFORMS[_engine(model)],
        "backend": _engine(model),
        "max_batch_size": 0,
        "input": [_config_tensor(spec) for spec in model.signature.inputs],
        "output": [_config_tensor(spec) for spec in model.signature.outputs],
    }


def _engine(model: ServedModel) -> str:
    return model.engine or default_engine(model.path) or "onnxruntime"


def repository_index(service: Service) -> list[dict[str, str]]:
    """`POST /v2/repository/index`: what is loaded; all of a release is."""
    return [
        {"name": model.name, "version": service.version, "state": "READY", "reason": ""}
        for model in service.models
    ]


def statistics(model: ServedModel, version: str, stages: Stages) -> dict[str, Any]:
    """One entry of `GET /v2/models/stats`: counts and nanoseconds since the worker started.

    `execution_count` are the runs; with batching they are fewer than the inferences.
    """
    spent = {
        name: {"count": times.count, "ns": int(times.sum * 1e9)}
        for name, times in (
            ("queue", stages.queue),
            ("compute_input", stages.decode),
            ("compute_infer", stages.inference),
            ("compute_output", stages.encode),
        )
    }
    total_ns = sum(entry["ns"] for entry in spent.values())
    return {
        "name": model.name,
        "version": version,
        "inference_count": stages.inference.count,
        "execution_count": stages.batch_rows.count,
        "inference_stats": {"success": {"count": stages.inference.count, "ns": total_ns}, **spent},
        "batch_stats": [],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": _dims(spec)}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    data_type = _TRITON_TYPE.get(spec.datatype, f"TYPE_{spec.datatype}")
    return {"name": spec.name, "data_type": data_type, "dims": _dims(spec)}


def _dims(spec: TensorSpec) -> list[int]:
    # An open rank cannot be said in the protocol; one open axis is the nearest.
    return [-1] if spec.shape is None else [axis if isinstance(axis, int) else -1 for axis in spec.shape]
