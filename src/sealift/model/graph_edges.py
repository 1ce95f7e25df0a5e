"""Changes at a graph's edge so that a tensor protocol can carry it: ZipMap out, exotic types cast.

Pack side only. Every function changes the ModelProto in place and returns sentences about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from sealift.model.graph_signature import DATATYPE_OF, LABELS_KEY, RAW_SCORES_KEY, real_inputs
from sealift.model.graph_trace import ML_DOMAIN, Trace, class_labels

_EDGE_NAMES: Final[dict[str, int]] = {
    "BFLOAT16": TensorProto.FLOAT, "FLOAT8E4M3FN": TensorProto.FLOAT, "FLOAT8E4M3FNUZ": TensorProto.FLOAT,
    "FLOAT8E5M2": TensorProto.FLOAT, "FLOAT8E5M2FNUZ": TensorProto.FLOAT, "FLOAT8E8M0": TensorProto.FLOAT,
    "FLOAT4E2M1": TensorProto.FLOAT, "FLOAT6E2M3": TensorProto.FLOAT, "FLOAT6E3M2": TensorProto.FLOAT,
    "INT4": TensorProto.INT8, "UINT4": TensorProto.UINT8,
    "INT2": TensorProto.INT8, "UINT2": TensorProto.UINT8,
}  # fmt: skip
"""ONNX type without a protocol datatype -> the type its edge gets; by name, older onnx lacks some."""

_MAP_HELP: Final = {
    "sequence_type": "return the tensors one by one, or stack them inside the model",
    "map_type": "export with zipmap disabled (skl2onnx: options={'zipmap': False})",
    "optional_type": "make the value mandatory, or export a variant of the model without it",
    "sparse_tensor_type": "return a dense tensor",
}


def edge_problems(graph: GraphProto) -> tuple[str, ...]:
    """Every input and output that no release can carry, even after `remove_zipmaps` and `cast_edges`."""
    edges = [("input", value) for value in real_inputs(graph)]
    edges += [("output", value) for value in graph.output]
    return tuple(f"{side} {value.name!r}: {why}" for side, value in edges if (why := _edge_problem(value)))


def _edge_problem(value: ValueInfoProto) -> str | None:
    kind = value.type.WhichOneof("value")
    if kind is None:
        return "the graph states no type; run onnx.shape_inference.infer_shapes on the model and save it"
    if kind != "tensor_type":
        help_text = _MAP_HELP.get(kind, "return a tensor")
        return f"of type {describe_type(value.type)}, which no tensor protocol carries; {help_text}"
    element = value.type.tensor_type.elem_type
    if element in DATATYPE_OF or type_name(element) in _EDGE_NAMES:
        return None
    advice = "give real and imaginary part as two tensors" if "COMPLEX" in type_name(element) else "cast it"
    return f"of type {describe_type(value.type)}, which no protocol datatype carries; {advice} in the model"


def type_name(element: int) -> str:
    """`BFLOAT16` for 16; a type newer than the installed onnx is `type 31`."""
    try:
        return str(TensorProto.DataType.Name(element))
    except ValueError:
        return f"type {element}"


def describe_type(kind: onnx.TypeProto) -> str:
    """`seq(map(int64,tensor(float)))`, as onnxruntime writes types."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return f"tensor({type_name(kind.tensor_type.elem_type).lower()})"
    if which == "sparse_tensor_type":
        return f"sparse_tensor({type_name(kind.sparse_tensor_type.elem_type).lower()})"
    if which == "sequence_type":
        return f"seq({describe_type(kind.sequence_type.elem_type)})"
    if which == "map_type":
        key = type_name(kind.map_type.key_type).lower()
        return f"map({key},{describe_type(kind.map_type.value_type)})"
    if which == "optional_type":
        return f"optional({describe_type(kind.optional_type.elem_type)})"
    return "unknown"


def remove_zipmaps(model: ModelProto) -> list[str]:
    """Outputs `seq(map(int64|string, float))` made by a ZipMap become the [n, classes] tensor before it."""
    graph = model.graph
    outputs = {value.name: value for value in graph.output}
    notes = []
    for position, node in enumerate(graph.node):
        value = outputs.get(node.output[0]) if len(node.output) == 1 else None
        if node.op_type != "ZipMap" or node.domain != ML_DOMAIN or value is None:
            continue
        labels = class_labels(node)
        _record(model, value.name, node.input[0], labels)
        value.type.CopyFrom(_probability_type(graph, len(labels)))
        plain = helper.make_node("Identity", [node.input[0]], [value.name], name=node.name)
        graph.node[position].CopyFrom(plain)
        notes.append(
            f"Output {value.name!r} was a list of dictionaries (ZipMap); it is now a tensor "
            f"[n, {len(labels)}] with the columns {_listed(labels)}."
        )
    if notes:
        _import_default_domain(model)
        notes += _name_row_axis(model)
    return notes


def _record(model: ModelProto, output: str, scores: str, labels: tuple[str, ...]) -> None:
    trace = Trace(model.graph)
    made = trace.makes_probabilities(scores)
    # sklearn puts predict_proba behind a ZipMap, except for classifiers that have none (SVC, LinearSVC)
    probable = made if made is not None else not trace.stems_from_raw_scores(scores)
    for key, text in (
        (LABELS_KEY + output, json.dumps(labels)),
        (RAW_SCORES_KEY + output, "true" if probable else "false"),
    ):
        model.metadata_props.add(key=key, value=text)


def _probability_type(graph: GraphProto, classes: int) -> onnx.TypeProto:
    """Float [rows, classes]; the row axis is named as in the label output, if it is named there."""
    rows: str | None = None
    for value in graph.output:
        tensor = value.type.tensor_type
        if value.type.WhichOneof("value") == "tensor_type" and len(tensor.shape.dim) == 1:
            rows = tensor.shape.dim[0].dim_param or None
            break
    return helper.make_tensor_type_proto(TensorProto.FLOAT, [rows, classes])


def _import_default_domain(model: ModelProto) -> None:
    if any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        return
    model.opset_import.add(domain="", version=13)


def _name_row_axis(model: ModelProto) -> list[str]:
    """skl2onnx leaves the row axis unnamed; predict and predict_proba are one row per sample, so name it."""
    values = [*real_inputs(model.graph), *model.graph.output]
    kinds = {value.type.WhichOneof("value") for value in values}
    if model.producer_name != "skl2onnx" or kinds != {"tensor_type"}:
        return []
    firsts = [value.type.tensor_type.shape.dim[:1] for value in values]
    if not all(first and not first[0].dim_param and not first[0].HasField("dim_value") for first in firsts):
        return []
    for first in firsts:
        first[0].dim_param = "rows"
    return [
        "The unnamed row axis of all inputs and outputs is now called 'rows', so that rows may be batched."
    ]


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:8])
    return shown if len(labels) <= 8 else f"{shown}, ... ({len(labels)} in all)"


def cast_edges(model: ModelProto) -> list[str]:
    """Give every bfloat16, float8, int4 ... edge a Cast; the names stay.

    Raises: ValueError: onnxruntime's CPU build cannot run such a Cast; the text is a problem line.
    """
    graph = model.graph
    inputs = real_inputs(graph)
    casts = _EdgeCasts(model)
    notes = [casts.at_input(value) for value in inputs if _needs_cast(value)]
    given = {value.name for value in inputs}
    notes += [
        casts.at_output(value) for value in graph.output if _needs_cast(value) and value.name not in given
    ]
    return notes


def _needs_cast(value: ValueInfoProto) -> bool:
    return type_name(value.type.tensor_type.elem_type) in _EDGE_NAMES


class _EdgeCasts:
    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._taken = set(_names(model.graph))
        self._inputs = 0

    def at_input(self, value: ValueInfoProto) -> str:
        inner, outer = self._types(value)
        hidden = self._hidden(value.name)
        graph = self._model.graph
        _rename_everywhere(graph, value.name, hidden)
        for output in graph.output:  # an input handed straight through follows its new type
            if output.name == value.name:
                output.type.tensor_type.elem_type = outer
        value.type.tensor_type.elem_type = outer
        graph.node.insert(self._inputs, helper.make_node("Cast", [value.name], [hidden], to=inner))
        self._inputs += 1
        return _cast_note("Input", value.name, inner, outer)

    def at_output(self, value: ValueInfoProto) -> str:
        inner, outer = self._types(value)
        hidden = self._hidden(value.name)
        graph = self._model.graph
        _rename_everywhere(graph, value.name, hidden)
        value.type.tensor_type.elem_type = outer
        graph.node.append(helper.make_node("Cast", [hidden], [value.name], to=outer))
        return _cast_note("Output", value.name, inner, outer)

    def _types(self, value: ValueInfoProto) -> tuple[int, int]:
        inner = int(value.type.tensor_type.elem_type)
        outer = _EDGE_NAMES[type_name(inner)]
        why = _cast_failure(self._model, inner, outer)
        if why is not None:
            raise ValueError(
                f"{value.name!r}: of type {describe_type(value.type)}, which no protocol datatype carries, "
                f"and onnxruntime {onnxruntime.__version__} cannot convert it on a CPU ({why}); "
                "cast it to float inside the model"
            )
        return inner, outer

    def _hidden(self, name: str) -> str:
        hidden = f"{name}__inner"
        while hidden in self._taken:
            hidden += "_"
        self._taken.add(hidden)
        return hidden


def _cast_note(side: str, name: str, inner: int, outer: int) -> str:
    return f"{side} {name!r} of type {type_name(inner)} is now {DATATYPE_OF[outer]}, cast inside the model."


def _names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in _subgraphs(node):
            yield from _names(inner)
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _rename_everywhere(graph: GraphProto, old: str, new: str) -> None:
    """Rename a tensor behind the graph's edge; inputs and outputs of the graph keep their names."""
    _rename(graph.node, old, new)
    for named in (*graph.initializer, *graph.value_info):
        if named.name == old:
            named.name = new


def _rename(nodes: Sequence[NodeProto], old: str, new: str) -> None:
    """Rename a tensor where nodes make or use it, in subgraphs too (ONNX forbids shadowing)."""
    for node in nodes:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == old:
                    names[position] = new
        for inner in _subgraphs(node):
            _rename(inner.node, old, new)
            for output in inner.output:
                if output.name == old:
                    output.name = new


def _cast_failure(model: ModelProto, inner: int, outer: int) -> str | None:
    """Run float -> inner -> outer once in onnxruntime at the model's own versions; None if it works."""
    source = TensorProto.FLOAT if outer == TensorProto.FLOAT else outer
    nodes = [
        helper.make_node("Cast", ["x"], ["inner"], to=inner),
        helper.make_node("Cast", ["inner"], ["y"], to=outer),
    ]
    edge = [helper.make_tensor_value_info(name, source, [2]) for name in ("x", "y")]
    trial = helper.make_model(
        helper.make_graph(nodes, "cast", edge[:1], edge[1:]),
        opset_imports=[entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")],
        ir_version=model.ir_version,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    values = np.array([0, 1], dtype=helper.tensor_dtype_to_np_dtype(source))
    try:
        session = onnxruntime.InferenceSession(
            trial.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(["y"], {"x": values})[0]
    except Exception as error:  # noqa: BLE001  onnxruntime's exceptions share no public base class
        return str(error).splitlines()[0][:160]
    return None if np.array_equal(found, values) else f"it turns {values.tolist()} into {found.tolist()}"
