"""`POST /predict`: what people send (JSON, photos, forms) to payloads, and the answers back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import msgspec

from sealift.errors import InvalidInput, ModelFailed, RequestError, UnsupportedMedia
from sealift.model.arrays import JsonValue, Prepared
from sealift.model.declaration import ImageInput, NumericColumn, TabularInput, TextInput
from sealift.model.image import photo_in_json
from sealift.model.row_form import row_reader
from sealift.model.service import ServedModel
from sealift.serve.codings import decoded
from sealift.serve.http.message import Reply, Request, encode_json, error_reply
from sealift.serve.http.multipart import Part, parse
from sealift.serve.lane import FOREIGN, Face, Job, Lane, Ran, internal

log = logging.getLogger(__name__)

Payload = bytes | JsonValue

_AS_JSON: Final = frozenset(
    (
        None, b"application/json", b"application/json; charset=utf-8", b"application/json;charset=UTF-8",
        b"application/x-www-form-urlencoded",
    )
)  # fmt: skip
"""What is said most about bodies that are read as JSON if they look like it."""
MAX_ITEMS: Final = 10_000

_decode: Final = msgspec.json.Decoder(strict=True).decode


def deliver(job: Job, answer: Reply) -> None:
    """Hand an answer to the connection that asked; in the event loop's thread."""
    request = cast(Request, job.claim)
    request.connection.reply(request, answer)


class PredictFace:
    """`POST /predict` of one model: requests to jobs, runs to answers.

    Args:
        body_bytes: what a body may grow to when it is decompressed.
    """

    def __init__(self, lane: Lane, release: str, body_bytes: int) -> None:
        self._lane = lane
        self._model = lane.predictor.model
        self._pipeline = lane.predictor.pipeline
        self._release = release
        self._body_bytes = body_bytes
        self._takes_photos = isinstance(self._model.input, ImageInput) and self._model.handler is None
        self._row = Prepared(
            {}, frozenset({self._model.signature.batch_axis or "?"})
        )  # came without that axis
        reader = row_reader(self._model)
        self._read_row = None if reader is None else reader.read
        self._form = None if reader is None else reader.form

    def row_job(self, request: Request) -> Job | None:
        """The short way, for a row of numbers; None: take `jobs`."""
        if self._read_row is None or request.headers.get(b"content-type") not in _AS_JSON:
            return None
        row = self._read_row(request.body)
        if row is None:
            return None
        job = Job(row, request, self, None, self._form)
        job.since = now = time.perf_counter()
        request.decode_s = now - request.arrived
        return job

    def items(self, request: Request) -> tuple[Sequence[Payload], bool]:
        """What the request asks to be predicted, and whether it came as a list.

        Raises: RequestError: the body cannot be read.
        """
        coding = request.headers.get(b"content-encoding")
        body = request.body if coding is None else decoded(request.body, coding, self._body_bytes)
        if self._takes_photos and (photo := photo_in_json(body)) is not None:
            return (photo,), False
        payload = read_payload(self._model, body, request.headers.get(b"content-type"))
        if not isinstance(payload, list):
            return (payload,), False
        if not 1 <= len(payload) <= MAX_ITEMS:
            text = f"a list holds 1 to {MAX_ITEMS} items, got {len(payload)}"
            raise InvalidInput(text, code="invalid_body")
        return payload, True

    def single(self, request: Request, payload: Payload) -> Job:
        """The job of a request that is one item. Raises: RequestError: its input."""
        prepared = self._pipeline.prepare(payload)
        return self._job(request, prepared, _Item(self, prepared))

    def listed(self, request: Request, payload: Payload, items: ListReply, index: int) -> Job | None:
        """The job of one item of a list; None: its input was refused, which `items` was told."""
        try:
            prepared = self._pipeline.prepare(payload)
        except RequestError as error:
            items.refused(index, error)
            return None
        return self._job(request, prepared, _ListItem(self, prepared, items, index))

    def _job(self, request: Request, prepared: Prepared, face: Face) -> Job:
        key, rows = self._lane.key_of(prepared.inputs, is_padded=True)
        return Job(prepared.inputs, request, face, None, key, rows)

    def document(self, job: Job, ran: Ran, start: int, prepared: Prepared | None) -> dict[str, Any]:
        """The answer's fields. Raises: RequestError: there is no answer for these outputs."""
        if job.rows == 1 and ran.rows > 1 and (prepared is None or prepared.added_batch):
            found = self._of_batch(ran, start)
        else:
            given = self._row if prepared is None else prepared
            found = self._pipeline.answer(ran.part(start, job.rows), given)
        found["release"] = self._release
        return found

    def _of_batch(self, ran: Ran, row: int) -> dict[str, Any]:
        if ran.answers is None:
            try:
                ran.answers = self._pipeline.answers(ran.outputs, ran.rows)
            except RequestError:
                return self._pipeline.answer(
                    ran.part(row, 1), self._row
                )  # a neighbour's answer, or this one's
        return ran.answers[row]

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Reply:
        """As `lane.Face.render`, for a row that came the short way."""
        if ran.__class__ is Ran:
            texts = ran.texts.get(self)
            if texts is None:
                texts = ran.texts[self] = self._texts(ran)
            if texts:
                return Reply(200, texts[start])
        return self.reply(job, ran, start, None)

    def _texts(self, ran: Ran) -> list[bytes]:
        """The answers of all rows as JSON; empty where one of them has none."""
        release = self._release
        try:
            found = self._pipeline.answers(ran.outputs, ran.rows)
            for answer in found:
                answer["release"] = release
            return [encode_json(answer) for answer in found]
        except FOREIGN:
            return []  # one by one they will tell

    def reply(self, job: Job, ran: Ran | RequestError, start: int, prepared: Prepared | None) -> Reply:
        """One item's answer, or its error."""
        if isinstance(ran, RequestError):
            return error_reply(self._in_full(job, ran) if prepared is None else ran)
        try:
            return Reply(200, encode_json(self.document(job, ran, start, prepared)))
        except RequestError as error:
            return error_reply(error)
        except FOREIGN:
            return internal(job.claim)

    def _in_full(self, job: Job, error: RequestError) -> RequestError:
        """The short way says only that a row is wrong: what the long way says of it."""
        if isinstance(error, InvalidInput) and isinstance(job.claim, Request):
            try:
                self._pipeline.prepare(_json(job.claim.body))
            except RequestError as found:
                return found
        return error

    deliver = staticmethod(deliver)


class _Item:
    """The face of a request that is one item."""

    __slots__ = ("_face", "_prepared")

    def __init__(self, face: PredictFace, prepared: Prepared) -> None:
        self._face = face
        self._prepared = prepared

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Reply:
        return self._face.reply(job, ran, start, self._prepared)

    deliver = staticmethod(deliver)


class ListReply:
    """The answer to a list of items: complete when each has its own; the first that fails decides.

    Items may be refused on any thread, and are answered in the event loop's.
    """

    def __init__(self, request: Request, count: int, tell: Callable[[Callable[[], None]], None]) -> None:
        self._request = request
        self._answers: list[bytes | RequestError] = [b""] * count
        self._left = count
        self._tell = tell

    def refused(self, index: int, error: RequestError) -> None:
        """An item that never came to a run; from any thread."""
        self._tell(lambda: self.answered(index, error))

    def answered(self, index: int, answer: bytes | RequestError) -> None:
        """An item has its answer; in the event loop's thread."""
        self._answers[index] = answer
        self._left -= 1
        if not self._left:
            self._request.connection.reply(self._request, self._reply())

    def _reply(self) -> Reply:
        parts: list[bytes] = []
        for index, answer in enumerate(self._answers):
            if isinstance(answer, RequestError):
                return error_reply(_of_item(index, answer))
            parts.append(answer)
        return Reply(200, b"[" + b",".join(parts) + b"]")


class _ListItem:
    """The face of one item of a list."""

    __slots__ = ("_face", "_index", "_items", "_prepared")

    def __init__(self, face: PredictFace, prepared: Prepared, items: ListReply, index: int) -> None:
        self._face = face
        self._prepared = prepared
        self._items = items
        self._index = index

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> bytes | RequestError:
        if isinstance(ran, RequestError):
            return ran
        try:
            return encode_json(self._face.document(job, ran, start, self._prepared))
        except RequestError as error:
            return error
        except FOREIGN as error:
            log.exception("an item of a list failed")
            return ModelFailed(f"internal error: {type(error).__name__}", code="internal")

    def deliver(self, job: Job, answer: Any) -> None:  # noqa: ARG002 - the list knows its request
        self._items.answered(self._index, answer)


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
