"""One HTTP/1.x connection over httptools: requests in order, refused on their headers where possible.

Source: RFC 9112 (framing, persistence), RFC 9110 10.1.1 (Expect), 7.8 (Upgrade may be ignored).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, cast

import httptools

from sealift.serve.http.connections import Connections
from sealift.serve.http.framing import (
    ONCE,
    Refusal,
    body_too_large,
    check_framing,
    check_head_size,
    check_trailer,
    expects_continue,
    head_too_large,
    origin_form,
)
from sealift.serve.http.message import Buffer, Outcome, Reply, Request, problem
from sealift.serve.http.render import CONTINUE

log = logging.getLogger(__name__)

_NO_HEAD: Final = b"\r\n no request begins so"
_BROKEN_WORD: Final = (Exception,)
"""An application promises not to raise."""
_ONE_WRITE: Final = 64 * 1024
_CHUNK_OVERHEAD: Final = 64 * 1024
_SMALL_BODY: Final = 64 * 1024
_PIECE: Final = 4096


class Reading(Enum):
    """Where the incoming bytes stand: IDLE -> HEAD -> BODY -> IDLE, and from anywhere -> DEAF, the last."""

    IDLE = "between requests"
    HEAD = "in a request line or header"
    BODY = "in a body"
    DEAF = "nothing more is understood; bytes are thrown away"


# An enum's attribute costs ten times a global's on Python 3.11, and these are read a dozen times a request.
_IDLE, _HEAD, _BODY, _DEAF = Reading.IDLE, Reading.HEAD, Reading.BODY, Reading.DEAF


class HttpConnection(asyncio.Protocol):
    """Parses, queues and answers the requests of one connection, one at a time and in order.

    Requests that a client pipelines wait, parsed, while reading is paused: a connection holds at most what
    one read of the socket brought. All calls come from the event loop's thread.
    """

    def __init__(self, server: Connections) -> None:
        self._server = server
        self._limits = server.limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._reading = _IDLE
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeats = 0
        self._request: Request | None = None
        self._body: list[bytes | bytearray] = []
        self._body_size = 0
        self._chunked = False
        self._read_size = 0
        self._maybe_more = 0
        self._between_requests = True
        self._began_with_read = False
        self._since_start = 0
        self._pipeline: deque[Request] = deque()
        self._active: Request | None = None
        self._last_head, self._last_size = _NO_HEAD, -1
        self._last: Request | None = None
        self._like: tuple[bytes, bytes, bytes, Mapping[bytes, bytes], object]
        self._paused = False
        self._stalled_at: float | None = None
        self._continue_due = False
        self._ignored_upgrade = False
        self._replaying = False
        self._lingering = False
        self._deadline = server.clock() + self._limits.idle_s

    # ------------------------------------------------------------------ the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.opened(self):
            self._refuse(Refusal(503, "too_many_connections", "too many connections; retry later"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport calls it
        """Nobody waits any more: queued work is cancelled."""
        self._reading = _DEAF
        self._parser = None  # it holds our methods; nobody but the collector would find that cycle
        self._server.closed(self)
        self._drop_body()
        if self._active is not None:
            self._pipeline.appendleft(self._active)
            self._active = None
        if self._request is not None:
            self._pipeline.append(self._request)
            self._request = None
        self._drop_pipeline()

    def eof_received(self) -> None:
        """The client has gone (as in Go's server, a half-closed connection counts as gone)."""

    def pause_writing(self) -> None:
        """The client reads slower than it is answered: start nothing more for it."""
        self._stalled_at = self._server.clock()
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._stalled_at = None
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, cut anywhere."""
        reading = self._reading
        if reading is _IDLE and data.startswith(self._last_head) and len(data) == self._last_size:
            self._take_again(data)
            return
        if reading is _DEAF:
            return
        self._last_head, self._last_size = _NO_HEAD, -1
        self._read_size = len(data)
        self._between_requests = reading is _IDLE
        self._began_with_read = False
        self._since_start += len(data)
        self._feed(data)
        if self._last is not None:
            self._remember(data, self._last)
        if self._reading is _HEAD and self._since_start > self._limits.head_bytes:
            self._refuse(head_too_large(self._limits))
        if self._reading is _BODY and self._chunked and self._since_start > self._most_overhead():
            self._refuse(Refusal(400, "bad_request", "chunk extensions or trailers are too long"))

    def _remember(self, data: bytes, last: Request) -> None:
        """Keep the head of `last` for `_take_again`, if `data` was that one request, whole, and nothing else.

        A client that keeps its connection sends the same head over and over; what it means cannot differ.
        """
        self._last = None
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4 and end + self._body_size == len(data) and self._reading is _IDLE:
            self._last_head, self._last_size = data[:end], len(data)
            self._like = (last.method, last.path, last.query, last.headers, last.route)

    def _take_again(self, data: bytes) -> None:
        """A whole request whose head is the last one's, byte for byte: only the body is new."""
        server = self._server
        method, path, query, headers, route = self._like
        request = Request(method, path, query, headers)
        request.request_id = server.writer.request_id(headers.get(b"x-request-id"))
        request.connection = self
        request.body = data[len(self._last_head) :]
        server.held_bytes += len(request.body)
        if server.held_bytes > self._limits.total_body_bytes:
            self._request = request
            self._refuse(_holds_enough())
            return
        request.route = route
        request.arrived = time.perf_counter()
        if self._active is not None or self._pipeline or self._stalled_at is not None:
            request.refusal = server.application.admit(request)
            self._queue(request)
            return
        self._active = request
        outcome: Outcome
        try:
            outcome = server.application.again(request)
        except _BROKEN_WORD as error:
            outcome = _internal(error)
            request.keep_alive = False
        if outcome is not None:
            self._active = None
            self._send(request, outcome)

    def _most_overhead(self) -> int:
        """Bytes a chunked body may take: extensions and trailers never reach `on_body`, tiny chunks too often."""
        return _CHUNK_OVERHEAD + self._body_size + self._body_size // 4

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while (behind := self._fed(rest)) is not None and self._reading is not _DEAF:
            self._continue_without_upgrade()
            rest = rest[behind:]

    def _fed(self, data: bytes | memoryview) -> int | None:
        """Have the parser read; how far, if a head offered another protocol there, else None."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        except httptools.HttpParserCallbackError as error:
            self._refuse_for(error.__context__ or error)
        except httptools.HttpParserError as error:
            if self._reading is not _DEAF:
                text = f"this is not HTTP/1.1 as RFC 9112 has it: {error}"
                self._refuse(Refusal(400, "bad_request", text))
        return None

    def _refuse_for(self, error: BaseException) -> None:
        """A callback raised: it refused the request, met the end of the connection, or has a bug."""
        if isinstance(error, Refusal):
            self._refuse(error)
        elif self._reading is not _DEAF:
            self._refuse_with(_internal(error))

    # ------------------------------------------------------------------ the parser's calls

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._replaying:
            return
        if self._reading is _DEAF:
            raise ConnectionAbortedError("a request behind the last one of its connection")
        self._reading = _HEAD
        self._url = b""
        self._headers = {}
        self._repeats = 0
        # Where in a read a request begins is not told: at its start, or somewhere behind another one.
        self._last = None
        self._began_with_read = self._between_requests
        if self._between_requests:
            self._between_requests = False
            self._maybe_more, self._since_start = 0, self._read_size
        else:
            self._maybe_more, self._since_start = self._read_size, 0
        self._deadline = self._server.clock() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        if not self._replaying:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; trailers come here too and are ignored, or refused."""
        if self._reading is not _HEAD:
            if not self._replaying:
                check_trailer(name)
            return
        key = name.lower()
        headers = self._headers
        if key not in headers:
            headers[key] = value
            return
        self._repeats += 1
        if key in ONCE:
            raise Refusal(400, "bad_request", f"{name.decode('latin-1')} is given more than once")
        if self._repeats <= self._limits.headers:
            headers[key] += b", " + value

    def on_headers_complete(self) -> None:
        """Decide on the headers alone, before a byte of the body is taken."""
        if self._replaying:
            self._replaying = False
            return
        request = self._request = self._make_request()
        headers, limits = self._headers, self._limits
        at_most = self._maybe_more + self._since_start
        if at_most > limits.head_bytes or self._repeats or len(headers) > limits.headers:
            check_head_size(self._url, headers, self._repeats, limits)
        framing = check_framing(headers, self._parser.get_http_version(), limits)
        request.http10, self._chunked = framing.http10, framing.chunked
        self._body_size = self._since_start = 0
        self._reading = _BODY
        self._ignored_upgrade = self._parser.should_upgrade()
        refusal = request.refusal = self._server.application.admit(request)
        expected = expects_continue(headers)
        if refusal is not None:
            if expected or framing.chunked or framing.length > _SMALL_BODY:
                self._refuse_with(refusal)
                raise ConnectionAbortedError("refused before its body")
        elif expected and not framing.http10:
            self._tell_to_continue()
        self._deadline = self._server.clock() + limits.body_s

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        size = len(body)
        self._body_size += size
        self._server.hold(size)
        pieces = self._body
        if size >= _PIECE or not pieces:
            pieces.append(body)
        elif isinstance(last := pieces[-1], bytearray):
            last += body  # a million chunks of one byte must not become a million objects
        else:
            pieces.append(bytearray(body))
        if self._body_size > self._limits.body_bytes:
            raise body_too_large(self._limits)
        if self._server.held_bytes > self._limits.total_body_bytes:
            raise _holds_enough()

    def on_message_complete(self) -> None:
        """A whole request is here."""
        if self._ignored_upgrade:
            return
        request, body = cast(Request, self._request), self._body
        if body:
            request.body = cast(bytes, body[0]) if len(body) == 1 else b"".join(body)
            self._body = []
        self._request = None
        self._reading = _IDLE if request.keep_alive else _DEAF
        self._last = request if self._began_with_read and self._is_plain(request) else None
        request.arrived = time.perf_counter()
        self._queue(request)

    def _is_plain(self, request: Request) -> bool:
        """Whether a request with the same head would be read the same way, whatever its body is."""
        plain = request.keep_alive and not request.http10 and not self._chunked and request.refusal is None
        return plain and b"expect" not in self._headers

    # ------------------------------------------------------------------ deciding on the headers

    def _make_request(self) -> Request:
        parser, url = self._parser, self._url
        if not url.startswith(b"/"):
            url = origin_form(url)
        path, _, query = url.partition(b"?")
        request = Request(parser.get_method(), path, query, self._headers)
        request.keep_alive = parser.should_keep_alive()
        request.request_id = self._server.writer.request_id(self._headers.get(b"x-request-id"))
        request.connection = self
        return request

    def _tell_to_continue(self) -> None:
        if self._active is None and not self._pipeline:
            self._write(CONTINUE)
        else:
            self._continue_due = True

    def _continue_without_upgrade(self) -> None:
        """Read on after a request that offered another protocol (Java's client offers h2c on every POST).

        llhttp stops after such a head and takes the body for the other protocol's, so a fresh parser is
        told the same framing and reads the body.
        """
        self._ignored_upgrade = False
        if self._request is not None and self._request.method == b"CONNECT":
            self._refuse(Refusal(405, "method_not_allowed", "this is not a proxy"))
            return
        framing = b"Content-Length: " + self._headers.get(b"content-length", b"0")
        if self._chunked:
            framing = b"Transfer-Encoding: chunked"
        self._parser = httptools.HttpRequestParser(self)
        self._replaying = True
        self._fed(b"POST / HTTP/1.1\r\nHost: -\r\n" + framing + b"\r\n\r\n")

    # ------------------------------------------------------------------ answering

    def _queue(self, request: Request) -> None:
        if self._active is None and self._stalled_at is None and not self._pipeline:
            self._begin(request)
        else:
            self._pipeline.append(request)
            self._pause_reading()

    def _begin(self, request: Request) -> None:
        self._active = request
        outcome: Outcome
        try:
            outcome = request.refusal or self._server.application.answer(request)
        except _BROKEN_WORD as error:
            outcome = _internal(error)
            request.keep_alive = False
        if outcome is not None:
            self._active = None
            self._send(request, outcome)

    def reply(self, request: Request, reply: Reply) -> None:
        """As `message.Answering.reply`."""
        if request is not self._active:
            return
        self._active = None
        self._send(request, reply)
        if self._pipeline or self._paused or self._continue_due:
            self._advance()

    def _advance(self) -> None:
        while self._pipeline and self._active is None and self._stalled_at is None:
            self._begin(self._pipeline.popleft())
        if self._active is None and not self._pipeline and self._continue_due:
            self._continue_due = False
            self._write(CONTINUE)
        if self._paused and self._stalled_at is None and not self._pipeline:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _send(self, request: Request, reply: Reply) -> None:
        server = self._server
        server.held_bytes -= len(request.body)
        last = self._reading is _IDLE and not self._pipeline
        close = not request.keep_alive or (server.draining and last)
        body = reply.body
        size = len(body) if body.__class__ is bytes else reply.size
        now = time.perf_counter()
        head = server.writer.head(request, reply, size, now, close=close)
        if request.method == b"HEAD":
            body = b""
        if close or size >= _ONE_WRITE:
            self._write(head, body)
        else:
            data = head + body if isinstance(body, bytes) else b"".join((head, *body))
            if not self._transport.is_closing():
                self._transport.write(data)
        server.application.finished(request, reply.status, size, now)
        if close:
            self._close(gently=request.keep_alive or request.refusal is not None)
        elif last:
            self._deadline = server.clock() + self._limits.idle_s

    def _write(self, head: bytes, body: bytes | Sequence[Buffer] = b"") -> None:
        if not self._transport.is_closing():
            self._transport.writelines((head, body) if isinstance(body, bytes) else (head, *body))

    # ------------------------------------------------------------------ refusing and closing

    def _refuse(self, refusal: Refusal) -> None:
        self._refuse_with(refusal.reply)

    def _refuse_with(self, reply: Reply) -> None:
        """Answer what is at hand, in its turn, and understand nothing that follows."""
        request = self._request or Request(b"", b"", b"", {})
        if not request.request_id:
            request.request_id = self._server.writer.request_id(None)
        request.keep_alive = False
        request.refusal = reply
        request.arrived = time.perf_counter()
        self._request = None
        self._drop_body()
        self._reading = _DEAF
        self._queue(request)

    def _drop_body(self) -> None:
        if self._body:
            self._server.release(sum(map(len, self._body)))
            self._body = []

    def _drop_pipeline(self) -> None:
        for request in self._pipeline:
            request.abandoned = True
            self._server.release(len(request.body))
            self._server.application.finished(request, 499, 0, time.perf_counter())
            request.body = b""
        self._pipeline.clear()

    def _close(self, *, gently: bool) -> None:
        """Close after what was written.

        Gently: closing while unread bytes wait makes the kernel send a reset that can overtake the answer,
        so only our side is shut and the rest is thrown away until the client closes or `linger_s` ends. TLS has
        no half-close: there the answer's own length and `Connection: close` tell the client.
        """
        self._reading = _DEAF
        self._drop_pipeline()
        if gently and not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._lingering = True
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._deadline = self._server.clock() + self._limits.linger_s
        else:
            self._transport.close()

    def _pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def abort(self) -> None:
        """Drop the connection at once; queued work is cancelled."""
        self._transport.abort()

    def expire(self, now: float) -> None:
        """Called about once a second: close or refuse what has taken too long by `now`."""
        if self._stalled_at is not None:
            if now >= self._stalled_at + self._limits.write_s:
                self._transport.abort()
        elif self._lingering:
            if now >= self._deadline:
                self._transport.abort()
        elif self._active is not None or self._paused:
            return
        elif self._reading is _IDLE:
            idle_since = self._deadline - self._limits.idle_s
            if now >= self._deadline or self._server.lets_go(idle_since, now):
                self._transport.close()
        elif now >= self._deadline and self._reading is not _DEAF:
            self._refuse(Refusal(408, "request_timeout", "the request took too long to arrive"))


def _holds_enough() -> Refusal:
    return Refusal(503, "busy", "the server holds as many request bodies as it may; retry later")


def _internal(error: BaseException) -> Reply:
    log.error("the HTTP front failed on a request", exc_info=error)
    return problem(500, "internal", "internal error; see the log of the server")
