"""The OpenAPI 3.1 document of a service, from what its release declares."""

from __future__ import annotations

from typing import Any, Final

from sealift.model.declaration import ImageInput, TabularInput, TextInput
from sealift.model.service import ServedModel, Service
from sealift.serve.openapi_schemas import Json, answer_schema, item_schema, shape_words, tensors_schema
from sealift.serve.predict import MAX_ITEMS

_ERROR: Final = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "What was expected and what was got."},
        "code": {"type": "string", "description": "A stable word for programs."},
        "field": {"type": "string", "description": "The field, tensor or item at fault, if one is."},
    },
    "additionalProperties": False,
    "examples": [
        {"error": 'amount: expected a number, got "12,5"', "code": "invalid_field", "field": "amount"}
    ],
}

_REFUSALS: Final = {
    "400": "The body is readable but not what the model takes, or the request is ambiguous",
    "408": "The request took too long to arrive",
    "413": "Body, pixels or elements above the limit",
    "415": "A content type or coding that is not read here",
    "417": "Another expectation than 100-continue",
    "429": "More than the service can answer in time; retry later",
    "431": "Request line and headers above the limit",
    "500": "The engine or the handler failed, or a bug",
    "501": "Another Transfer-Encoding than chunked",
    "503": "Draining, full, or too busy to answer in time; retry elsewhere or later",
    "504": "The request's own deadline passed",
    "505": "Neither HTTP/1.0 nor 1.1",
}
"""Every status of a refused inference, with what it means."""

_HEADERS: Final[Json] = {
    "X-Request-Id": {"required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 128}},
    "X-Sealift-Release": {"required": True, "schema": {"type": "string", "pattern": "^[^@]+@.+$"}},
    "X-Sealift-Degraded": {"schema": {"type": "string", "minLength": 1}},
}
_LATER: Final[Json] = {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}}


def openapi(service: Service) -> Json:
    """The document; the same service gives the same document."""
    paths: Json = {}
    schemas: Json = {
        "Error": _ERROR,
        "InferRequest": _infer_request(),
        "InferResponse": _infer_response(),
    }
    if len(service.models) == 1:
        paths["/predict"] = _predict(service.models[0])
    for model in service.models:
        name = model.name
        schemas[f"{name}.Input"] = item_schema(model)
        schemas[f"{name}.Answer"] = answer_schema(model)
        paths[f"/predict/{name}"] = _predict(model)
        for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{service.version}"):
            paths[f"{base}/infer"] = _infer(model)
            paths[base] = _get(f"Inputs and outputs of {name}")
            paths[f"{base}/config"] = _get(f"Configuration of {name}, as Triton's clients ask for it")
            paths[f"{base}/ready"] = _get(f"Whether {name} is ready", may_drain=True)
            paths[f"{base}/stats"] = _get(f"Counts and times of {name}")
    paths |= _common()
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": service.version},
        "paths": paths,
        "components": {"schemas": schemas, "responses": _responses()},
    }


def _common() -> Json:
    metrics = _get("Figures in the Prometheus text format", "text/plain")
    index = _described("The loaded models", _content("application/json", {"type": "array"}))
    return {
        "/": _get("Names and paths of this release"),
        "/healthz": _get("200 when ready, 503 when draining", may_drain=True),
        "/metrics": metrics,
        "/openapi.json": _get("This document"),
        "/v2": _get("The server and its protocol extensions"),
        "/v2/health/live": _get("Whether the server is alive"),
        "/v2/health/ready": _get("Whether all models are ready", may_drain=True),
        "/v2/models/stats": _get("Counts and times of all models"),
        "/v2/repository/index": {"post": {"summary": "The loaded models", "responses": index}},
    }


def _responses() -> Json:
    found: Json = {"Error": _answer("An error", _content("application/json", _ref("Error")))}
    for status, text in _REFUSALS.items():
        later = _LATER if status in ("429", "503") else {}
        found[f"Error{status}"] = _answer(text, _content("application/json", _ref("Error")), later)
    return found


def _get(summary: str, media: str = "application/json", *, may_drain: bool = False) -> Json:
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    responses = _described("OK", _content(media, schema))
    if may_drain:
        responses["503"] = _answer("Not any more: it drains", _content(media, schema))
    return {"get": {"summary": summary, "responses": responses}}


def _described(text: str, content: Json) -> Json:
    return {"200": _answer(text, content), "default": {"$ref": "#/components/responses/Error"}}


def _answer(text: str, content: Json, more: Json | None = None) -> Json:
    return {"description": text, "headers": {**_HEADERS, **(more or {})}, "content": content}


def _content(media: str, schema: Json) -> Json:
    return {media: {"schema": schema}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _inference(text: str, schema: Json) -> Json:
    """200 and every refusal."""
    refused = {status: {"$ref": f"#/components/responses/Error{status}"} for status in _REFUSALS}
    return {**_described(text, _content("application/json", schema)), **refused}


_PARAMETERS: Final[list[Json]] = [
    {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "1 to 128 visible ASCII characters; another one is replaced. Beside it X-Sealift-Timeout-Ms "
        "may say how many milliseconds the client waits; passed before the run begins: 504.",
        "schema": {"type": "string"},
    },
]


def _predict(model: ServedModel) -> Json:
    item: Json = _ref(f"{model.name}.Input")
    answer = _ref(f"{model.name}.Answer")
    forms: list[Json] = [item]
    if model.handler is None and isinstance(model.input, TabularInput):
        wrapped = {"required": ["fields"], "properties": {"fields": item}, "additionalProperties": False}
        forms.append({"type": "object", **wrapped})
    if model.handler is None and isinstance(model.input, TabularInput | ImageInput | TextInput):
        forms.append(tensors_schema(model))
    one: Json = {"anyOf": forms} if len(forms) > 1 else item
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_ITEMS}
    content: Json = {"application/json": {"schema": {"anyOf": [one, many]}}}
    if isinstance(model.input, ImageInput) or model.handler is not None:
        content["image/*"] = {}
        content["application/octet-stream"] = {}
        content["multipart/form-data"] = {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        }
    answers = {"anyOf": [answer, {"type": "array", "items": answer}]}
    return {
        "post": {
            "summary": f"Predict with {model.name}",
            "parameters": _PARAMETERS,
            "requestBody": {"required": True, "content": content},
            "responses": _inference("The answer; to a list a list in the same order", answers),
        }
    }


def _infer(model: ServedModel) -> Json:
    tensors = "; ".join(
        f"{spec.name}: {spec.datatype} {shape_words(spec)}" for spec in model.signature.inputs
    )
    responses = _inference("The outputs", _ref("InferResponse"))
    responses["200"]["content"]["application/octet-stream"] = {}
    return {
        "post": {
            "summary": f"Open Inference Protocol v2 infer, {model.name}",
            "description": f"Inputs: {tensors}. Tensors may follow the JSON in binary "
            "(header Inference-Header-Content-Length).",
            "parameters": _PARAMETERS,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": _ref("InferRequest")},
                    "application/octet-stream": {},
                },
            },
            "responses": responses,
        }
    }


def _tensor(required: list[str]) -> Json:
    properties = {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "description": "Flat or nested, row-major."},
    }
    return {"type": "array", "items": {"type": "object", "required": required, "properties": properties}}


def _infer_request() -> Json:
    outputs = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
    }
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


def _infer_response() -> Json:
    properties: dict[str, Any] = {name: {"type": "string"} for name in ("model_name", "model_version", "id")}
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {**properties, "outputs": _tensor(["name", "shape", "datatype"])},
    }
