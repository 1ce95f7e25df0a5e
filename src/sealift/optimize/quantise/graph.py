"""An adapted ONNX file <-> the graph that candidates are built from: every node named, every type inferred."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from sealift.errors import ModelError
from sealift.model.graph_file import PROTOBUF_LIMIT, read_model
from sealift.model.graph_tensors import external_files

PER_CHANNEL_OPSET: Final = 13
"""DequantizeLinear has had an axis since then."""

_NEWER_OPSET: Final = 17

_INITIALISERS_ALONE: Final = 4
"""Since this IR version an initialiser need not be an input."""

_MARGIN_BYTES: Final = 64 << 20

QUANTISED_KINDS: Final = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger", "QGemm", "QAttention", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits",
})  # fmt: skip

FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})

_FOREIGN = (Exception,)
"""onnx raises errors of protobuf, of its checker and plain ones: the edge wraps whatever comes."""


def read_graph(model: Path, *, weights: bool = True) -> ModelProto:
    """Read, at opset 13 or later, with a name for each node and the types that can be inferred.

    The same file gives the same graph, so that what is said of a tensor's or node's name stays true.

    Args:
        weights: whether external data is read into memory too.
    Raises: ModelError: not readable as ONNX, or the file asks for operators that this onnx does not know.
    """
    read = read_model(model)
    external_files(model, read)
    try:
        if opset_of(read) < PER_CHANNEL_OPSET:
            read = onnx.version_converter.convert_version(read, _NEWER_OPSET)
        lift_constants(read)
        name_nodes(read.graph)
        _type_unknown(read)
        read = onnx.shape_inference.infer_shapes(read)
        if weights:
            onnx.load_external_data_for_model(read, str(model.parent))
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: onnx cannot prepare it for quantising: {error}") from error
    return read


def write_graph(graph: ModelProto, destination: Path) -> Path:
    """Write with all weights inside, beyond 2 GiB with the weights beside it (`NAME.data`); the same bytes each time.

    Raises: ModelError: the disk refuses.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if stored_bytes(graph) <= PROTOBUF_LIMIT:
            destination.write_bytes(graph.SerializeToString(deterministic=True))
        else:
            location = f"{destination.name}.data"
            (destination.parent / location).unlink(missing_ok=True)
            onnx.save(graph, destination, save_as_external_data=True, location=location)
    except OSError as error:
        raise ModelError(f"{destination} cannot be written: {error}") from error
    return destination


def stored_bytes(model: ModelProto) -> int:
    """About what it takes as one message, which protobuf cannot count beyond 2 GiB: the weights, and a margin."""
    held = (len(tensor.raw_data) or 4 * math.prod(tensor.dims) for tensor in model.graph.initializer)
    return sum(held) + _MARGIN_BYTES


def opset_of(model: ModelProto) -> int:
    """The version of the default domain; 1 where there is none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def lift_constants(model: ModelProto) -> None:
    """Turn Constant nodes of the outermost graph into initialisers, and initialisers into constants, in place.

    Before IR 4 every initialiser was an input too, which a caller could override; no release offers that.
    """
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    for name, tensor in constants(graph).items():
        if name not in fixed:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = name
    fixed |= set(constants(graph))
    keep_nodes(graph, lambda node: node.op_type != "Constant" or node.output[0] not in fixed)
    inputs = [value for value in graph.input if value.name not in fixed]
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _INITIALISERS_ALONE)


def name_nodes(graph: GraphProto) -> None:
    """Give every node of the outermost graph a name of its own, in place; one that has one keeps it."""
    taken: set[str] = set()
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name


def _type_unknown(model: ModelProto) -> None:
    """State the type that onnx cannot infer: of what comes out of operators that only onnxruntime has."""
    graph, versions = model.graph, {entry.domain: entry.version for entry in model.opset_import}
    known = element_types(graph)
    for node in graph.node:
        version = versions.get(node.domain, 1)
        strange = (
            not onnx.defs.has(node.op_type, version, node.domain) and node.op_type not in QUANTISED_KINDS
        )
        if not strange or node.output[0] in known:
            continue
        given = {known[name] for name in node.input if known.get(name) in FLOATS}
        known[node.output[0]] = TensorProto.FLOAT16 if TensorProto.FLOAT16 in given else TensorProto.FLOAT
        value = graph.value_info.add(name=node.output[0])
        value.type.tensor_type.elem_type = known[node.output[0]]


def element_types(graph: GraphProto) -> dict[str, int]:
    """Tensor name -> element type, for every tensor of the outermost graph whose type is known."""
    values = (*graph.input, *graph.value_info, *graph.output)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return known | {tensor.name: tensor.data_type for tensor in graph.initializer}


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Name -> value, of initialisers and of Constant nodes of the outermost graph."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Tensor name -> the nodes that take it, those whose subgraphs do included; graph outputs are none."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(used_by(node)):
            found.setdefault(name, []).append(node)
    return found


def used_by(node: NodeProto) -> Iterator[str]:
    """The names that a node and its subgraphs read."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for below in inner.node:
                yield from used_by(below)
            yield from (output.name for output in inner.output)


def is_quantised(model: Path) -> bool:
    """Whether it comes in eight bits already; then it is left alone.

    Raises: ModelError: not readable as ONNX.
    """
    return any(node.op_type in QUANTISED_KINDS for node in read_model(model).graph.node)


def keep_nodes(graph: GraphProto, wanted: Callable[[NodeProto], bool]) -> None:
    """Drop the other nodes, in place and in order."""
    kept = [node for node in graph.node if wanted(node)]
    del graph.node[:]
    graph.node.extend(kept)


def prune_initialisers(graph: GraphProto) -> None:
    """Drop, in place, what no node reads and no output is."""
    used = {name for node in graph.node for name in used_by(node)} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
