"""The server's side of one HTTP/2 connection: bytes in, calls out, bytes to send. No sockets, no clock.

Source: RFC 9113; RFC 7541 for header blocks. Nothing is pushed, priorities are ignored (RFC 9113 5.3.2), and
header blocks of answers use no table, so that only the client's direction has state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sealift.serve.grpc import frames
from sealift.serve.grpc.frames import Code, frame
from sealift.serve.grpc.headers import HeaderBlocks
from sealift.serve.grpc.receiving import FrameReader
from sealift.serve.grpc.sending import Sender
from sealift.serve.grpc.stream import Buffer, Calls, Http2Error, Http2Limits, Stream

_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
_LARGEST_FRAME: Final = 1024 * 1024
_DRAINING: Final = b"sealift!"
"""The payload of the PING that follows the first GOAWAY (RFC 9113 6.8)."""


class Http2:
    """State of one connection."""

    def __init__(self, calls: Calls, limits: Http2Limits) -> None:
        self.streams: dict[int, Stream] = {}
        self.settled = False
        self.was_told = False
        self.sender = Sender(self._finish)
        self._calls = calls
        self._limits = limits
        self._reader = FrameReader(self, _LARGEST_FRAME, max(limits.head_bytes, frames.DEFAULT_FRAME))
        self._headers = HeaderBlocks(limits.head_bytes)
        self._greeted = False
        self._last = 0
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_ends = False
        self._data: Stream | None = None
        self._data_ends = False
        self._credit = _CONNECTION_WINDOW
        self._controls = 0
        self._going = False

    def take(self) -> list[Buffer]:
        """What is to be sent now, in order."""
        out, self.sender.out = self.sender.out, []
        return out

    # ------------------------------------------------------------------ what comes in

    def receive(self, data: bytes) -> None:
        """Take in what came, in pieces of any size.

        Raises: Http2Error: the client broke the protocol; send `farewell`, close.
        """
        self._reader.receive(data)

    def opened(self) -> None:
        """As `receiving.Frames.opened`."""
        limits = self._limits
        own = (
            (frames.MAX_CONCURRENT_STREAMS, limits.streams),
            (frames.INITIAL_WINDOW_SIZE, limits.window_bytes),
            (frames.MAX_FRAME_SIZE, _LARGEST_FRAME),
            (frames.MAX_HEADER_LIST_SIZE, limits.head_bytes),
        )
        self._send(frames.settings(own))
        self._send(_window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    def expects(self, kind: int, number: int) -> None:
        """As `receiving.Frames.expects`."""
        if not self._greeted and kind != frames.SETTINGS:
            raise Http2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and (kind != frames.CONTINUATION or number != self._block_stream):
            raise Http2Error(Code.PROTOCOL_ERROR, "a header block was interrupted")

    def frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """As `receiving.Frames.frame`."""
        handler = self._HANDLERS.get(kind)  # unknown kinds are ignored (RFC 9113 5.5)
        if handler is not None:
            handler(self, flags, number, payload)

    # ------------------------------------------------------------------ DATA

    def data_begins(self, size: int, flags: int, number: int) -> None:
        """As `receiving.Frames.data_begins`."""
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
        self._data_ends = bool(flags & frames.END_STREAM)

    def data(self, piece: memoryview) -> None:
        """As `receiving.Frames.data`."""
        if self._data is not None:
            self._calls.received(self._data, piece)

    def _count_credit(self, size: int) -> None:
        self._credit -= size
        if self._credit < 0:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._credit < _CONNECTION_WINDOW // 2:
            self._send(_window_update(0, _CONNECTION_WINDOW - self._credit))
            self._credit = _CONNECTION_WINDOW

    def data_ends(self) -> None:
        """As `receiving.Frames.data_ends`."""
        stream, self._data = self._data, None
        if stream is not None and self._data_ends and stream.is_open:
            stream.received_all = True
            self._calls.ended(stream)

    def widen(self, stream: Stream, size: int) -> None:
        """Let the client send `size` bytes more of this request, whatever its window was."""
        more = size - stream.credit
        if more > 0:
            stream.credit += more
            self._send(_window_update(stream.number, more))

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
        headers = self._headers.read(block)
        stream = self.streams.get(number)
        if stream is not None:
            self._end_by_trailers(stream, ends)
        elif number > self._last:
            self._last = number
            self._begin(number, headers, ends)

    def _begin(self, number: int, headers: Mapping[bytes, bytes], ends: bool) -> None:
        if len(self.streams) >= self._limits.streams:
            self._end_frame(number, Code.REFUSED_STREAM)
            return
        if not headers:
            self._end_frame(number, Code.PROTOCOL_ERROR)
            return
        stream = Stream(number, headers, self.sender.peer_window, self._limits.window_bytes)
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
        self._send(frame(frames.SETTINGS, frames.ACK, 0))
        self.sender.pump_all()

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "an impossible window")
            change, self.sender.peer_window = value - self.sender.peer_window, value
            for stream in self.streams.values():
                stream.window += change
                if stream.window > frames.LARGEST:
                    raise Http2Error(Code.FLOW_CONTROL_ERROR, "a window grew too large")
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value < 1 << 24:
                raise Http2Error(Code.PROTOCOL_ERROR, "an impossible frame size")
            self.sender.peer_frame = min(value, _LARGEST_FRAME)
        elif name == frames.ENABLE_PUSH and value > 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "an impossible SETTINGS_ENABLE_PUSH")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise Http2Error(Code.PROTOCOL_ERROR if number else Code.FRAME_SIZE_ERROR, "a malformed PING")
        if not flags & frames.ACK:
            self._count_control()
            self._send(frame(frames.PING, frames.ACK, 0, payload))
        elif self._going and payload == _DRAINING:
            self.was_told = True

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size than 4")
        more = frames.WORD.unpack(payload)[0] & frames.LARGEST
        if number == 0:
            self.sender.window += more
            if not more or self.sender.window > frames.LARGEST:
                raise Http2Error(
                    Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR, "an impossible window"
                )
            self.sender.pump_all()
            return
        if number > self._last:
            raise Http2Error(Code.PROTOCOL_ERROR, "WINDOW_UPDATE without a request")
        stream = self.streams.get(number)
        if stream is None:
            return
        stream.window += more
        if not more or stream.window > frames.LARGEST:
            self.reset(stream, Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR)
        elif number in self.sender.blocked:
            self.sender.pump(stream)

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

    # ------------------------------------------------------------------ the end of a stream

    def _send(self, what: bytes) -> None:
        self.sender.out.append(what)

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
        self._send(frame(frames.RST_STREAM, 0, number, frames.WORD.pack(code)))

    def _forget(self, stream: Stream) -> None:
        stream.is_open = False
        self.streams.pop(stream.number, None)
        self.sender.blocked.pop(stream.number, None)
        if self._data is stream:
            self._data = None

    # ------------------------------------------------------------------ the end of the connection

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
        self._send(frames.goaway(frames.LARGEST, Code.NO_ERROR) + frame(frames.PING, 0, 0, _DRAINING))

    def last_words(self) -> bytes:
        """What is sent in front of the end of a connection that `is_over`."""
        return frames.goaway(self._last, Code.NO_ERROR)

    def farewell(self, error: Http2Error) -> bytes:
        """The last frame on a connection that cannot go on."""
        return frames.goaway(self._last, error.code, str(error))


def _window_update(stream: int, more: int) -> bytes:
    return frame(frames.WINDOW_UPDATE, 0, stream, frames.WORD.pack(more))
