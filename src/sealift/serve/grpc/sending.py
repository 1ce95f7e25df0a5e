"""Answers on their way out: as much of them as the client's windows and its socket take.

Source: RFC 9113 5.2 and 6.9 (flow control).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sealift.serve.grpc import frames
from sealift.serve.grpc.frames import frame
from sealift.serve.grpc.stream import Buffer, Stream

_ONE_WRITE: Final = 64 * 1024


class Sender:
    """What is to be sent on one connection, in order.

    Args:
        finish: told when a stream's answer is complete.
    """

    def __init__(self, finish: Callable[[Stream], None]) -> None:
        self.out: list[Buffer] = []
        self.may_send = True
        self.window = self.peer_window = frames.DEFAULT_WINDOW
        self.peer_frame = frames.DEFAULT_FRAME
        self.blocked: dict[int, Stream] = {}
        self._finish = finish

    @property
    def waits_to_send(self) -> bool:
        """Claims that an answer waits for a window of the client's."""
        return bool(self.blocked)

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
        if size <= min(self.window, stream.window, self.peer_frame) and self.may_send:
            self.window -= size
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
        self.pump(stream)

    def pump(self, stream: Stream) -> None:
        """Send as much of an answer as the windows allow."""
        number, outbox = stream.number, stream.outbox
        while outbox and self.may_send:
            size = min(self.window, stream.window, self.peer_frame, sum(map(len, outbox)))
            if size <= 0:
                break
            self.window -= size
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
            self.blocked[number] = stream
            return
        self.blocked.pop(number, None)
        self.out.append(stream.trailers)
        self._finish(stream)

    def pump_all(self) -> None:
        """As `pump`, for every answer that waits."""
        for stream in tuple(self.blocked.values()):
            self.pump(stream)

    def pause(self) -> None:
        """The socket is full: keep answers here."""
        self.may_send = False

    def resume(self) -> None:
        """The socket takes more."""
        self.may_send = True
        self.pump_all()
