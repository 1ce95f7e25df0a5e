"""Model + observed ranges -> static INT8 in QDQ form, which engines fuse into integer operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from sealift.errors import ModelError
from sealift.optimize.quantise.activations import (
    WEIGHTED,
    folded_tensors,
    kinds_for,
    observed_tensors,
    quantised_nodes,
    with_followers,
)
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.graph import constants, prune_initialisers, read_graph, write_graph
from sealift.optimize.quantise.int8_edges import flatten_biases, keep_float_answers, shield_floats
from sealift.optimize.quantise.onnxruntime_tool import INFERRED, quiet, without_mark
from sealift.optimize.quantise.ranges import MINMAX
from sealift.optimize.quantise.weight_scales import weight_overrides

_FOREIGN = (Exception,)
"""onnxruntime.quantization raises ValueError, AssertionError and others: the edge wraps whatever comes."""


@dataclass(frozen=True, slots=True)
class StaticRecipe:
    """How to quantise.

    `method`: one of `ranges.METHODS`. `overflow_safe`: per-channel weights that cannot overflow without VNNI
    (`weight_scales.py`); `reduce_range`: all of them in seven bits, to the same end. `activations`: uint8 is what x86
    multiplies with int8 weights. `exclude`: nodes that stay in floating point. `kinds`: operator types; empty: what
    suits the graph.
    """

    method: str = MINMAX
    per_channel: bool = True
    reduce_range: bool = False
    overflow_safe: bool = False
    activations: Literal["uint8", "int8"] = "uint8"
    exclude: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


def quantise_static(model: Path, observed: Observed, recipe: StaticRecipe, destination: Path) -> Path:
    """Write the model with QuantizeLinear and DequantizeLinear around what is quantised.

    Weights are symmetric int8, per output channel; biases int32. Names, types and shapes of inputs and outputs stay.
    The same arguments give the same bytes.

    Args:
        model: the file that was calibrated.
    Raises: ModelError: `observed` is of another model, nothing is left to quantise, or onnxruntime cannot do it.
        UsageError: no such method.
    """
    graph = read_graph(model)
    flatten_biases(graph.graph)
    asked = replace(
        recipe,
        kinds=recipe.kinds or kinds_for(graph.graph),
        exclude=tuple(sorted(with_followers(graph.graph, recipe.exclude))),
    )
    nodes = [node for node in quantised_nodes(graph.graph, asked.kinds) if node.name not in asked.exclude]
    if not any(node.op_type in WEIGHTED for node in nodes):
        raise ModelError(f"{model.name}: no layer with weights is left to be quantised.")
    ranges = all_ranges(model, graph.graph, observed, asked)
    quantised = _quantised(model, graph, asked, nodes, ranges)
    keep_float_answers(quantised.graph, asked.kinds)
    shield_floats(quantised.graph)
    prune_initialisers(quantised.graph)
    return write_graph(quantised, destination)


def all_ranges(
    model: Path, graph: GraphProto, observed: Observed, recipe: StaticRecipe
) -> dict[str, tuple[float, float]]:
    """The range of every activation by the recipe's method, of those that a Clip or Relu cuts too.

    Raises: ModelError: `observed` is of another model. UsageError: no such method.
    """
    ranges = observed.ranges(recipe.method)
    missing = [
        name for name in observed_tensors(graph, recipe.kinds or kinds_for(graph)) if name not in ranges
    ]
    if missing:
        raise ModelError(
            f"{model.name}: calibration did not observe {len(missing)} of its tensors, {missing[0]!r} for one.",
            next_step="calibrate this very file",
        )
    folded = folded_tensors(graph)
    for name in folded:
        last = name
        while last in folded:
            last = folded[last]
        if last in ranges:
            ranges[name] = ranges[last]
    return ranges


def _quantised(
    model: Path,
    graph: ModelProto,
    recipe: StaticRecipe,
    nodes: list[NodeProto],
    ranges: Mapping[str, tuple[float, float]],
) -> ModelProto:
    from onnxruntime.quantization import QuantType, qdq_quantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    activations = QuantType.QUInt8 if recipe.activations == "uint8" else QuantType.QInt8
    safe = recipe.overflow_safe and recipe.per_channel
    overrides = weight_overrides(nodes, constants(graph.graph), overflow_safe=safe)
    graph.metadata_props.add(key=INFERRED[0], value=INFERRED[1])
    try:
        with quiet():
            quantizer = qdq_quantizer.QDQQuantizer(
                graph,
                recipe.per_channel,
                recipe.reduce_range or (recipe.overflow_safe and not safe),
                QuantType.QInt8,
                activations,
                _tensor_data(ranges),
                [node.name for node in nodes],
                list(recipe.exclude),
                list(recipe.kinds),
                {
                    "ActivationSymmetric": recipe.activations == "int8",
                    "WeightSymmetric": True,
                    "TensorQuantOverrides": overrides,
                },
            )
            quantised: ModelProto = quantizer.quantize_model()
            ONNXModel(quantised).topological_sort()
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: onnxruntime cannot quantise it: {error}") from error
    return without_mark(quantised)


def _tensor_data(ranges: Mapping[str, tuple[float, float]]) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)
