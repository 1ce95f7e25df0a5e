"""One request and its answer, as the routes see them; no sockets here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from sealift.errors import RequestError
from sealift.serve.ticket import Ticket

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"

Buffer = bytes | memoryview


class Request(Ticket):
    """A request; `headers` has lower-case names and values as sent, `body` is one piece.

    `route` and `admission` belong to the application, `refusal` is an answer already given on the headers. Whoever was
    handed the request answers it by `connection.reply(request, reply)`, once, in the event loop's thread.
    """

    __slots__ = (
        "admission",
        "body",
        "connection",
        "headers",
        "http10",
        "keep_alive",
        "method",
        "path",
        "query",
        "refusal",
        "request_id",
        "route",
    )

    connection: Answering

    def __init__(self, method: bytes, path: bytes, query: bytes, headers: Mapping[bytes, bytes]) -> None:
        self.deadline = None
        self.abandoned = False
        self.arrived = self.decode_s = self.queue_s = self.inference_s = 0.0
        self.admission: Any = None
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = b""
        self.request_id = b""
        self.keep_alive = True
        self.http10 = False
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


Outcome = Reply | None
"""The answer, or None: it comes later, by `Answering.reply`."""


class Answering(Protocol):
    """What takes the answer of a request."""

    def reply(self, request: Request, reply: Reply) -> None:
        """Send the answer; ignored when the client has gone. In the event loop's thread."""
        ...


class Application(Protocol):
    """What stands behind the front. None of these raises, whatever the client sent."""

    def admit(self, request: Request) -> Reply | None:
        """On the headers, before the body is read: None to go on, or the refusal."""
        ...

    def again(self, request: Request) -> Outcome:
        """`admit` and `answer` in one, on a request that is whole and has the head of an earlier one.

        It brings that one's `route`; a refusal is also set as `request.refusal`.
        """
        ...

    def answer(self, request: Request) -> Outcome:
        """On the whole request; when nobody waits for it any more it is marked `abandoned`."""
        ...

    def finished(self, request: Request, status: int, sent: int, now: float) -> None:
        """The answer was handed to the connection; status 499: the client had gone away before.

        `now` is on the clock of `request.arrived`; `sent` is the body's size. Called once per request.
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
