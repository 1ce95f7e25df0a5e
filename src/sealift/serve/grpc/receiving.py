"""Frames out of bytes that come in pieces of any size; the data of a DATA frame is handed on as it comes.

Source: RFC 9113 3.4 (preface), 4.1 and 4.2 (frames), 6.1 (DATA and its padding).
"""

from __future__ import annotations

from typing import Protocol

from sealift.serve.grpc import frames
from sealift.serve.grpc.frames import Code
from sealift.serve.grpc.stream import Http2Error


class Frames(Protocol):
    """Who is told. Every method may raise `Http2Error`."""

    def opened(self) -> None:
        """The client's preface is here."""
        ...

    def expects(self, kind: int, number: int) -> None:
        """A frame of that kind begins, on stream `number`."""
        ...

    def frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """A whole frame that carries no data."""
        ...

    def data_begins(self, size: int, flags: int, number: int) -> None:
        """A DATA frame; `size` counts its padding."""
        ...

    def data(self, piece: memoryview) -> None:
        """A piece of it, valid during the call; none where it is empty."""
        ...

    def data_ends(self) -> None:
        """All of it has come."""
        ...


class FrameReader:
    """Reads one connection.

    Args:
        largest_data: what a DATA frame may carry; `largest`: any other frame.
    """

    def __init__(self, sink: Frames, largest_data: int, largest: int) -> None:
        self._sink = sink
        self._largest_data = largest_data
        self._largest = largest
        self._rest = b""
        self._begun = False
        self._in_data = False
        self._data_left = self._pad_left = 0

    def receive(self, data: bytes) -> None:
        """Take in what came. Raises: Http2Error: the client broke the protocol."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if not self._begun:
            at = self._preface(data)
        view = memoryview(data)
        while at < end and self._begun:
            taken = self._take(view[at:]) if self._in_data else self._frame(view, at, end)
            if not taken:
                break
            at += taken
        self._rest = data[at:]

    def _preface(self, data: bytes) -> int:
        size = len(frames.PREFACE)
        if not frames.PREFACE.startswith(data[:size]):
            raise Http2Error(Code.PROTOCOL_ERROR, "the client does not speak HTTP/2")
        if len(data) < size:
            return 0
        self._begun = True
        self._sink.opened()
        return size

    def _frame(self, view: memoryview, at: int, end: int) -> int:
        """One whole frame, or the head of a DATA frame: how many bytes it took, 0 when too few are here."""
        if end - at < frames.HEAD_BYTES:
            return 0
        size: int
        high, low, kind, flags, number = frames.HEAD.unpack_from(view, at)
        size, number = high << 16 | low, number & frames.LARGEST
        self._sink.expects(kind, number)
        if kind == frames.DATA:
            return self._begin_data(view, at, end, size, flags, number)
        if size > self._largest:
            raise Http2Error(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes that carries no data")
        whole = frames.HEAD_BYTES + size
        if end - at < whole:
            return 0
        self._sink.frame(kind, flags, number, bytes(view[at + frames.HEAD_BYTES : at + whole]))
        return whole

    def _begin_data(self, view: memoryview, at: int, end: int, size: int, flags: int, number: int) -> int:
        taken = padding = 0
        if flags & frames.PADDED:
            if end - at <= frames.HEAD_BYTES:
                return 0
            padding, taken = int(view[at + frames.HEAD_BYTES]), 1
            if padding >= size:
                raise Http2Error(Code.PROTOCOL_ERROR, "more padding than frame")
        if size > self._largest_data:
            raise Http2Error(Code.FRAME_SIZE_ERROR, f"a DATA frame of {size} bytes")
        self._sink.data_begins(size, flags, number)
        self._data_left, self._pad_left = size - padding - taken, padding
        self._in_data = True
        self._end_data()
        return frames.HEAD_BYTES + taken

    def _take(self, view: memoryview) -> int:
        """As much of the DATA frame as is here."""
        taken = min(self._data_left, len(view))
        if taken:
            self._data_left -= taken
            self._sink.data(view[:taken])
        if not self._data_left:
            padding = min(self._pad_left, len(view) - taken)
            self._pad_left -= padding
            taken += padding
            self._end_data()
        return taken

    def _end_data(self) -> None:
        if not self._data_left and not self._pad_left:
            self._in_data = False
            self._sink.data_ends()
