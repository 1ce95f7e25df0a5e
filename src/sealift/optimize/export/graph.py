"""A PyTorch model -> an ONNX graph with the project's names, and nothing of the machine that it was made on.

A torch.export program, and a module in Python by way of one, go through PyTorch's own exporter (`dynamo=True`): it
follows Python, keeps open axes open or says why it cannot, and is the one that is still developed. TorchScript cannot
become such a program (PyTorch 2.13 refuses it), so it takes the older exporter, which reads its graph. ADR 0022.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from onnx import GraphProto, ModelProto, ValueInfoProto

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.model.signature import Axis
from sealift.model.torch_file import import_torch
from sealift.optimize.export.reasons import not_followed
from sealift.optimize.export.source import OPSET, Source

IR_VERSION: Final = 9
"""Opset 19 came with it; a newer one would shut out older engines for nothing."""

_FOREIGN = (Exception,)
"""The exporters raise classes of many packages: the edge wraps whatever comes."""


def export_graph(source: Source) -> ModelProto:
    """Export, keeping the axes open that the signature leaves open.

    Raises: ModelError: the exporter cannot follow the model; its own reason, and the line of the model's Python.
    """
    example = source.example(rows=2)
    program = source.program
    with _quietly():
        try:
            if source.kind == "python":
                program = _followed(source, example)
            model = _script(source, example) if program is None else _program(source, program)
        except _FOREIGN as error:
            raise not_followed(source, program, example, error) from error
    _refuse_other_edges(source, model.graph)
    _name_axes(source, model.graph)
    _forget_the_machine(model)
    return model


def _followed(source: Source, example: Arrays) -> Any:
    """A torch.export program of a module in Python."""
    return import_torch().export.export(
        source.module, _tensors(example), dynamic_shapes=_open_axes(source), strict=False
    )


def _program(source: Source, program: Any) -> ModelProto:
    export = import_torch().onnx.export
    made = export(program, dynamo=True, opset_version=OPSET, verbose=False, **_names(source))
    model: ModelProto = made.model_proto
    return model


def _tensors(example: Arrays) -> tuple[Any, ...]:
    return tuple(import_torch().from_numpy(np.array(array)) for array in example.values())


def _open_axes(source: Source) -> tuple[Any, ...]:
    """For torch.export, one entry an input: an axis that cannot stay open is an error there."""
    dynamic = import_torch().export.Dim.DYNAMIC
    shapes = [spec.shape or () for spec in source.signature.inputs]
    return tuple(
        {n: dynamic for n, axis in enumerate(shape) if isinstance(axis, str)} or None for shape in shapes
    )


def _script(source: Source, example: Arrays) -> ModelProto:
    written = io.BytesIO()
    specs = (*source.signature.inputs, *source.signature.outputs)
    import_torch().onnx.export(
        source.module,
        _tensors(example),
        written,
        dynamo=False,
        opset_version=OPSET,
        dynamic_axes={
            spec.name: {n: f"axis_{n}" for n, axis in enumerate(spec.shape or ()) if isinstance(axis, str)}
            for spec in specs
        },
        **_names(source),
    )
    model = ModelProto()
    model.ParseFromString(written.getvalue())
    return model


def _names(source: Source) -> dict[str, list[str]]:
    return {
        "input_names": [spec.name for spec in source.signature.inputs],
        "output_names": [spec.name for spec in source.signature.outputs],
    }


def _refuse_other_edges(source: Source, graph: GraphProto) -> None:
    """Raises: ModelError: an input has no use in the model, so that the exporter dropped it, or outputs are other."""
    for what, specs, values in (
        ("inputs", source.signature.inputs, graph.input),
        ("outputs", source.signature.outputs, graph.output),
    ):
        wanted, found = [spec.name for spec in specs], [value.name for value in values]
        if wanted != found:
            raise ModelError(
                f"{source.path.name}: its ONNX has the {what} {', '.join(found) or 'none'}, "
                f"expected {', '.join(wanted)}"
            )


def _name_axes(source: Source, graph: GraphProto) -> None:
    """The signature's axes, in place of the exporter's symbols (`s77`), which also tell axes that no run showed."""
    symbols: dict[str, Axis] = {}
    for value, spec in zip(graph.input, source.signature.inputs, strict=True):
        symbols.update(zip(_symbols(value), spec.shape or (), strict=False))
        _shape(value, spec.shape, {})
    for value, spec in zip(graph.output, source.signature.outputs, strict=True):
        _shape(value, spec.shape, symbols)


def _symbols(value: ValueInfoProto) -> list[str]:
    return [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]


def _shape(value: ValueInfoProto, shape: tuple[Axis, ...] | None, symbols: Mapping[str, Axis]) -> None:
    before = _symbols(value)
    if shape is None:
        return
    del value.type.tensor_type.shape.dim[:]
    for number, axis in enumerate(shape):
        dimension = value.type.tensor_type.shape.dim.add()
        known = symbols.get(before[number], axis) if axis == "?" and number < len(before) else axis
        if isinstance(known, int):
            dimension.dim_value = known
        elif known != "?":
            dimension.dim_param = known


def _forget_the_machine(model: ModelProto) -> None:
    """Stack traces with paths, and inferred shapes under the exporter's own symbols; in place."""
    model.doc_string = ""
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    _forget(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _forget_nodes(function.node)


def _forget(graph: GraphProto) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:], graph.value_info[:]
    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.doc_string = ""
        del entry.metadata_props[:]
    _forget_nodes(graph.node)


def _forget_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _forget(inner)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporters print, log and warn about themselves; what matters comes as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)
