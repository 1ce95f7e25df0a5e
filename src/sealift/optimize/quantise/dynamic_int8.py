"""Model -> INT8 weights, with activations quantised while it runs; and whether that makes sense for a model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from sealift.errors import ModelError
from sealift.optimize.quantise.activations import WEIGHTED
from sealift.optimize.quantise.graph import (
    QUANTISED_KINDS,
    constants,
    prune_initialisers,
    read_graph,
    write_graph,
)
from sealift.optimize.quantise.onnxruntime_tool import INFERRED, quiet, without_mark

LINEAR: Final = ("Attention", "Gemm", "MatMul")
"""What gains: the weights dominate, and activations are few."""

CONVOLUTIONAL: Final = (*LINEAR, "Conv")

ENOUGH_SHARE: Final = 0.5
"""Of all weights, to be found in linear layers."""

ENOUGH_WEIGHTS: Final = 1 << 16
"""Of the largest linear layer; below, quantising the activations takes longer than the product saves."""

_FOREIGN = (Exception,)
"""onnxruntime.quantization raises ValueError, AssertionError and others: the edge wraps whatever comes."""


@dataclass(frozen=True, slots=True)
class DynamicRecipe:
    """How to quantise. `kinds`: operator types. `reduce_range`: weights in seven bits. `exclude`: names of nodes."""

    kinds: tuple[str, ...] = LINEAR
    per_channel: bool = True
    reduce_range: bool = False
    exclude: tuple[str, ...] = ()


def quantise_dynamic(model: Path, recipe: DynamicRecipe, destination: Path) -> Path:
    """Write the model with symmetric int8 weights and DynamicQuantizeLinear before each product with them.

    A row's range is that of all rows beside it: answers depend on the batch. The same arguments give the same bytes.

    Raises: ModelError: nothing of these kinds has constant weights, or onnxruntime cannot do it.
    """
    graph = read_graph(model)
    nodes = [node for node, _ in _products(graph.graph, recipe.kinds) if node.name not in recipe.exclude]
    if not nodes:
        raise ModelError(f"{model.name}: no {' or '.join(recipe.kinds)} with constant weights.")
    return write_graph(_quantised(model, graph, recipe, [node.name for node in nodes]), destination)


def is_apt_for_dynamic(model: Path) -> tuple[bool, str]:
    """Whether dynamic INT8 is worth building, and why, in words with figures.

    Raises: ModelError: the model cannot be read.
    """
    graph = read_graph(model, weights=False).graph
    if _is_quantised(graph):
        return False, "its weights are quantised already"
    total = sum(size for _, size in _products(graph, (*CONVOLUTIONAL, "ConvTranspose")))
    linear = [size for _, size in _products(graph, LINEAR)]
    if not linear:
        return False, "it has no linear layer with constant weights"
    share = sum(linear) / total
    if share < ENOUGH_SHARE:
        return False, f"only {share:.0%} of its weights are in linear layers; convolutions get slower"
    if max(linear) < ENOUGH_WEIGHTS:
        return False, f"its largest linear layer has {max(linear):,} weights, too few to gain"
    return True, f"{share:.0%} of its weights are in linear layers, the largest with {max(linear):,}"


def is_apt_for_static(model: Path) -> tuple[bool, str]:
    """Whether static INT8 can be built, and why; whether it gains is measured.

    Raises: ModelError: the model cannot be read.
    """
    graph = read_graph(model, weights=False).graph
    if _is_quantised(graph):
        return False, "its weights are quantised already"
    sizes = [size for _, size in _products(graph, tuple(WEIGHTED - {"ConvTranspose"}))]
    if not sizes:
        return False, "it has no layer with constant weights in floating point"
    return True, f"{len(sizes)} layers with {sum(sizes):,} weights"


def _is_quantised(graph: GraphProto) -> bool:
    return any(node.op_type in QUANTISED_KINDS for node in graph.node)


def _products(graph: GraphProto, kinds: tuple[str, ...]) -> Iterator[tuple[NodeProto, int]]:
    """Nodes of these kinds with a constant weight of two axes or more, and how many numbers it holds."""
    known = constants(graph)
    for node in graph.node:
        weight = known.get(node.input[1]) if node.op_type in kinds and len(node.input) > 1 else None
        if weight is not None and len(weight.dims) > 1 and weight.data_type == TensorProto.FLOAT:
            yield node, math.prod(weight.dims)


def _quantised(model: Path, graph: ModelProto, recipe: DynamicRecipe, nodes: list[str]) -> ModelProto:
    from onnxruntime.quantization import QuantType, onnx_quantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    graph.metadata_props.add(key=INFERRED[0], value=INFERRED[1])
    kinds = [*recipe.kinds, "MatMul"] if "Gemm" in recipe.kinds else list(recipe.kinds)
    try:
        with quiet():
            quantizer = onnx_quantizer.ONNXQuantizer(
                graph,
                recipe.per_channel,
                recipe.reduce_range,
                QuantizationMode.IntegerOps,
                False,
                QuantType.QInt8,
                QuantType.QUInt8,
                None,
                [],
                _left_out(graph.graph, nodes),
                kinds,
                {"MatMulConstBOnly": True, "WeightSymmetric": True},
            )
            quantised: ModelProto = quantizer.quantize_model()
            quantizer.model.topological_sort()
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: onnxruntime cannot quantise it: {error}") from error
    prune_initialisers(quantised.graph)
    return without_mark(quantised)


def _left_out(graph: GraphProto, nodes: list[str]) -> list[str]:
    """All others by name, also as onnxruntime calls the product that it makes of a Gemm."""
    kept = set(nodes)
    names = [node.name for node in graph.node if node.name not in kept]
    return [*names, *(f"{name}_MatMul" for name in names)]
