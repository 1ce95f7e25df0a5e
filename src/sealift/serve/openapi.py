"""The OpenAPI 3.1 document of a service, from what its release declares."""

from __future__ import annotations

from typing import Any, Final

from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Column,
    ImageInput,
    ScoresOutput,
    TabularInput,
    TextInput,
)
from sealift.model.service import ServedModel, Service
from sealift.model.signature import TensorSpec

_JSON_TYPE: Final = {
    "BOOL": "boolean",
    "BYTES": "string",
    "FP16": "number",
    "FP32": "number",
    "FP64": "number",
}

_ERROR: Final = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "What was expected and what was got."},
        "code": {"type": "string", "description": "A stable word for programs."},
        "field": {"type": "string", "description": "The field, tensor or item at fault, if one is."},
    },
    "examples": [
        {"error": 'amount: expected a number, got "12,5"', "code": "invalid_field", "field": "amount"}
    ],
}


def openapi(service: Service) -> dict[str, Any]:
    """The document; the same service gives the same document."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {
        "Error": _ERROR,
        "InferRequest": _infer_request(),
        "InferResponse": _infer_response(),
    }
    if len(service.models) == 1:
        paths["/predict"] = _predict(service.models[0])
    for model in service.models:
        schemas[f"{model.name}.Input"] = _input(model)
        schemas[f"{model.name}.Answer"] = _answer(model)
        paths[f"/predict/{model.name}"] = _predict(model)
        paths[f"/v2/models/{model.name}/infer"] = _infer(model)
        paths[f"/v2/models/{model.name}"] = _get(f"Inputs and outputs of {model.name}")
        paths[f"/v2/models/{model.name}/ready"] = _get(f"Whether {model.name} is ready")
    for path, summary in _COMMON.items():
        paths[path] = _get(summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": service.version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


_COMMON: Final = {
    "/v2": "The server and its protocol extensions",
    "/v2/health/live": "Whether the server is alive",
    "/v2/health/ready": "Whether all models are ready",
    "/healthz": "200 when ready, 503 when draining",
    "/metrics": "Figures in the Prometheus text format",
}


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK"}, "default": _failure()}}}


def _failure() -> dict[str, Any]:
    return {"description": "An error", "content": {"application/json": {"schema": _ref("Error")}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_or_many(name: str) -> dict[str, Any]:
    return {"oneOf": [_ref(name), {"type": "array", "items": _ref(name)}]}


def _predict(model: ServedModel) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _one_or_many(f"{model.name}.Input")}}
    if isinstance(model.input, ImageInput) or model.handler is not None:
        content["image/*"] = {}
        content["application/octet-stream"] = {}
        content["multipart/form-data"] = {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        }
    answer = {"application/json": {"schema": _one_or_many(f"{model.name}.Answer")}}
    return {
        "post": {
            "summary": f"Predict with {model.name}",
            "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "The answer", "content": answer}, "default": _failure()},
        }
    }


def _infer(model: ServedModel) -> dict[str, Any]:
    tensors = "; ".join(f"{spec.name}: {spec.datatype} {_shape(spec)}" for spec in model.signature.inputs)
    answer = {"application/json": {"schema": _ref("InferResponse")}}
    return {
        "post": {
            "summary": f"Open Inference Protocol v2 infer, {model.name}",
            "description": f"Inputs: {tensors}. Tensors may follow the JSON in binary "
            "(header Inference-Header-Content-Length).",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": _ref("InferRequest")},
                    "application/octet-stream": {},
                },
            },
            "responses": {"200": {"description": "The outputs", "content": answer}, "default": _failure()},
        }
    }


def _tensor(required: list[str]) -> dict[str, Any]:
    properties = {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "description": "Flat or nested, row-major."},
    }
    return {"type": "array", "items": {"type": "object", "required": required, "properties": properties}}


def _infer_request() -> dict[str, Any]:
    outputs = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": _tensor(["name", "shape", "datatype"]),
            "outputs": {"type": "array", "items": outputs},
        },
    }


def _infer_response() -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in ("model_name", "model_version", "id")}
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {**properties, "outputs": _tensor(["name", "shape", "datatype"])},
    }


def _input(model: ServedModel) -> dict[str, Any]:
    declared = model.input
    if model.handler is not None:
        return {"description": "What the project's handler reads."}
    if isinstance(declared, ImageInput):
        image = {"type": "string", "contentEncoding": "base64", "description": "A photo, base64."}
        return {"type": "object", "required": ["image"], "properties": {"image": image}}
    if isinstance(declared, TextInput):
        taken = ("text",) if declared.pair == "refused" else ("text", "pair")
        required = taken if declared.pair == "required" else ("text",)
        return {
            "type": "object",
            "required": list(required),
            "properties": {key: {"type": "string"} for key in taken},
        }
    if isinstance(declared, TabularInput):
        return _table(declared)
    tensors = {spec.name: _values(spec) for spec in model.signature.inputs}
    inputs = {"type": "object", "required": list(tensors), "properties": tensors}
    return {"type": "object", "required": ["inputs"], "properties": {"inputs": inputs}}


def _table(declared: TabularInput) -> dict[str, Any]:
    fields = {column.name: _column(column) for column in declared.columns}
    return {
        "type": "object",
        "required": [column.name for column in declared.columns if column.missing is None],
        "properties": fields,
        "examples": [{column.name: _example(column) for column in declared.columns}],
    }


def _column(column: Column) -> dict[str, Any]:
    if not isinstance(column, CategoricalColumn):
        return {"type": "number"}
    return {"type": "string"} if column.unknown is not None else {"enum": list(column.vocabulary)}


def _example(column: Column) -> str | float:
    return column.vocabulary[0] if isinstance(column, CategoricalColumn) else column.mean


def _values(spec: TensorSpec) -> dict[str, Any]:
    """Nested arrays as deep as the tensor; fixed axes have their size."""
    schema: dict[str, Any] = {"type": _JSON_TYPE.get(spec.datatype, "integer")}
    if spec.shape is None:
        return {"description": f"{spec.datatype}, any shape"}
    for axis in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(axis, int):
            schema |= {"minItems": axis, "maxItems": axis}
    return {**schema, "description": f"{spec.datatype} {_shape(spec)}"}


def _shape(spec: TensorSpec) -> str:
    return "of any shape" if spec.shape is None else "[" + ", ".join(map(str, spec.shape)) + "]"


def _answer(model: ServedModel) -> dict[str, Any]:
    properties: dict[str, Any] = {"prediction": {}, "release": {"type": "string"}}
    if model.handler is None and isinstance(model.output, ClassesOutput):
        properties["prediction"] = {"type": "integer", "description": "The index of the best class."}
        properties |= {"label": {"type": "string"}, "probabilities": {"type": "array"}}
    elif model.handler is None and isinstance(model.output, ScoresOutput):
        properties |= {"score": {"type": "number"}, "threshold": {"type": "number"}}
    return {"type": "object", "required": ["prediction", "release"], "properties": properties}
