"""Where bytes meet floating point in a QDQ graph: answers that stay float, and layers that must stay so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from sealift.optimize.quantise.graph import consumers, keep_nodes

_FLOAT_OUT: Final = frozenset({"Gemm", "MatMul"})
"""Their integer kernels can answer in float32: rounding the answer to a byte would only cost."""

_REQUANTISED: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})


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


def shield_floats(graph: GraphProto) -> None:
    """Keep onnxruntime, in place, from quantising what was excluded.

    Since #22969 it gives every Conv or Gemm that reads a DequantizeLinear int8 weights, one scale for the whole tensor
    (onnxruntime, weight_bias_quantization.cc): the most sensitive layers would be treated worst. A Clip to the very
    range that the bytes have changes no value and comes between.
    """
    makers = {name: node for node in graph.node for name in node.output}
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        source = makers.get(node.input[0]) if node.op_type in _REQUANTISED else None
        weight = known.get(node.input[1]) if source is not None else None
        if source is not None and source.op_type == "DequantizeLinear" and weight is not None:
            graph.node.append(_shield(graph, node, source, known))
        graph.node.append(node)


def _shield(
    graph: GraphProto, node: NodeProto, source: NodeProto, known: Mapping[str, TensorProto]
) -> NodeProto:
    scale, zero = (numpy_helper.to_array(known[name]) for name in source.input[1:3])
    bytes_ = np.iinfo(zero.dtype)
    name = f"{node.name}/shield"
    ends = [np.float32(int(end) - int(zero)) * np.float32(scale) for end in (bytes_.min, bytes_.max)]
    for part, end in zip(("low", "high"), ends, strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array(end, np.float32), f"{name}/{part}"))
    shield = helper.make_node("Clip", [node.input[0], f"{name}/low", f"{name}/high"], [name], name=name)
    node.input[0] = name
    return shield


def flatten_biases(graph: GraphProto) -> None:
    """Give a Gemm's constant bias of one row, [1, n], the shape [n] that means the same.

    MatMul and Add fuse to such a Gemm where an exporter writes biases as rows (skl2onnx does), and onnxruntime's
    quantiser takes two axes of a bias for two scales: "The truth value of an array ... is ambiguous".
    """
    takers = consumers(graph)
    for tensor in graph.initializer:
        nodes = takers.get(tensor.name, [])
        biases = all(node.op_type == "Gemm" and list(node.input[2:]) == [tensor.name] for node in nodes)
        if nodes and biases and len(tensor.dims) == 2 and tensor.dims[0] == 1 and tensor.dims[1] > 1:
            del tensor.dims[0]
