"""Model -> weights and arithmetic in float16, inputs and outputs as they were: half the size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from sealift.errors import ModelError
from sealift.optimize.quantise.fuse import cleaned
from sealift.optimize.quantise.graph import is_quantised, read_graph, write_graph
from sealift.optimize.quantise.onnxruntime_tool import quiet

LARGEST: Final = 65504.0
"""Of float16 (IEEE 754, binary16)."""

_FOREIGN = (Exception,)
"""onnxruntime.transformers raises ValueError, KeyError and others: the edge wraps whatever comes."""


def convert_to_half(model: Path, destination: Path) -> Path:
    """Write the model in float16; casts at its edge keep the types of inputs and outputs.

    Values below 6e-8 become zero. What float16 has no kernel for stays float32. The same model gives the same bytes.

    Raises: ModelError: it is quantised, holds no float32 weights or such that pass 65,504, or onnxruntime cannot do it.
    """
    if is_quantised(model):
        raise ModelError(f"{model.name} is quantised already; float16 would make it larger.")
    graph = read_graph(model)
    _check_weights(model, graph)
    converted = _converted(model, graph)
    return write_graph(cleaned(converted, graph), destination)


def _check_weights(model: Path, graph: ModelProto) -> None:
    floats = [tensor for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    if not floats:
        raise ModelError(f"{model.name} holds no float32 weights.")
    peaks = ((tensor.name, _peak(tensor)) for tensor in floats)
    problems = [f"{name}: {peak:.3g}" for name, peak in peaks if not peak <= LARGEST]
    if problems:
        raise ModelError(f"{model.name} has weights that float16 cannot hold (65,504).", problems=problems)


def _peak(tensor: TensorProto) -> float:
    """The largest magnitude; infinities are float16's own, as masks use them."""
    values = np.abs(numpy_helper.to_array(tensor))
    return float(np.max(values, initial=0.0, where=~np.isinf(values)))


def _converted(model: Path, graph: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    given = ModelProto()
    given.CopyFrom(graph)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: ModelProto = convert_float_to_float16(given, keep_io_types=True, disable_shape_infer=True)
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: onnxruntime cannot convert it to float16: {error}") from error
    return made
