"""Graph -> what eight bits mean for it: which nodes are quantised, and which tensors have to be observed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from onnx import GraphProto, NodeProto

from sealift.optimize.quantise.graph import FLOATS, constants, consumers, element_types

CONVOLUTIONAL: Final = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
)  # fmt: skip
"""What onnxruntime's CPU build runs in eight bits from end to end around convolutions."""

LINEAR: Final = ("Gemm", "MatMul")
"""Where nothing is convolved: only products with weights, everything between stays in floating point."""

WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_FOLDED: Final = frozenset({"Clip", "Relu"})
"""They become the range of what they follow: a byte cannot leave it."""


def kinds_for(graph: GraphProto) -> tuple[str, ...]:
    """Operator types that gain from eight bits in a graph like this one."""
    return CONVOLUTIONAL if any(node.op_type == "Conv" for node in graph.node) else LINEAR


def quantised_nodes(graph: GraphProto, kinds: Collection[str]) -> tuple[NodeProto, ...]:
    """Those of these kinds in graph order; of products only those with a constant weight."""
    weights = constants(graph)
    return tuple(
        node
        for node in graph.node
        if node.op_type in kinds and not node.domain and _has_weight(node, weights)
    )


def _has_weight(node: NodeProto, weights: Collection[str]) -> bool:
    return node.op_type not in WEIGHTED or (len(node.input) > 1 and node.input[1] in weights)


def observed_tensors(graph: GraphProto, kinds: Collection[str]) -> tuple[str, ...]:
    """The activations whose range is needed, in graph order; without those that `folded_tensors` names."""
    weights, types, folded = constants(graph), element_types(graph), folded_tensors(graph)
    names = (
        name
        for node in quantised_nodes(graph, kinds)
        for name in (*node.input, *node.output)
        if name and name not in weights and name not in folded and types.get(name) in FLOATS
    )
    return tuple(dict.fromkeys(names))


def folded_tensors(graph: GraphProto) -> dict[str, str]:
    """What goes into a Clip or Relu and nowhere else -> what comes out of it, whose range it gets."""
    return dict(_folded(graph))


def _folded(graph: GraphProto) -> Iterator[tuple[str, str]]:
    takers = consumers(graph)
    edges = {value.name for value in (*graph.input, *graph.output)}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        given = node.input[0] if node.input else ""
        if node.op_type in _FOLDED and given in makers and given not in edges and len(takers[given]) == 1:
            yield given, node.output[0]


def with_followers(graph: GraphProto, names: Collection[str]) -> frozenset[str]:
    """Names of nodes, with those of the activations that fold into them or that they fold into."""
    folded = folded_tensors(graph)
    makers = {name: node.name for node in graph.node for name in node.output}
    pairs = [(makers[given], makers[made]) for given, made in folded.items()]
    found = set(names)
    for first, second in pairs:
        if first in found or second in found:
            found |= {first, second}
    return frozenset(found)
