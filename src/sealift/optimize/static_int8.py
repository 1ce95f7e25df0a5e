"""Model + observed ranges -> static INT8 in QDQ form, which engines fuse into integer operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from sealift.errors import ModelError
from sealift.optimize.activations import (
    WEIGHTED,
    folded_tensors,
    kinds_for,
    observed_tensors,
    quantised_nodes,
    with_followers,
)
from sealift.optimize.calibrate import Observed
from sealift.optimize.graph import consumers, keep_nodes, read_graph, write_graph
from sealift.optimize.onnxruntime_tool import INFERRED, quiet, without_mark
from sealift.optimize.ranges import MINMAX

_FLOAT_OUT: Final = frozenset({"Gemm", "MatMul"})
"""Their integer kernels can answer in float32: rounding the answer to a byte would only cost."""

_FOREIGN = (Exception,)
"""onnxruntime.quantization raises ValueError, AssertionError and others: the edge wraps whatever comes."""


@dataclass(frozen=True, slots=True)
class StaticRecipe:
    """How to quantise.

    `method`: one of `ranges.METHODS`. `reduce_range`: weights in seven bits, which cannot overflow without VNNI
    (`overflow.py`). `activations`: uint8 is what x86 multiplies with int8 weights. `exclude`: nodes that stay in
    floating point. `kinds`: operator types; empty: what suits the graph.
    """

    method: str = MINMAX
    per_channel: bool = True
    reduce_range: bool = False
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
    asked = replace(
        recipe,
        kinds=recipe.kinds or kinds_for(graph.graph),
        exclude=tuple(sorted(with_followers(graph.graph, recipe.exclude))),
    )
    nodes = [node for node in quantised_nodes(graph.graph, asked.kinds) if node.name not in asked.exclude]
    if not any(node.op_type in WEIGHTED for node in nodes):
        raise ModelError(f"{model.name}: no layer with weights is left to be quantised.")
    ranges = _ranges(model, graph.graph, observed, asked)
    quantised = _quantised(model, graph, asked, [node.name for node in nodes], ranges)
    keep_float_answers(quantised.graph, asked.kinds)
    return write_graph(quantised, destination)


def _ranges(
    model: Path, graph: GraphProto, observed: Observed, recipe: StaticRecipe
) -> dict[str, tuple[float, float]]:
    ranges = observed.ranges(recipe.method)
    missing = [name for name in observed_tensors(graph, recipe.kinds) if name not in ranges]
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
    nodes: list[str],
    ranges: Mapping[str, tuple[float, float]],
) -> ModelProto:
    from onnxruntime.quantization import QuantType, qdq_quantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    activations = QuantType.QUInt8 if recipe.activations == "uint8" else QuantType.QInt8
    graph.metadata_props.add(key=INFERRED[0], value=INFERRED[1])
    try:
        with quiet():
            quantizer = qdq_quantizer.QDQQuantizer(
                graph,
                recipe.per_channel,
                recipe.reduce_range,
                QuantType.QInt8,
                activations,
                _tensor_data(ranges),
                nodes,
                list(recipe.exclude),
                list(recipe.kinds),
                {"ActivationSymmetric": recipe.activations == "int8", "WeightSymmetric": True},
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


def keep_float_answers(graph: GraphProto, kinds: Collection[str]) -> None:
    """Take back, in place, the rounding of products that only floating-point operators or the caller read.

    A Gemm or MatMul whose answer goes through QuantizeLinear and DequantizeLinear to no node of `kinds` that could run
    on bytes gives it in float32 instead.
    """
    takers = consumers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {value.name for value in graph.output}
    dropped: set[str] = set()
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or makers.get(node.input[0], node).op_type not in _FLOAT_OUT:
            continue
        pair = takers.get(node.output[0], [])
        if len(takers[node.input[0]]) != 1 or len(pair) != 1 or pair[0].op_type != "DequantizeLinear":
            continue
        after = takers.get(pair[0].output[0], [])
        if pair[0].output[0] not in outputs and any(
            taker.op_type in kinds and _is_integer(taker, takers) for taker in after
        ):
            continue
        _rename_output(makers[node.input[0]], node.input[0], pair[0].output[0])
        dropped |= {node.name, pair[0].name}
    keep_nodes(graph, lambda node: node.name not in dropped)


def _is_integer(node: NodeProto, takers: Mapping[str, list[NodeProto]]) -> bool:
    """Whether all that a node gives is quantised again, so that it may run on bytes."""
    given = [taker for name in node.output for taker in takers.get(name, [])]
    return bool(given) and all(taker.op_type == "QuantizeLinear" for taker in given)


def _rename_output(node: NodeProto, old: str, new: str) -> None:
    for position, name in enumerate(node.output):
        if name == old:
            node.output[position] = new
