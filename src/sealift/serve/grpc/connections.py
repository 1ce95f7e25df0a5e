"""What all gRPC connections of one worker share: limits, counts, and whether they are sent elsewhere."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from sealift.serve.grpc.frames import literal
from sealift.serve.grpc.service import GrpcService
from sealift.serve.grpc.stream import Http2Limits
from sealift.serve.http.limits import HttpLimits

_MOST_CONNECTIONS: Final = 1024
"""gRPC sends many calls over one connection."""
_HTTP: Final = HttpLimits()
_SANE_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}").fullmatch


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Bounds of the gRPC port, in bytes and seconds; the same words as `HttpLimits`.

    `idle_s` is longer than HTTP's: gRPC clients hold one connection and expect it to stay.
    """

    http2: Http2Limits = field(default_factory=Http2Limits)
    body_bytes: int = _HTTP.body_bytes
    total_body_bytes: int = _HTTP.total_body_bytes
    connections: int = _MOST_CONNECTIONS
    idle_s: float = 300.0
    head_s: float = _HTTP.head_s
    body_s: float = _HTTP.body_s
    write_s: float = _HTTP.write_s
    linger_s: float = _HTTP.linger_s

    @classmethod
    def like(cls, http: HttpLimits) -> GrpcLimits:
        """The limits that go with those of the HTTP front."""
        return cls(
            body_bytes=http.body_bytes,
            total_body_bytes=http.total_body_bytes,
            connections=min(_MOST_CONNECTIONS, http.connections),
            head_s=http.head_s,
            body_s=http.body_s,
            write_s=http.write_s,
            linger_s=http.linger_s,
        )


class Connection(Protocol):
    """One client's connection."""

    def leave(self) -> None:
        """Answer what is here, then close."""
        ...

    def expire(self, now: float) -> None:
        """Close or refuse what has taken too long by `now`."""
        ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...


class GrpcConnections:
    """The open connections and their common state; used from the event loop's thread only.

    Args:
        clock: seconds, monotonic; the event loop's `time` except in tests.
    """

    def __init__(self, service: GrpcService, limits: GrpcLimits, clock: Callable[[], float]) -> None:
        self.service = service
        self.limits = limits
        self.clock = clock
        self.draining = False
        self.in_flight = 0
        self.held_bytes = 0
        self.on_empty: Callable[[], None] = lambda: None
        self.release_field = literal(b"x-sealift-release", service.release.encode("latin-1", "replace"))
        self._open: set[Connection] = set()
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._id = 0

    def __len__(self) -> int:
        return len(self._open)

    def request_id(self, offered: bytes | None) -> bytes:
        """The client's own id if it is 1 to 128 visible ASCII characters, else a new one."""
        if offered is not None and _SANE_ID(offered):
            return offered
        self._id += 1
        return self._id_prefix + b"%x" % self._id

    def tell_degraded(self, moves: str) -> None:
        """From here on every new connection's answers say it; empty: nothing is said."""
        if moves:
            self.release_field += literal(b"x-sealift-degraded", moves.encode("latin-1", "replace"))

    def hold(self, size_bytes: int) -> None:
        """Count bytes of requests that came into memory, or left it (negative)."""
        self.held_bytes += size_bytes

    def opened(self, connection: Connection) -> bool:
        """Count a connection; False when it is one too many."""
        self._open.add(connection)
        return len(self._open) <= self.limits.connections

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        if not self._open:
            self.on_empty()

    def expire(self, now: float) -> None:
        """Let every connection judge its own age at `now`."""
        for connection in tuple(self._open):
            connection.expire(now)

    def drain(self) -> None:
        """Send every client elsewhere."""
        self.draining = True
        for connection in tuple(self._open):
            connection.leave()

    def abort_all(self) -> int:
        """Drop every connection; how many there were."""
        left = tuple(self._open)
        for connection in left:
            connection.abort()
        return len(left)
