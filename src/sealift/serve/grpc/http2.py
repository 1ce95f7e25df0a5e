"""The server's side of one HTTP/2 connection: bytes in, calls out, bytes to send. No sockets, no clock.

Source: RFC 9113; RFC 7541 for header blocks. Nothing is pushed, priorities are ignored (RFC 9113 5.3.2), and
header blocks of answers use no table, so that only the client's direction has state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from sealift.serve.grpc import frames
from sealift.serve.grpc.frames import Code, frame

Buffer = bytes | memoryview

_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
_LARGEST_FRAME: Final = 1024 * 1024
_DRAINING: Final = b"sealift!"
"""The payload of the PING that follows the first GOAWAY (RFC 9113 6.8)."""
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_ONE_WRITE: Final = 64 * 1024
_KNOWN_BLOCKS: Final = 256


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """`streams`: requests of one connection at once. `head_bytes`: of one header block, on the wire and decoded.

    `window_bytes`: what may come of one request before it is known how long it is. `controls`: frames that only
    ask for an answer (PING, SETTINGS, RST_STREAM) between two calls of `Http2.relax`.
    """

    streams: int = 256
    head_bytes: int = 16 * 1024
    window_bytes: int = 256 * 1024
    controls: int = 2000


class Http2Error(Exception):
    """The connection cannot go on; `code` is what the GOAWAY says."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


class Stream:
    """One request and its answer. `user` belongs to `Calls`."""

    __slots__ = (
        "credit",
        "headers",
        "is_open",
        "number",
        "outbox",
        "received_all",
        "trailers",
        "user",
        "window",
    )

    def __init__(self, number: int, headers: Mapping[bytes, bytes], window: int, credit: int) -> None:
        self.number = number
        self.headers = headers
        self.window = window
        self.credit = credit
        self.is_open = True
        self.received_all = False
        self.outbox: deque[memoryview] = deque()
        self.trailers = b""
        self.user: Any = None


class Calls(Protocol):
    """What stands behind the connection. `reset` and `respond` may be called from within."""

    def began(self, stream: Stream) -> None:
        """The headers of a request are here."""
        ...

    def received(self, stream: Stream, piece: memoryview) -> None:
        """A piece of its body; valid only during the call."""
        ...

    def ended(self, stream: Stream) -> None:
        """The request is complete."""
        ...

    def cancelled(self, stream: Stream) -> None:
        """The client does not want the answer any more."""
        ...


class Http2:
    """State of one connection. `out` holds what is to be sent, in order; whoever sends it clears it."""

    def __init__(self, calls: Calls, limits: Http2Limits) -> None:
        self.out: list[Buffer] = []
        self.streams: dict[int, Stream] = {}
        self.settled = False
        self.may_send = True
        self._calls = calls
        self._limits = limits
        self._rest: bytes = b""
        self._begun = False
        self._greeted = False
        self._last = 0
        self._decoder = Decoder(max_header_list_size=limits.head_bytes)
        self._known_blocks: dict[bytes, Mapping[bytes, bytes]] = {}
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_ends = False
        self._data: Stream | None = None
        self._data_left = self._pad_left = 0
        self._data_ends = False
        self._credit = _CONNECTION_WINDOW
        self._window = self._peer_window = frames.DEFAULT_WINDOW
        self._peer_frame = frames.DEFAULT_FRAME
        self._blocked: dict[int, Stream] = {}
        self._controls = 0
        self._going = False
        self.was_told = False

    # ------------------------------------------------------------------ what comes in

    def receive(self, data: bytes) -> None:
        """Take in what came, in pieces of any size.

        Raises: Http2Error: the client broke the protocol; send `farewell`, close.
        """
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._begun:
            at = self._preface(data)
            if not at:
                self._rest = data
                return
        view, end = memoryview(data), len(data)
        while at < end:
            if self._data_left or self._pad_left:
                at += self._take(view[at:])
                continue
            size = self._frame(view, at, end)
            if not size:
                break
            at += size
        self._rest = data[at:]

    def _preface(self, data: bytes) -> int:
        size = len(frames.PREFACE)
        if not frames.PREFACE.startswith(data[:size]):
            raise Http2Error(Code.PROTOCOL_ERROR, "the client does not speak HTTP/2")
        if len(data) < size:
            return 0
        self._begun = True
        limits = self._limits
        own = (
            (frames.MAX_CONCURRENT_STREAMS, limits.streams),
            (frames.INITIAL_WINDOW_SIZE, limits.window_bytes),
            (frames.MAX_FRAME_SIZE, _LARGEST_FRAME),
            (frames.MAX_HEADER_LIST_SIZE, limits.head_bytes),
        )
        more = _CONNECTION_WINDOW - frames.DEFAULT_WINDOW
        self.out.append(frames.settings(own) + _window_update(0, more))
        return size

    def _frame(self, view: memoryview, at: int, end: int) -> int:
        """One whole frame, or the head of a DATA frame: how many bytes it took, 0 when too few are here."""
        if end - at < frames.HEAD_BYTES:
            return 0
        size: int
        high, low, kind, flags, number = frames.HEAD.unpack_from(view, at)
        size, number = high << 16 | low, number & frames.LARGEST
        if not self._greeted and kind != frames.SETTINGS:
            raise Http2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and (kind != frames.CONTINUATION or number != self._block_stream):
            raise Http2Error(Code.PROTOCOL_ERROR, "a header block was interrupted")
        if kind == frames.DATA:
            return self._begin_data(view, at, end, size, flags, number)
        if size > max(self._limits.head_bytes, frames.DEFAULT_FRAME):
            raise Http2Error(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes that carries no data")
        whole = frames.HEAD_BYTES + size
        if end - at < whole:
            return 0
        handler = self._HANDLERS.get(kind)  # unknown kinds are ignored (RFC 9113 5.5)
        if handler is not None:
            handler(self, flags, number, bytes(view[at + frames.HEAD_BYTES : at + whole]))
        return whole

    # ------------------------------------------------------------------ DATA

    def _begin_data(self, view: memoryview, at: int, end: int, size: int, flags: int, number: int) -> int:
        taken, pad = frames.HEAD_BYTES, 0
        if flags & frames.PADDED:
            if end - at <= taken:
                return 0
            pad = int(view[at + taken])
            taken += 1
            if pad >= size:
                raise Http2Error(Code.PROTOCOL_ERROR, "more padding than frame")
        if size > _LARGEST_FRAME:
            raise Http2Error(Code.FRAME_SIZE_ERROR, f"a DATA frame of {size} bytes")
        if number > self._last or not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "DATA without a request")
        self._count_credit(size)
        stream = self.streams.get(number)
        if stream is not None:
            stream.credit -= size
            if stream.received_all:
                self.reset(stream, Code.STREAM_CLOSED)
            elif stream.credit < 0:
                self.reset(stream, Code.FLOW_CONTROL_ERROR)
        self._data = stream if stream is not None and stream.is_open else None
        self._data_left = size - pad - (1 if flags & frames.PADDED else 0)
        self._pad_left = pad
        self._data_ends = bool(flags & frames.END_STREAM)
        if not self._data_left and not pad:
            self._data_over()
        return taken

    def _count_credit(self, size: int) -> None:
        self._credit -= size
        if self._credit < 0:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._credit < _CONNECTION_WINDOW // 2:
            self.out.append(_window_update(0, _CONNECTION_WINDOW - self._credit))
            self._credit = _CONNECTION_WINDOW

    def _take(self, view: memoryview) -> int:
        """As much of the DATA frame as is here."""
        taken = min(self._data_left, len(view))
        if taken:
            self._data_left -= taken
            if self._data is not None:
                self._calls.received(self._data, view[:taken])
        if not self._data_left:
            padding = min(self._pad_left, len(view) - taken)
            self._pad_left -= padding
            taken += padding
            if not self._pad_left:
                self._data_over()
        return taken

    def _data_over(self) -> None:
        stream, self._data = self._data, None
        if stream is not None and self._data_ends and stream.is_open:
            stream.received_all = True
            self._calls.ended(stream)

    def widen(self, stream: Stream, size: int) -> None:
        """Let the client send `size` bytes more of this request, whatever its window was."""
        more = size - stream.credit
        if more > 0:
            stream.credit += more
            self.out.append(_window_update(stream.number, more))

    # ------------------------------------------------------------------ HEADERS

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "HEADERS on a stream that no client begins")
        start, pad = 0, 0
        if flags & frames.PADDED:
            pad, start = payload[0] if payload else 1, 1
        if flags & frames.PRIORITISED:
            start += 5
        if start + pad > len(payload):
            raise Http2Error(Code.PROTOCOL_ERROR, "more padding than frame")
        self._block = bytearray(payload[start : len(payload) - pad])
        self._block_stream, self._block_ends = number, bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._end_block()

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        if self._block is None:
            raise Http2Error(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._count_control()
        self._block += payload
        if len(self._block) > self._limits.head_bytes:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & frames.END_HEADERS:
            self._end_block()

    def _end_block(self) -> None:
        block, self._block = bytes(self._block or b""), None
        number, ends = self._block_stream, self._block_ends
        headers = self._decoded(block)
        stream = self.streams.get(number)
        if stream is not None:
            self._end_by_trailers(stream, ends)
        elif number > self._last:
            self._last = number
            self._begin(number, headers, ends)

    def _decoded(self, block: bytes) -> Mapping[bytes, bytes]:
        """The fields; empty where they are malformed (RFC 9113 8.2.1, 8.3.1)."""
        known = self._known_blocks.get(block)
        if known is not None:
            return known
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "the header fields are too large") from None
        except (HPACKError, ValueError, IndexError) as error:
            raise Http2Error(Code.COMPRESSION_ERROR, f"a header block that is none: {error}") from None
        headers = _request_of(fields)
        if block and min(block) >= 0x80 and len(self._known_blocks) < _KNOWN_BLOCKS:
            # All fields come from the table, which such a block does not change: gRPC repeats it for each call.
            self._known_blocks[block] = headers
        else:
            self._known_blocks.clear()
        return headers

    def _begin(self, number: int, headers: Mapping[bytes, bytes], ends: bool) -> None:
        if len(self.streams) >= self._limits.streams:
            self._end_frame(number, Code.REFUSED_STREAM)
            return
        if not headers:
            self._end_frame(number, Code.PROTOCOL_ERROR)
            return
        stream = Stream(number, headers, self._peer_window, self._limits.window_bytes)
        self.streams[number] = stream
        self._calls.began(stream)
        if ends and stream.is_open:
            stream.received_all = True
            self._calls.ended(stream)

    def _end_by_trailers(self, stream: Stream, ends: bool) -> None:
        if stream.received_all or not ends:
            self.reset(stream, Code.STREAM_CLOSED if stream.received_all else Code.PROTOCOL_ERROR)
            return
        stream.received_all = True
        self._calls.ended(stream)

    # ------------------------------------------------------------------ the other frames

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "a RST_STREAM of another size than 4")
        if number > self._last or not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "RST_STREAM without a request")
        self._count_control()
        stream = self.streams.get(number)
        if stream is not None:
            self._forget(stream)
            self._calls.cancelled(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & frames.ACK and payload):
            raise Http2Error(
                Code.FRAME_SIZE_ERROR if not number else Code.PROTOCOL_ERROR, "a malformed SETTINGS"
            )
        if flags & frames.ACK:
            if not self._greeted:
                raise Http2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self.settled = True
            if self._going:
                self._announce()
            return
        self._greeted = True
        self._count_control()
        for name, value in frames.SETTING.iter_unpack(payload):
            self._set(name, value)
        self.out.append(frame(frames.SETTINGS, frames.ACK, 0))
        self._pump_all()

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "an impossible window")
            change, self._peer_window = value - self._peer_window, value
            for stream in self.streams.values():
                stream.window += change
                if stream.window > frames.LARGEST:
                    raise Http2Error(Code.FLOW_CONTROL_ERROR, "a window grew too large")
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value < 1 << 24:
                raise Http2Error(Code.PROTOCOL_ERROR, "an impossible frame size")
            self._peer_frame = min(value, _LARGEST_FRAME)
        elif name == frames.ENABLE_PUSH and value > 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "an impossible SETTINGS_ENABLE_PUSH")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise Http2Error(Code.PROTOCOL_ERROR if number else Code.FRAME_SIZE_ERROR, "a malformed PING")
        if not flags & frames.ACK:
            self._count_control()
            self.out.append(frame(frames.PING, frames.ACK, 0, payload))
        elif self._going and payload == _DRAINING:
            self.was_told = True

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size than 4")
        more = frames.WORD.unpack(payload)[0] & frames.LARGEST
        if number == 0:
            self._window += more
            if not more or self._window > frames.LARGEST:
                raise Http2Error(
                    Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR, "an impossible window"
                )
            self._pump_all()
            return
        if number > self._last:
            raise Http2Error(Code.PROTOCOL_ERROR, "WINDOW_UPDATE without a request")
        stream = self.streams.get(number)
        if stream is None:
            return
        stream.window += more
        if not more or stream.window > frames.LARGEST:
            self.reset(stream, Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR)
        elif number in self._blocked:
            self._pump(stream)

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        """The client opens no more streams; those that are open are answered."""

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        raise Http2Error(Code.PROTOCOL_ERROR, "a client does not push")

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        if not number or len(payload) != 5:
            raise Http2Error(Code.PROTOCOL_ERROR, "a malformed PRIORITY")
        self._count_control()

    _HANDLERS: Final = {
        frames.HEADERS: _on_headers,
        frames.PRIORITY: _on_priority,
        frames.RST_STREAM: _on_reset,
        frames.SETTINGS: _on_settings,
        frames.PUSH_PROMISE: _on_push,
        frames.PING: _on_ping,
        frames.GOAWAY: _on_goaway,
        frames.WINDOW_UPDATE: _on_window,
        frames.CONTINUATION: _on_continuation,
    }

    def _count_control(self) -> None:
        self._controls += 1
        if self._controls > self._limits.controls:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def relax(self) -> None:
        """Some time has passed: count anew what `Http2Limits.controls` bounds."""
        self._controls = 0

    # ------------------------------------------------------------------ what goes out

    @property
    def waits_to_send(self) -> bool:
        """Claims that an answer waits for a window of the client's."""
        return bool(self._blocked)

    def respond(self, stream: Stream, head: bytes, parts: list[Buffer], trailers: bytes) -> None:
        """Send an answer and end the stream; `head` and `trailers` are header blocks.

        Without `parts` the trailers alone are sent, `head` in front of them in the same block.
        """
        if not stream.is_open:
            return
        number = stream.number
        ended = frames.END_HEADERS | frames.END_STREAM
        if not parts:
            self.out.append(frame(frames.HEADERS, ended, number, head + trailers))
            self._finish(stream)
            return
        size = sum(map(len, parts))
        start = frame(frames.HEADERS, frames.END_HEADERS, number, head)
        end = frame(frames.HEADERS, ended, number, trailers)
        if size <= min(self._window, stream.window, self._peer_frame) and self.may_send:
            self._window -= size
            stream.window -= size
            if size <= _ONE_WRITE:
                self.out.append(b"".join((start, frames.data_head(size, number), *parts, end)))
            else:
                self.out += (start + frames.data_head(size, number), *parts, end)
            self._finish(stream)
            return
        self.out.append(start)
        stream.outbox.extend(memoryview(part) for part in parts if len(part))
        stream.trailers = end
        self._pump(stream)

    def _pump(self, stream: Stream) -> None:
        """Send as much of an answer as the windows allow."""
        number, outbox = stream.number, stream.outbox
        while outbox and self.may_send:
            size = min(self._window, stream.window, self._peer_frame, sum(map(len, outbox)))
            if size <= 0:
                break
            self._window -= size
            stream.window -= size
            self.out.append(frames.data_head(size, number))
            while size:
                piece = outbox.popleft()
                if len(piece) > size:
                    outbox.appendleft(piece[size:])
                    piece = piece[:size]
                size -= len(piece)
                self.out.append(piece)
        if outbox:
            self._blocked[number] = stream
            return
        self._blocked.pop(number, None)
        self.out.append(stream.trailers)
        self._finish(stream)

    def _pump_all(self) -> None:
        for stream in tuple(self._blocked.values()):
            self._pump(stream)

    def pause(self) -> None:
        """The socket is full: keep answers here."""
        self.may_send = False

    def resume(self) -> None:
        """The socket takes more."""
        self.may_send = True
        self._pump_all()

    def _finish(self, stream: Stream) -> None:
        if not stream.received_all:
            # The answer came before the end of the request: the rest of it is not wanted (RFC 9113 8.1).
            self._end_frame(stream.number, Code.NO_ERROR)
        self._forget(stream)

    def reset(self, stream: Stream, code: Code) -> None:
        """End a stream without an answer; `Calls.cancelled` hears of it."""
        if stream.is_open:
            self._end_frame(stream.number, code)
            self._forget(stream)
            self._calls.cancelled(stream)

    def _end_frame(self, number: int, code: Code) -> None:
        self.out.append(frame(frames.RST_STREAM, 0, number, frames.WORD.pack(code)))

    def _forget(self, stream: Stream) -> None:
        stream.is_open = False
        self.streams.pop(stream.number, None)
        self._blocked.pop(stream.number, None)
        if self._data is stream:
            self._data = None

    # ------------------------------------------------------------------ the end

    @property
    def is_over(self) -> bool:
        """Claims that the client knows that it should go elsewhere, and that everything was answered.

        What it sent before it knew may still be under way behind its acknowledgement: wait a little.
        """
        return self.was_told and not self.streams

    def go_away(self) -> None:
        """Ask the client for another connection; what it still sends here is answered (RFC 9113 6.8)."""
        if not self._going:
            self._going = True
            if self.settled:
                self._announce()

    def _announce(self) -> None:
        self.out.append(frames.goaway(frames.LARGEST, Code.NO_ERROR) + frame(frames.PING, 0, 0, _DRAINING))

    def last_words(self) -> bytes:
        """What is sent in front of the end of a connection that `is_over`."""
        return frames.goaway(self._last, Code.NO_ERROR)

    def farewell(self, error: Http2Error) -> bytes:
        """The last frame on a connection that cannot go on."""
        return frames.goaway(self._last, error.code, str(error))


def _window_update(stream: int, more: int) -> bytes:
    return frame(frames.WINDOW_UPDATE, 0, stream, frames.WORD.pack(more))


def _request_of(fields: Any) -> Mapping[bytes, bytes]:
    """The header fields of a request by name; empty when no server may take them for one."""
    headers: dict[bytes, bytes] = {}
    plain = False
    for name, value in fields:
        if name[:1] == b":":
            if plain or name not in _PSEUDO or name in headers:
                return {}
        else:
            plain = True
            if name in _CONNECTION_FIELDS or name != name.lower() or (name == b"te" and value != b"trailers"):
                return {}
        headers[bytes(name)] = bytes(value)
    if not headers.get(b":path") or b":method" not in headers or b":scheme" not in headers:
        return {}
    return headers
