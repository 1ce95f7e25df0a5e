"""GraphProto -> Signature: shapes, symbolic axes, batch axis, probabilities. Pack side only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, ValueInfoProto

from sealift.model.graph_trace import Trace, vocabularies
from sealift.model.signature import Axis, Signature, TensorSpec, batch_axis_of

DATATYPE_OF: Final[dict[int, str]] = {
    TensorProto.BOOL: "BOOL", TensorProto.UINT8: "UINT8", TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32", TensorProto.UINT64: "UINT64", TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16", TensorProto.INT32: "INT32", TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16", TensorProto.FLOAT: "FP32", TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}  # fmt: skip

LABELS_KEY: Final = "sealift.labels."
"""Metadata key prefix: labels that a removed ZipMap held, so that reading the model again finds them."""

RAW_SCORES_KEY: Final = "sealift.probabilities."

_INFERENCE_WEIGHT_LIMIT: Final = 4096
"""Elements; larger weights never are shapes, and are left out of shape inference to save memory."""

_WORDS: Final = 64
"""Words of a string input that a signature records."""

Shape = tuple[Axis, ...] | None


def real_inputs(graph: onnx.GraphProto) -> list[ValueInfoProto]:
    """Inputs that a caller must give: those without an initialiser."""
    filled = {tensor.name for tensor in graph.initializer}
    filled |= {sparse.values.name for sparse in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in filled]


def signature_of(model: onnx.ModelProto) -> Signature:
    """Read the signature of a model whose inputs and outputs are all tensors of protocol datatypes."""
    trace = Trace(model.graph)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    words = vocabularies(model.graph)
    inputs = tuple(
        msgspec.structs.replace(_spec(value, declared_shape(value)), words=words.get(value.name, ())[:_WORDS])
        for value in real_inputs(model.graph)
    )
    shapes = _output_shapes(model, inputs)
    outputs = tuple(
        _spec(value, shapes[value.name], _labels(value.name, trace, metadata)) for value in model.graph.output
    )
    return Signature(
        inputs=inputs,
        outputs=outputs,
        batch_axis=batch_axis_of((*inputs, *outputs)),
        probabilities=tuple(spec.name for spec in outputs if _is_probability(spec, trace, metadata)),
    )


def declared_shape(value: ValueInfoProto) -> Shape:
    """The shape as the graph states it; an axis without size or name is `"?"`."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(_axis(dimension) for dimension in tensor.shape.dim)


def _axis(dimension: onnx.TensorShapeProto.Dimension) -> Axis:
    if dimension.HasField("dim_value") and dimension.dim_value >= 0:
        return int(dimension.dim_value)
    return str(dimension.dim_param) or "?"


def _spec(value: ValueInfoProto, shape: Shape, labels: tuple[str, ...] = ()) -> TensorSpec:
    last = shape[-1] if shape else None
    fitting = labels if not isinstance(last, int) or last == len(labels) else ()
    datatype = DATATYPE_OF[value.type.tensor_type.elem_type]
    return TensorSpec(name=value.name, datatype=datatype, shape=shape, labels=fitting)


def _labels(name: str, trace: Trace, metadata: dict[str, str]) -> tuple[str, ...]:
    recorded = metadata.get(LABELS_KEY + name)
    return tuple(json.loads(recorded)) if recorded else trace.column_labels(name)


def _is_probability(spec: TensorSpec, trace: Trace, metadata: dict[str, str]) -> bool:
    if not spec.datatype.startswith("FP"):
        return False
    recorded = metadata.get(RAW_SCORES_KEY + spec.name)
    return recorded == "true" if recorded else trace.makes_probabilities(spec.name) is True


def _output_shapes(model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> dict[str, Shape]:
    declared = {value.name: declared_shape(value) for value in model.graph.output}
    if all(shape is not None and all(isinstance(axis, int) for axis in shape) for shape in declared.values()):
        return declared
    inferred = _infer(model)
    named = {axis for spec in inputs for axis in spec.shape or () if isinstance(axis, str)} - {"?"}
    return {name: _merged(shape, inferred.get(name), named) for name, shape in declared.items()}


def _merged(declared: Shape, inferred: Shape, input_axes: set[str]) -> Shape:
    """What the graph states wins; open axes take a size, or an input axis, that inference proved."""
    if declared is None:
        return inferred
    if inferred is None or len(inferred) != len(declared):
        return declared
    return tuple(
        known if isinstance(known, int) or not (isinstance(found, int) or found in input_axes) else found
        for known, found in zip(declared, inferred, strict=True)
    )


def _infer(model: onnx.ModelProto) -> dict[str, Shape]:
    """Output shapes by onnx shape inference alone; empty where it gives up."""
    try:
        result = onnx.shape_inference.infer_shapes(without_weights(model))
    # beyond 2 GiB protobuf's own two errors come, or ValueError
    except (
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
        TypeError,
        DecodeError,
        EncodeError,
    ):
        return {}
    return {value.name: declared_shape(value) for value in result.graph.output}


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without large weights and without stated output shapes, which inference would echo."""
    skeleton = onnx.ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    listed = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL and _elements(tensor) <= _INFERENCE_WEIGHT_LIMIT:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in model.graph.output:
        open_value = graph.output.add()
        open_value.CopyFrom(value)
        open_value.type.tensor_type.ClearField("shape")
    return skeleton


def _elements(tensor: TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
