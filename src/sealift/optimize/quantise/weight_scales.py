"""Weights -> scales that no input can make overflow without VNNI, and that cost less than seven bits for all.

A whole layer in seven bits (`reduce_range`) assumes the worst of every pair of weights. Here each channel gives up
only what its own worst pair asks for, and depthwise convolutions, whose kernel cannot overflow, nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from sealift.optimize.quantise.activations import WEIGHTED

BYTE: Final = 127
SEVEN_BITS: Final = 64
_SMALLEST_PEAK: Final = 1e-30
"""Below, a scale would leave what float32 holds exactly; such weights become zero."""

CONVOLUTIONS: Final = frozenset({"Conv", "ConvInteger", "QLinearConv"})

Overrides = dict[str, list[dict[str, Any]]]
"""Weight -> what onnxruntime calls tensor quantisation overrides: one entry for all, or one a channel."""


def weight_overrides(
    nodes: Iterable[NodeProto], known: Mapping[str, TensorProto], *, overflow_safe: bool
) -> Overrides:
    """What onnxruntime would not choose by itself for these nodes' weights.

    A product's weight of three axes or more gets one scale: its channels are not where onnxruntime looks for them.
    A weight that several nodes share is put in seven bits where it has to be safe.
    """
    weighted = [node for node in nodes if node.op_type in WEIGHTED]
    uses = Counter(node.input[1] for node in weighted)
    found: Overrides = {}
    for node in weighted:
        name = node.input[1]
        rank = len(known[name].dims)
        if node.op_type == "MatMul" and rank != 2:
            found[name] = [{"symmetric": True, "reduce_range": overflow_safe}]
        elif overflow_safe and uses[name] > 1:
            found[name] = [{"axis": channel_axis(node, rank), "symmetric": True, "reduce_range": True}]
        elif overflow_safe:
            found[name] = _safe(node, numpy_helper.to_array(known[name]))
    return found


def _safe(node: NodeProto, weight: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Rounding adds half a step to either weight: 127 and one make the 128 that are permitted."""
    scales = channel_scales(channel_peaks(node, weight, overflow_safe=True), BYTE)
    entries: list[dict[str, Any]] = [{"scale": scale, "zero_point": np.int8(0)} for scale in scales]
    entries[0]["axis"] = channel_axis(node, weight.ndim)
    return entries


def channel_peaks(
    node: NodeProto, weight: NDArray[np.float32], *, overflow_safe: bool
) -> NDArray[np.float32]:
    """What the largest byte stands for in each output channel: its largest weight, or what its worst pair asks for."""
    axis = channel_axis(node, weight.ndim)
    others = tuple(other for other in range(weight.ndim) if other != axis)
    peaks: NDArray[np.float32] = np.abs(weight).max(axis=others)
    if overflow_safe and not is_depthwise(node, weight.shape):
        peaks = np.maximum(peaks, worst_pairs(node, weight))
    return peaks


def channel_scales(peaks: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """The step of one, so that `top` of them are the peak."""
    return np.where(peaks > _SMALLEST_PEAK, peaks, 1).astype(np.float32) / np.float32(top)


def channel_axis(node: NodeProto, rank: int) -> int:
    """Of a weight's axes the one along the output channels."""
    if node.op_type in CONVOLUTIONS or integer_of(node, "transB", 0):
        return 0
    return rank - 1


def is_depthwise(node: NodeProto, shape: tuple[int, ...]) -> bool:
    """Each channel is convolved with weights of its own."""
    return node.op_type in CONVOLUTIONS and shape[1] == 1 and integer_of(node, "group", 1) == shape[0]


def worst_pairs(node: NodeProto, weight: NDArray[Any]) -> NDArray[Any]:
    """For each output channel the largest magnitude of two neighbours of one sign together, or of one alone.

    Neighbours are those that a kernel may multiply and add in one step: along what is summed over, of a convolution
    with its channels first or last; which of them are paired is the kernel's choice.
    """
    orders = [np.moveaxis(weight, channel_axis(node, weight.ndim), 0)]
    if node.op_type in CONVOLUTIONS:
        orders.append(np.moveaxis(weight, 1, -1))
    rows = [order.reshape(order.shape[0], -1) for order in orders]
    worst = [_pairs(np.maximum(sign * row, 0)) for row in rows for sign in (1, -1)]
    return np.asarray(np.max(worst, axis=0))


def _pairs(rows: NDArray[Any]) -> NDArray[Any]:
    alone = rows.max(axis=1)
    if rows.shape[1] > 1:
        alone = np.maximum(alone, (rows[:, :-1] + rows[:, 1:]).max(axis=1))
    return np.asarray(alone)


def integer_of(node: NodeProto, name: str, default: int) -> int:
    """An attribute of a node."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)
