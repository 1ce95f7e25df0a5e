"""Graph -> one in which chosen layers stand twice, as they are and quantised; an input says which one is quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sealift.optimize.quantise.activations import WEIGHTED
from sealift.optimize.quantise.graph import constants, consumers, element_types
from sealift.optimize.quantise.static_int8 import StaticRecipe
from sealift.optimize.quantise.weight_scales import (
    BYTE,
    SEVEN_BITS,
    channel_axis,
    channel_peaks,
    channel_scales,
)

SWITCH: Final = "sealift_quantised_layer"
"""The added input, int64 scalar: the index of the layer to quantise; any other number: none."""

_FLOAT_OUT: Final = frozenset({"Gemm", "MatMul"})


class Switched:
    """Builds it. What is not chosen costs nothing: only one of the two branches of a layer runs.

    `recipe`: its `kinds`, and how it rounds weights.
    """

    def __init__(
        self,
        model: ModelProto,
        ranges: Mapping[str, tuple[float, float]],
        recipe: StaticRecipe,
    ) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        self._ranges = ranges
        self._kinds = recipe.kinds
        self._per_channel = recipe.per_channel
        self._safe = recipe.overflow_safe and recipe.per_channel
        reduced = recipe.reduce_range or (recipe.overflow_safe and not recipe.per_channel)
        self._top = SEVEN_BITS if reduced else BYTE
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
        peaks = channel_peaks(node, weight, overflow_safe=self._safe)
        if not self._per_channel:
            peaks = np.full_like(peaks, peaks.max())
        shape = [1] * weight.ndim
        shape[channel_axis(node, weight.ndim)] = -1
        scales = channel_scales(peaks, self._top).reshape(shape)
        return np.asarray(np.round(weight / scales) * scales, weight.dtype)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name
