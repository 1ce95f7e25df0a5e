"""`POST /predict`: what people send (JSON, photos, forms) to payloads, and the answers back."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from sealift.errors import InvalidInput, RequestError, UnsupportedMedia
from sealift.model.arrays import JsonValue
from sealift.model.declaration import NumericColumn, TabularInput, TextInput
from sealift.model.service import ServedModel
from sealift.serve.http.message import Reply, encode_json
from sealift.serve.http.multipart import Part, parse
from sealift.serve.predictor import Predictor
from sealift.serve.threads import Ticket

Payload = bytes | JsonValue

MAX_ITEMS: Final = 10_000

_decode: Final = msgspec.json.Decoder(strict=True).decode


def answer(
    predictor: Predictor, body: bytes, content_type: bytes | None, release: str, ticket: Ticket
) -> Reply:
    """Predict one item or a list of them; the whole request fails with the first item that does.

    Raises: RequestError: for an item of a list its `field` begins with `[index]`.
    """
    payload = read_payload(predictor.model, body, content_type)
    if not isinstance(payload, list):
        return Reply(200, encode_json(_one(predictor, payload, release, ticket)))
    if not 1 <= len(payload) <= MAX_ITEMS:
        text = f"a list holds 1 to {MAX_ITEMS} items, got {len(payload)}"
        raise InvalidInput(text, code="invalid_body")
    answers = []
    for index, item in enumerate(payload):
        try:
            answers.append(_one(predictor, item, release, ticket))
        except RequestError as error:
            raise _of_item(index, error) from error
    return Reply(200, encode_json(answers))


def read_payload(model: ServedModel, body: bytes, content_type: bytes | None) -> Payload:
    """The body as one payload (bytes or a JSON value), or a list of payloads.

    Where the type is missing, or is what curl says about anything (`x-www-form-urlencoded`), the bytes
    decide: JSON if they begin like it, else the raw input.

    Raises: InvalidInput, UnsupportedMedia.
    """
    kind, rest = _media_type(content_type or b"")
    if not body:
        raise InvalidInput("the body is empty; send JSON, an image or a form", code="invalid_body")
    if kind == "application/json" or kind.endswith("+json"):
        return _json(_as_utf8(body, rest))
    if kind == "multipart/form-data":
        return _form(model, parse(body, kind + ";" + rest))
    if kind.startswith("image/") or kind == "application/octet-stream":
        return body
    if kind == "text/plain":
        return _text(model, body)
    if kind in ("", "*/*", "application/x-www-form-urlencoded"):
        return _sniffed(model, body, is_form=kind.endswith("urlencoded"))
    text = (
        f"Content-Type {kind!r} is not read here; send application/json, image/*, application/octet-stream "
        "or multipart/form-data"
    )
    raise UnsupportedMedia(text, code="unsupported_media")


@lru_cache(maxsize=64)
def _media_type(content_type: bytes) -> tuple[str, str]:
    kind, _, rest = content_type.decode("latin-1").partition(";")
    return kind.strip().lower(), rest


def _one(predictor: Predictor, payload: Payload, release: str, ticket: Ticket) -> dict[str, Any]:
    found = predictor.predict(payload, ticket)
    found["release"] = release
    return found


def _of_item(index: int, error: RequestError) -> RequestError:
    """The same error, named by the item's place in the list."""
    where = f"[{index}]"
    field = error.field
    joined = f"{where}.{field}" if field and not field.startswith("[") else f"{where}{field or ''}"
    begins_with_field = bool(field) and error.message.startswith(f"{field}:")
    message = f"{where}.{error.message}" if begins_with_field else f"{where}: {error.message}"
    return type(error)(message, code=error.code, field=joined)


def _json(body: bytes) -> JsonValue:
    try:
        value: JsonValue = _decode(body)
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not JSON: {error}", code="invalid_json") from None
    return value


def _as_utf8(body: bytes, parameters: str) -> bytes:
    _, found, charset = parameters.lower().partition("charset=")
    charset = charset.partition(";")[0].strip(' "')
    if not found or charset in ("utf-8", "utf8", "us-ascii", "ascii"):
        return body.removeprefix(b"\xef\xbb\xbf")
    try:
        return body.decode(charset).encode()
    except LookupError:
        raise UnsupportedMedia(
            f"charset {charset!r} is not known; use utf-8", code="unsupported_media"
        ) from None
    except UnicodeError as error:
        raise InvalidInput(f"the body is not {charset}: {error}", code="invalid_json") from None


def _sniffed(model: ServedModel, body: bytes, *, is_form: bool) -> Payload:
    if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"[", b'"'):
        return _json(body.removeprefix(b"\xef\xbb\xbf"))
    if is_form and isinstance(model.input, TabularInput | TextInput):
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: _field_value(model, name, value) for name, value in pairs}
    return body


def _text(model: ServedModel, body: bytes) -> Payload:
    if isinstance(model.input, TextInput):
        return {"text": body.decode("utf-8", "replace")}
    return _sniffed(model, body, is_form=False)


def _form(model: ServedModel, parts: list[Part]) -> Payload:
    """Files are raw inputs (several: a list); fields are one JSON object."""
    files = [part for part in parts if part.filename is not None]
    if files and len(files) < len(parts):
        text = (
            "send files or fields, not both: a file is one raw input, all fields together are one JSON object"
        )
        raise InvalidInput(f"multipart/form-data: {text}", code="invalid_multipart")
    if files:
        return files[0].content if len(files) == 1 else [part.content for part in files]
    fields: dict[str, Any] = {}
    for part in parts:
        if part.name in fields:
            text = f"multipart/form-data: field {part.name!r} is given more than once"
            raise InvalidInput(text, code="invalid_multipart", field=part.name)
        if part.content_type.lower().startswith("application/json"):
            fields[part.name] = _json(part.content)
        else:
            fields[part.name] = _field_value(model, part.name, part.content.decode("utf-8", "replace"))
    return fields


def _field_value(model: ServedModel, name: str, text: str) -> str | float | None:
    """Forms know only text: where a column is declared numeric its text is read as a number."""
    columns = model.input.columns if isinstance(model.input, TabularInput) else ()
    if any(column.name == name and isinstance(column, NumericColumn) for column in columns):
        if not text.strip():
            return None
        try:
            number = float(text)
        except ValueError:
            return text
        if math.isfinite(number):
            return int(number) if number.is_integer() else number
    return text
