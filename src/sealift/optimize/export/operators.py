"""An ONNX graph -> what the engine cannot run of it, all at once.

onnxruntime stops at the first operator that it does not know. So each kind of operator, with the datatypes that it
is given, is put to it in a model of its own. What is asked is the engine itself, with the functions and casts of its
own; a trial that fails for any other reason says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnx.inliner
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from sealift.errors import ModelError
from sealift.model.engine_limits import EngineLimits
from sealift.model.graph_file import read_model
from sealift.model.graph_signature import without_weights
from sealift.optimize.export.engine_limits import installed_limits, refusal_of

_FOREIGN = (Exception,)
"""onnx's inference and inliner raise errors of several kinds; without types less is found, and nothing wrong."""

_UNKNOWN: Final = re.compile(r"No Op registered for|is not a registered function/op")
_NO_KERNEL: Final = "Could not find an implementation"
_SHOWN: Final = 5

Kind = tuple[str, str, tuple[int, ...]]
"""Domain, operator, element type of each input (0: not given, -1: not known)."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A kind of operator: the first node of it, and the names of all."""

    node: NodeProto
    names: list[str]


def graph_problems(model: Path, limits: EngineLimits | None = None) -> tuple[str, ...]:
    """What keeps an engine from loading an ONNX model: opset, IR version, operators without a kernel; empty: nothing.

    Args:
        limits: of the engine that shall load it; None: the onnxruntime that is installed here. Operators are asked of
            the installed one either way.
    Raises: ModelError: the file is not readable as ONNX.
    """
    read = read_model(model)
    known = limits or installed_limits()
    return (*_too_new(read, known), *unsupported_operators(read))


def unsupported_operators(model: ModelProto) -> tuple[str, ...]:
    """`Erf of FLOAT64 has no kernel in onnxruntime 1.32.0: nodes a, b`; one sentence a kind of operator."""
    light = _typed(model)
    versions = {entry.domain: entry.version for entry in light.opset_import}
    asked: dict[Kind, _Asked] = {}
    _collect(light.graph, {}, asked)
    refused: dict[str, list[str]] = {}
    for kind, found in asked.items():
        if why := _refused(kind, found.node, versions, model.ir_version):
            refused.setdefault(why, []).extend(found.names)
    return tuple(f"{why}: {_nodes(list(dict.fromkeys(names)))}" for why, names in refused.items())


def _too_new(model: ModelProto, limits: EngineLimits) -> Iterator[str]:
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if limits.opset and opset > limits.opset:
        yield (
            f"it is written in opset {opset}, {limits.engine} reads up to {limits.opset}; "
            f"export it with opset_version={limits.opset}"
        )
    if limits.ir and model.ir_version > limits.ir:
        yield (
            f"it has IR version {model.ir_version}, {limits.engine} reads up to {limits.ir}; "
            f"model = onnx.load(PATH); model.ir_version = {limits.ir}; onnx.save(model, PATH)"
        )


def _typed(model: ModelProto) -> ModelProto:
    """Without weights, its functions written out, with the types that onnx can infer."""
    light = without_weights(model)
    try:
        if light.functions:
            light = onnx.inliner.inline_local_functions(light)
        return onnx.shape_inference.infer_shapes(light)
    except _FOREIGN:
        return light


def _collect(graph: GraphProto, outer: Mapping[str, int], asked: dict[Kind, _Asked]) -> None:
    """Every kind of operator of a graph and the graphs inside it, into `asked`."""
    types = {**outer, **_types(graph)}
    for number, node in enumerate(graph.node):
        inner = [each for attribute in node.attribute for each in _graphs(attribute)]
        for below in inner:
            _collect(below, types, asked)
        if inner:
            continue
        kind = (
            node.domain,
            node.op_type,
            tuple(types.get(name, -1) if name else 0 for name in node.input),
        )
        asked.setdefault(kind, _Asked(node, [])).names.append(node.name or f"{node.op_type}_{number}")


def _types(graph: GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: value.type.tensor_type.elem_type or -1 for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _graphs(attribute: AttributeProto) -> list[GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _refused(kind: Kind, node: NodeProto, versions: Mapping[str, int], ir: int) -> str:
    """Why the engine cannot run it; empty: it can, or the trial proved nothing."""
    said = refusal_of(_alone(kind, node, versions, ir))
    name = f"{kind[0]}:{kind[1]}" if kind[0] else kind[1]
    engine = installed_limits().engine
    if _UNKNOWN.search(said):
        return f"{name} is not known to {engine}"
    if _NO_KERNEL in said and -1 not in kind[2]:
        given = ", ".join(dict.fromkeys(TensorProto.DataType.Name(each) for each in kind[2] if each))
        return f"{name} of {given or 'nothing'} has no kernel in {engine}"
    return ""


def _nodes(names: list[str]) -> str:
    more = len(names) - _SHOWN
    listed = ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{'nodes' if len(names) > 1 else 'node'} {listed}"


def _alone(kind: Kind, node: NodeProto, versions: Mapping[str, int], ir: int) -> ModelProto:
    """The node as a model; a type that nobody knows is taken for FLOAT."""
    only = NodeProto()
    only.CopyFrom(node)
    limits = installed_limits()
    del only.input[:], only.output[:]
    only.input.extend(f"x{place}" if given else "" for place, given in enumerate(kind[2]))
    only.output.extend(f"y{place}" if name else "" for place, name in enumerate(node.output))
    inputs = [
        helper.make_tensor_value_info(f"x{place}", TensorProto.FLOAT if given < 0 else given, None)
        for place, given in enumerate(kind[2])
        if given
    ]
    outputs = [ValueInfoProto(name=name) for name in only.output if name]
    opsets = [
        helper.make_opsetid(
            domain, min(version, limits.opset or version) if domain in ("", "ai.onnx") else version
        )
        for domain, version in (versions or {"": 1}).items()
    ]
    graph = helper.make_graph([only], "trial", inputs, outputs)
    return helper.make_model(graph, opset_imports=opsets, ir_version=min(ir, limits.ir or ir))


def openvino_problems(model: Path) -> tuple[str, ...]:
    """What keeps the installed OpenVINO from reading a model, in its own words; empty: nothing.

    OpenVINO names all operators that it does not know in one message.
    """
    from sealift.model.openvino_file import read_ir

    try:
        read_ir(model)
    except ModelError as error:
        return (error.message,)
    return ()
