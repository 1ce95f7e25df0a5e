"""One request and its answer, as the routes see them; no sockets here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from sealift.errors import RequestError

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"

Buffer = bytes | memoryview


class Request:
    """A request; `headers` has lower-case names and values as sent, `body` is one piece.

    `arrived` is `time.perf_counter()` at the end of the body, `inference_s` the time spent in the engine.
    `route` belongs to the application, `refusal` is an answer already given on the headers.
    """

    __slots__ = (
        "arrived",
        "body",
        "headers",
        "http10",
        "inference_s",
        "keep_alive",
        "method",
        "path",
        "query",
        "refusal",
        "request_id",
        "route",
    )

    def __init__(self, method: bytes, path: bytes, query: bytes, headers: Mapping[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = b""
        self.request_id = b""
        self.keep_alive = True
        self.http10 = False
        self.arrived = 0.0
        self.inference_s = 0.0
        self.route: Any = None
        self.refusal: Reply | None = None


@dataclass(slots=True)
class Reply:
    """An answer; `body` may be several buffers that are sent one after the other, uncopied."""

    status: int
    body: bytes | Sequence[Buffer] = b""
    content_type: bytes = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        if isinstance(self.body, bytes):
            return len(self.body)
        return sum(len(part) for part in self.body)


Outcome = Reply | asyncio.Future[Reply]


class Application(Protocol):
    """What stands behind the front. None of these raises, whatever the client sent."""

    def admit(self, request: Request) -> Reply | None:
        """On the headers, before the body is read: None to go on, or the refusal."""
        ...

    def answer(self, request: Request) -> Outcome:
        """On the whole request; a future is cancelled when nobody waits for it any more."""
        ...

    def finished(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """The answer was handed to the connection; status 499: the client had gone away before.

        `seconds` since the request's last byte; `sent` is the body's size. Called once per request.
        """
        ...


def plain(value: Any) -> Any:
    """For `msgspec`: numpy values that a handler left in its answer, as plain ones."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


encode_json = msgspec.json.Encoder(enc_hook=plain).encode


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A JSON answer."""
    return Reply(status, encode_json(value), JSON, headers)


def problem(
    status: int, code: str, text: str, *, field: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """An error in the one shape that every error has: `{"error", "code", "field"?}`."""
    body = {"error": text, "code": code}
    if field is not None:
        body["field"] = field
    if status == 503:
        headers = (("Retry-After", "1"), *headers)
    return json_reply(body, status, headers)


def error_reply(error: RequestError) -> Reply:
    """The answer for an error that a route raised."""
    return problem(error.status, error.code, error.message, field=error.field)
