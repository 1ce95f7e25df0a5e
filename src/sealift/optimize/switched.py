"""Graph -> one in which chosen layers stand twice, as they are and quantised; an input says which one is quantised."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sealift.optimize.activations import WEIGHTED
from sealift.optimize.graph import constants, consumers, element_types

SWITCH: Final = "sealift_quantised_layer"
"""The added input, int64 scalar: the index of the layer to quantise; any other number: none."""

_FLOAT_OUT: Final = frozenset({"Gemm", "MatMul"})


class Switched:
    """Builds it. What is not chosen costs nothing: only one of the two branches of a layer runs.

    `kinds`: operator types that are quantised; `weight_top`: the largest weight, 127 or with `reduce_range` 64.
    """

    def __init__(
        self,
        model: ModelProto,
        ranges: Mapping[str, tuple[float, float]],
        kinds: Collection[str],
        *,
        per_channel: bool = True,
        weight_top: int = 127,
    ) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        self._ranges = ranges
        self._kinds = kinds
        self._per_channel = per_channel
        self._top = weight_top
        self._known = constants(model.graph)
        self._types = element_types(model.graph)
        self._takers = consumers(model.graph)

    def build(self, chosen: Sequence[NodeProto]) -> ModelProto:
        """A model with the input `SWITCH` more; layers are numbered as they stand in `chosen`. Call it once."""
        indices = {node.name: index for index, node in enumerate(chosen)}
        nodes = list(self._graph.node)
        del self._graph.node[:]
        for node in nodes:
            twice = self._twice(node, indices[node.name]) if node.name in indices else [node]
            self._graph.node.extend(twice)
        self._graph.input.append(helper.make_tensor_value_info(SWITCH, TensorProto.INT64, []))
        return self._model

    def _twice(self, node: NodeProto, index: int) -> list[NodeProto]:
        prefix = f"{SWITCH}/{index}"
        plain = NodeProto()
        plain.CopyFrom(node)
        plain.output[0] = f"{prefix}/plain"
        number = self._constant(f"{prefix}/number", np.array(index, np.int64))
        rounded = self._rounded(node, prefix)
        branches = {
            "then_branch": self._branch(node, rounded),
            "else_branch": self._branch(node, [plain]),
        }
        is_it = helper.make_node("Equal", [SWITCH, number], [f"{prefix}/is_it"])
        return [
            is_it,
            helper.make_node("If", [is_it.output[0]], [node.output[0]], name=node.name, **branches),
        ]

    def _branch(self, node: NodeProto, nodes: Sequence[NodeProto]) -> Any:
        made = helper.make_tensor_value_info(nodes[-1].output[0], self._types[node.output[0]], None)
        return helper.make_graph(list(nodes), nodes[-1].output[0], [], [made])

    def _rounded(self, node: NodeProto, prefix: str) -> list[NodeProto]:
        """The layer with rounded inputs, weight and, where it answers in bytes, output."""
        layer = NodeProto()
        layer.CopyFrom(node)
        layer.output[0] = f"{prefix}/rounded"
        before: list[NodeProto] = []
        for position, name in enumerate(node.input):
            if node.op_type in WEIGHTED and position == 1 and name in self._known:
                weight = self._weight(node, numpy_helper.to_array(self._known[name]))
                layer.input[position] = self._constant(f"{prefix}/weight", weight)
            elif pair := self._pair(name, name, f"{prefix}/in{position}"):
                before += pair
                layer.input[position] = f"{prefix}/in{position}"
        after = self._pair(node.output[0], layer.output[0], f"{prefix}/out") if self._in_bytes(node) else []
        return [*before, layer, *after]

    def _in_bytes(self, node: NodeProto) -> bool:
        takers = self._takers.get(node.output[0], [])
        return node.op_type not in _FLOAT_OUT or any(taker.op_type in self._kinds for taker in takers)

    def _pair(self, ranged: str, given: str, made: str) -> list[NodeProto]:
        """QuantizeLinear and DequantizeLinear, uint8; nothing where no range is known or only zero was seen."""
        low, high = self._ranges.get(ranged, (0.0, 0.0))
        if low == high:
            return []
        scale = (high - low) / 255
        zero = int(np.clip(round(-low / scale), 0, 255))
        ends = [
            self._constant(f"{made}/scale", np.array(scale, np.float32)),
            self._constant(f"{made}/zero", np.array(zero, np.uint8)),
        ]
        return [
            helper.make_node("QuantizeLinear", [given, *ends], [f"{made}/bytes"]),
            helper.make_node("DequantizeLinear", [f"{made}/bytes", *ends], [made]),
        ]

    def _weight(self, node: NodeProto, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """What symmetric int8 keeps of it, per output channel."""
        axis = 0 if node.op_type == "Conv" or _transposed(node) else weight.ndim - 1
        others = tuple(other for other in range(weight.ndim) if other != axis)
        peaks = np.abs(weight).max(axis=others if self._per_channel else None, keepdims=True)
        scales = np.where(peaks > 0, peaks, 1) / self._top
        return np.asarray(np.round(weight / scales) * scales, weight.dtype)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _transposed(node: NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
