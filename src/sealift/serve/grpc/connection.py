"""One client's connection: HTTP/2 on a transport, calls in, answers out, time-outs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from sealift.errors import InvalidInput, ModelFailed, RequestError, TooLarge, Unavailable, UnsupportedMedia
from sealift.serve.codings import decoded
from sealift.serve.grpc.call import Answer, Call, refused
from sealift.serve.grpc.connections import GrpcConnections
from sealift.serve.grpc.frames import Code, literal
from sealift.serve.grpc.http2 import Http2
from sealift.serve.grpc.status import PREFIX_BYTES, message_field, prefix, status_of, timeout_s
from sealift.serve.grpc.stream import Http2Error, Stream

log = logging.getLogger(__name__)

_FOREIGN: Final = (Exception,)
"""What a call may raise beside its answer: a bug of ours, or of the libraries that read messages."""
_CLIENT_GONE: Final = 499
_QUIET_S: Final = 0.05
"""How long what a client sent before it knew that it should go may be under way."""
_BUFFERED: Final = 1024 * 1024
_HINT: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 63\r\n\r\n"
    b"This port speaks gRPC (HTTP/2). REST is at the service's port.\n"
)
_METHODS: Final = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE")
_STATUS_OK: Final = b"\x88"
_CONTENT_TYPE: Final = literal(b"content-type", b"application/grpc")
_ACCEPTED: Final = literal(b"grpc-accept-encoding", b"identity,deflate,gzip")
_DONE: Final = literal(b"grpc-status", b"0")


class GrpcConnection(asyncio.Protocol):
    """Belongs to the event loop's thread."""

    def __init__(self, server: GrpcConnections) -> None:
        self._server = server
        self._http2 = Http2(self, server.limits.http2)
        self._head = _STATUS_OK + _CONTENT_TYPE + server.release_field
        self._transport: asyncio.Transport
        self._flushing = False
        self._opened = self._quiet_since = server.clock()
        self._stalled_at: float | None = None
        self._leaving_at: float | None = None
        self._parting: asyncio.TimerHandle | None = None
        self._closed_at: float | None = None

    # ------------------------------------------------------------------ the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = transport  # type: ignore[assignment]  # a stream's, as the loop's create_server makes
        self._transport.set_write_buffer_limits(high=_BUFFERED)
        if not self._server.opened(self):
            self._transport.abort()
            return
        self._flush()
        if self._server.draining:
            self.leave()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self._http2.receive(data)
        except Http2Error as error:
            self._end(data, error)
            return
        self._part()
        self._flush()

    def eof_received(self) -> bool:
        """The client sends no more; it takes no answers either (RFC 9113 says nothing of half-closed TCP)."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone: nobody waits for what is left."""
        self._server.closed(self)
        if self._parting is not None:
            self._parting.cancel()
        self._http2.take()
        for stream in tuple(self._http2.streams.values()):
            stream.is_open = False
            self.cancelled(stream)
        self._http2.streams.clear()

    def pause_writing(self) -> None:
        """The client reads too slowly: neither answers nor acknowledgements may pile up."""
        self._http2.sender.pause()
        self._transport.pause_reading()
        self._stalled_at = self._server.clock()

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled_at = None
        self._http2.sender.resume()
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._flush()

    # ------------------------------------------------------------------ the calls of `http2.Calls`

    def began(self, stream: Stream) -> None:
        """As `http2.Calls.began`."""
        headers, server = stream.headers, self._server
        now = time.perf_counter()
        call = Call(
            headers,
            server.service.method(headers[b":path"]),
            server.request_id(headers.get(b"x-request-id")),
            now,
        )
        stream.user = call
        server.in_flight += 1
        if headers[b":method"] != b"POST" or not headers.get(b"content-type", b"").startswith(
            b"application/grpc"
        ):
            self._no_grpc(stream, call)
            return
        try:
            seconds = timeout_s(headers.get(b"grpc-timeout"))
        except RequestError as error:
            self._answer(stream, call, refused(error))
            return
        if seconds is not None:
            call.deadline = now + seconds

    def received(self, stream: Stream, piece: memoryview) -> None:
        """As `http2.Calls.received`."""
        call: Call = stream.user
        before = len(call.buffer)
        call.buffer += piece
        self._server.hold(len(piece))
        try:
            if before < PREFIX_BYTES <= len(call.buffer):
                self._begin_message(stream, call)
            if call.size >= 0 and len(call.buffer) > PREFIX_BYTES + call.size:
                raise InvalidInput("this call takes one message, not several", code="invalid_request")
            if self._server.held_bytes > self._server.limits.total_body_bytes:
                text = "the server holds as many request bodies as it may; retry later"
                raise Unavailable(text, code="busy")
        except RequestError as error:
            self._answer(stream, call, refused(error))

    def _begin_message(self, stream: Stream, call: Call) -> None:
        call.is_compressed = call.buffer[0] != 0
        size = int.from_bytes(call.buffer[1:PREFIX_BYTES], "big")
        limit = self._server.limits.body_bytes
        if size > limit:
            raise TooLarge(f"the message has {size} bytes, at most {limit} are taken", code="too_large")
        call.size = size
        self._http2.widen(stream, PREFIX_BYTES + size - len(call.buffer))

    def ended(self, stream: Stream) -> None:
        """As `http2.Calls.ended`."""
        call: Call = stream.user
        call.arrived = time.perf_counter()
        try:
            if not call.is_whole:
                raise InvalidInput("the message is cut short", code="invalid_request")
            outcome = call.method.handler(call, self._message(call))
        except RequestError as error:
            self._answer(stream, call, refused(error))
        except _FOREIGN as error:
            self._answer(stream, call, _internal(call, error))
        else:
            if isinstance(outcome, Answer):
                self._answer(stream, call, outcome)
            else:
                call.task = asyncio.ensure_future(outcome)
                call.task.add_done_callback(lambda task: self._performed(stream, call, task))

    def cancelled(self, stream: Stream) -> None:
        """As `http2.Calls.cancelled`."""
        call: Call = stream.user
        if call.is_counted:
            return  # it was answered, only the answer did not get there
        call.abandoned = True
        if call.task is not None:
            call.task.cancel()
        self._count(call, _CLIENT_GONE, 0)

    # ------------------------------------------------------------------ from message to answer

    def _message(self, call: Call) -> memoryview:
        data = memoryview(call.buffer)[PREFIX_BYTES:]
        if not call.is_compressed:
            return data
        coding = call.headers.get(b"grpc-encoding", b"identity")
        if coding not in (b"gzip", b"deflate"):
            shown = coding[:40].decode("latin-1")
            text = f"grpc-encoding {shown!r} is not read here; use identity, gzip or deflate"
            raise UnsupportedMedia(text, code="unsupported_encoding")
        return memoryview(decoded(bytes(data), coding, self._server.limits.body_bytes))

    def _performed(self, stream: Stream, call: Call, task: asyncio.Future[Answer]) -> None:
        if task.cancelled():
            if stream.is_open:  # not by its client: a part of the worker is ending
                self._http2.reset(stream, Code.CANCEL)
            return
        error = task.exception()
        if error is None:
            answer = task.result()
        elif isinstance(error, RequestError):
            if isinstance(error, ModelFailed):
                log.warning("request %s: %s", call.request_id.decode(), error.message)
            answer = refused(error)
        else:
            answer = _internal(call, error)
        if stream.is_open:
            self._answer(stream, call, answer)

    def _answer(self, stream: Stream, call: Call, answer: Answer) -> None:
        fields = self._head + literal(b"x-request-id", call.request_id)
        if answer.status == 200:
            parts = [prefix(answer.size), *answer.parts]
            self._http2.sender.respond(stream, fields, parts, _DONE)
        else:
            if answer.status == 415:
                fields += _ACCEPTED
            trailers = literal(b"grpc-status", b"%d" % status_of(answer.status))
            trailers += literal(b"grpc-message", message_field(answer.error))
            self._http2.sender.respond(stream, fields, [], trailers)
        self._count(call, answer.status, answer.size)
        self._part()
        self._flush_soon()

    def _no_grpc(self, stream: Stream, call: Call) -> None:
        """Not a gRPC call at all: HTTP's own words (PROTOCOL-HTTP2, `content-type`)."""
        status = 405 if stream.headers[b":method"] != b"POST" else 415
        self._http2.sender.respond(stream, literal(b":status", b"%d" % status), [], b"")
        self._count(call, status, 0)

    def _count(self, call: Call, status: int, sent: int) -> None:
        """Account for the call; here and nowhere else."""
        server = self._server
        call.is_counted = True
        server.in_flight -= 1
        size, call.buffer = len(call.buffer), bytearray()
        server.hold(-size)
        now = time.perf_counter()
        call.account.count(status, now - (call.arrived or now), call, size, sent)
        self._quiet_since = server.clock()

    # ------------------------------------------------------------------ what is sent

    def _flush_soon(self) -> None:
        """At the end of this turn of the event loop: answers that are ready together leave together."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out = self._http2.take()
        if not out or self._transport.is_closing():
            return
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # ------------------------------------------------------------------ the end

    def leave(self) -> None:
        """Send the client elsewhere: what it has sent is answered, then the connection closes."""
        if self._leaving_at is None:
            self._leaving_at = self._server.clock()
            self._http2.go_away()
            self._flush()

    def expire(self, now: float) -> None:
        """Close or refuse what has taken too long by `now`, on the clock of `GrpcConnections`."""
        limits = self._server.limits
        self._http2.relax()
        self._expire_requests(limits.body_s)
        stalled = self._stalled_at is not None and now - self._stalled_at > limits.write_s
        unread = self._closed_at is not None and now - self._closed_at > limits.linger_s
        if stalled or unread or (not self._http2.settled and now - self._opened > limits.head_s):
            self._transport.abort()
            return
        if self._http2.sender.may_send:
            self._expire_answers(now, limits.write_s)
        if not self._http2.streams and now - self._quiet_since > limits.idle_s:
            self.leave()
        if self._leaving_at is not None and now - self._leaving_at > limits.linger_s:
            self._http2.was_told = True  # or does not listen
            self._part()

    def _expire_requests(self, body_s: float) -> None:
        began_before = time.perf_counter() - body_s
        for stream in tuple(self._http2.streams.values()):
            call: Call = stream.user
            if not stream.received_all and call.began < began_before:
                self._answer(
                    stream, call, Answer(408, error=f"the request did not arrive within {body_s:g} s")
                )

    def _expire_answers(self, now: float, write_s: float) -> None:
        """A client that opens no window for an answer does not get it."""
        for stream in tuple(self._http2.sender.blocked.values()):
            left = sum(map(len, stream.outbox))
            if stream.stalled is None or stream.stalled[0] != left:
                stream.stalled = (left, now)
            elif now - stream.stalled[1] > write_s:
                self._http2.reset(stream, Code.CANCEL)
                self._part()
                self._flush()

    def _end(self, data: bytes, error: Http2Error) -> None:
        if error.code is not Code.NO_ERROR:
            log.debug("a client was cut off: %s", error)  # no line per client: it could fill the disk
        if not self._http2.settled and data.startswith(_METHODS):
            self._transport.write(_HINT)
        else:
            self._flush()
            self._transport.write(self._http2.farewell(error))
        self._shut()

    def _part(self) -> None:
        """Close soon, if the client has been sent elsewhere and nothing is left to answer."""
        if self._http2.is_over and self._parting is None:
            self._parting = asyncio.get_running_loop().call_later(_QUIET_S, self._close)

    def _close(self) -> None:
        self._parting = None
        if self._http2.is_over and not self._transport.is_closing():
            self._flush()
            self._transport.write(self._http2.last_words())
            self._shut()

    def _shut(self) -> None:
        """What is written still leaves, if the client reads it within `linger_s`."""
        self._closed_at = self._server.clock()
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()


def _internal(call: Call, error: BaseException) -> Answer:
    name = call.request_id.decode()
    log.error("request %s failed", name, exc_info=error)
    return Answer(500, error=f"internal error; the log of the server has it under request id {name}")
