"""What one model takes and answers, as JSON Schema (2020-12, the dialect of OpenAPI 3.1)."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Column,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TextInput,
)
from sealift.model.service import ServedModel
from sealift.model.signature import TensorSpec
from sealift.model.tabular import target_input

Json = dict[str, Any]

_JSON_TYPE: Final = {
    "BOOL": "boolean",
    "BYTES": "string",
    "FP16": "number",
    "FP32": "number",
    "FP64": "number",
}
_ROUNDS_TO_INFINITY: Final = {"FP16": 65520.0, "FP32": 3.4028235677973366e38}
_LARGEST: Final = {"FP16": 65504.0, "FP32": float(np.finfo(np.float32).max)}


def item_schema(model: ServedModel) -> Json:
    """One item of `/predict`."""
    declared = model.input
    if model.handler is not None:
        return {"description": "What the project's handler reads."}
    if isinstance(declared, ImageInput):
        image = {"type": "string", "contentEncoding": "base64", "description": "A photo, base64."}
        return {"type": "object", "required": ["image"], "properties": {"image": image}}
    if isinstance(declared, TextInput):
        return _text(declared)
    if isinstance(declared, TabularInput):
        return _table(model, declared)
    return tensors_schema(model)


def tensors_schema(model: ServedModel) -> Json:
    """`{"inputs": {"x": [[1, 2]]}}`, which every model without a handler takes."""
    tensors = {spec.name: _values(spec) for spec in model.signature.inputs}
    inputs = {
        "type": "object",
        "required": list(tensors),
        "properties": tensors,
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": inputs},
        "additionalProperties": False,
    }


def answer_schema(model: ServedModel) -> Json:
    """The answer to one item; several rows in one item make a list under every key but `threshold`."""
    properties: Json = {"prediction": {}, "release": {"type": "string"}}
    required = ["prediction", "release"]
    if model.handler is None and isinstance(model.output, ClassesOutput):
        best = {"type": "array", "items": _probability(bool(model.output.labels))}
        properties["prediction"] = _one_or_rows({"type": "integer", "minimum": 0})
        properties["probabilities"] = {"anyOf": [best, {"type": "array", "items": best}]}
        if model.output.labels:
            properties["label"] = _one_or_rows({"enum": list(model.output.labels)})
        required.append("probabilities")
    elif model.handler is None and isinstance(model.output, ScoresOutput):
        words = {"type": "string"}
        properties["prediction"] = _one_or_rows(words)
        properties |= {"score": _one_or_rows({"type": "number"}), "threshold": {"type": "number"}}
        required += ["score", "threshold"]
    return {"type": "object", "required": required, "properties": properties}


def shape_words(spec: TensorSpec) -> str:
    """`[batch, 4]`."""
    return "of any shape" if spec.shape is None else "[" + ", ".join(map(str, spec.shape)) + "]"


def _one_or_rows(value: Json) -> Json:
    return {"anyOf": [value, {"type": "array", "items": value}]}


def _probability(is_labelled: bool) -> Json:
    properties: Json = {
        "class": {"type": "integer", "minimum": 0},
        "probability": {"type": "number"},
    }
    if is_labelled:
        properties["label"] = {"type": "string"}
    return {"type": "object", "required": list(properties), "properties": properties}


def _text(declared: TextInput) -> Json:
    properties: Json = {"text": {"type": "string"}}
    if declared.pair != "refused":
        properties["pair"] = {"type": "string"}
    required = ["text", "pair"] if declared.pair == "required" else ["text"]
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _table(model: ServedModel, declared: TabularInput) -> Json:
    inputs = {spec.name: spec for spec in model.signature.inputs}
    fields = {
        column.name: _column(column, inputs.get(target_input(column, model.signature) or ""))
        for column in declared.columns
    }
    return {
        "type": "object",
        "required": [column.name for column in declared.columns if column.missing is None],
        "properties": fields,
        "additionalProperties": False,
        "examples": [{column.name: _example(column) for column in declared.columns}],
    }


def _column(column: Column, spec: TensorSpec | None) -> Json:
    schema = _number(column, spec) if isinstance(column, NumericColumn) else _word(column)
    if column.missing is None:
        return schema
    return {"anyOf": [schema, {"type": "null"}]}


def _number(column: NumericColumn, spec: TensorSpec | None) -> Json:
    datatype = spec.datatype if spec is not None else "FP64"
    if datatype in _LARGEST:
        return {
            "type": "number",
            "minimum": _edge(column, datatype, -1),
            "maximum": _edge(column, datatype, 1),
        }
    dtype = NUMPY_OF[datatype]
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype.name)
        return {"type": "integer", "minimum": int(bounds.min), "maximum": int(bounds.max)}
    return {"type": "number"}


def _edge(column: NumericColumn, datatype: str, sign: int) -> float:
    """The last number that still fits after `(x - mean) / std`."""
    largest, outwards = _LARGEST[datatype], sign * math.inf
    edge = column.mean + sign * largest * abs(column.std)
    while abs(edge - column.mean) / abs(column.std) > largest:
        edge = math.nextafter(edge, 0)
    while abs((further := math.nextafter(edge, outwards)) - column.mean) / abs(column.std) <= largest:
        edge = further
    return edge


def _word(column: CategoricalColumn) -> Json:
    """JSON numbers and booleans count as words."""
    if column.unknown is not None:
        return {"type": ["string", "integer", "boolean"]}
    also = [
        int(word)
        for word in column.vocabulary
        if word.isascii() and word.isdigit() and str(int(word)) == word
    ]
    also += [word == "true" for word in column.vocabulary if word in ("true", "false")]
    return {"enum": [*column.vocabulary, *also]}


def _example(column: Column) -> str | float:
    return column.vocabulary[0] if isinstance(column, CategoricalColumn) else column.mean


def _values(spec: TensorSpec) -> Json:
    """Nested arrays as deep as the tensor; fixed axes have their size, the first may be left out if it is open."""
    schema: Json = {"type": _JSON_TYPE.get(spec.datatype, "integer")}
    dtype = NUMPY_OF[spec.datatype]
    if dtype.kind in "iu":
        schema |= {"minimum": int(np.iinfo(dtype.name).min), "maximum": int(np.iinfo(dtype.name).max)}
    elif spec.datatype in _ROUNDS_TO_INFINITY:
        beyond = _ROUNDS_TO_INFINITY[spec.datatype]
        schema |= {"exclusiveMinimum": -beyond, "exclusiveMaximum": beyond}
    if spec.shape is None:
        return {"description": f"{spec.datatype}, any shape"}
    item = schema
    for axis in reversed(spec.shape):
        item = schema
        sizes = {"minItems": axis, "maxItems": axis} if isinstance(axis, int) else {"minItems": 1}
        schema = {"type": "array", "items": schema, **sizes}
    described = {"description": f"{spec.datatype} {shape_words(spec)}"}
    if spec.shape and isinstance(spec.shape[0], str):
        return {"anyOf": [schema, item], **described}
    return {**schema, **described}
