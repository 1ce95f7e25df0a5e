"""What an HTTP/2 connection deals in: streams, limits, and who is behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealift.serve.grpc.frames import Code

Buffer = bytes | memoryview


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
    """One request and its answer. `user` belongs to `Calls`.

    `outbox`: what of the answer waits for the client's windows. `stalled`: its bytes, and since when they are so many.
    """

    __slots__ = (
        "credit",
        "headers",
        "is_open",
        "number",
        "outbox",
        "received_all",
        "stalled",
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
        self.stalled: tuple[int, float] | None = None
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
