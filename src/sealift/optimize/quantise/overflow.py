"""INT8 model -> which layers would give wrong sums on a processor without VNNI.

There onnxruntime multiplies unsigned by signed bytes with vpmaddubsw, which adds two products in 16 bits and saturates
(Intel SDM vol. 2, PMADDUBSW). Whatever the input, that cannot happen where two weights that meet add up to no more
than 128 in magnitude: 255 * 128 = 32,640.

Source: onnxruntime, "Quantize ONNX Models", on U8S8 and reduce_range; MLAS, QgemmU8X8KernelAvx2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from sealift.optimize.quantise.graph import constants, read_graph
from sealift.optimize.quantise.weight_scales import CONVOLUTIONS, is_depthwise, worst_pairs

LARGEST_BYTE: Final = 255
LARGEST_SUM: Final = 2**15 - 1
"""The other end is one further away, and no multiple of 255 lies between."""

_WEIGHT_AT: Final = {
    "Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "Gemm": 1, "QGemm": 3, "MatMul": 1, "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3, "QAttention": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeRisk:
    """`largest` is 255 * |w_i + w_j| of like signs, the largest over weights that meet."""

    node: str
    kind: str
    largest: int

    @property
    def safe(self) -> bool:
        """No input can make it saturate."""
        return self.largest <= LARGEST_SUM


@dataclass(frozen=True, slots=True)
class OverflowRisk:
    """Of a whole model; `nodes` are those that multiply bytes, in graph order."""

    nodes: tuple[NodeRisk, ...]

    @property
    def unsafe(self) -> tuple[NodeRisk, ...]:
        """Those that an input could make saturate."""
        return tuple(node for node in self.nodes if not node.safe)

    @property
    def safe(self) -> bool:
        """No input can make any of them saturate."""
        return not self.unsafe

    def in_words(self) -> str:
        """Empty where it is safe; else how many layers, and the worst with its figures."""
        if self.safe:
            return ""
        worst = max(self.unsafe, key=lambda node: node.largest)
        return (
            f"{len(self.unsafe)} of {len(self.nodes)} layers can pass 16 bits, "
            f"{worst.node} with {worst.largest:,} of {LARGEST_SUM:,}"
        )


def overflow_risk(model: Path) -> OverflowRisk:
    """Judge every product with constant signed bytes: of a QDQ model, of a dynamic one, of one in integer operators.

    The bound holds for any input and for either order in which MLAS lays a convolution's weights out (channels first
    or last). Depthwise convolutions are safe: their kernel multiplies in 32 bits (MLAS, qdwconv).

    Raises: ModelError: the model cannot be read.
    """
    graph = read_graph(model).graph
    values = constants(graph)
    kept = {
        node.output[0]: values[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    }
    return OverflowRisk(tuple(_risks(graph.node, values | kept)))


def _risks(nodes: Any, values: Mapping[str, TensorProto]) -> Iterator[NodeRisk]:
    for node in nodes:
        position = _WEIGHT_AT.get(node.op_type)
        if position is None or len(node.input) <= position:
            continue
        weight = values.get(node.input[position])
        if weight is not None and weight.data_type == TensorProto.INT8 and len(weight.dims) > 1:
            yield _risk(node, numpy_helper.to_array(weight).astype(np.int32))


def _risk(node: NodeProto, weight: NDArray[np.int32]) -> NodeRisk:
    if is_depthwise(node, weight.shape):
        return NodeRisk(node.name, node.op_type, 0)
    if node.op_type not in CONVOLUTIONS and weight.ndim > 2:  # a stack of products
        weight = np.moveaxis(weight, -2, 0).reshape(weight.shape[-2], -1)
    return NodeRisk(node.name, node.op_type, LARGEST_BYTE * int(worst_pairs(node, weight).max(initial=0)))
