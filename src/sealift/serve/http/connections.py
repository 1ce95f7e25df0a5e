"""What all connections of one front share: limits, counts, and whether it is draining."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Application
from sealift.serve.http.render import HeadWriter

_TOLD_AT_ONCE: Final = 128
"""How many connections too many are told so at a time; what comes beyond them is dropped."""


class Connection(Protocol):
    """One client's connection."""

    def expire(self, now: float) -> None:
        """Close or refuse what has taken too long by `now`."""
        ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...


class Connections:
    """The open connections and their common state; used from the event loop's thread only.

    Args:
        application: answers the requests.
        release: `name@version`, for every answer.
        clock: seconds, monotonic; the event loop's `time` except in tests.
        on_empty: called whenever the last connection has gone.
    """

    def __init__(
        self, application: Application, release: str, limits: HttpLimits, clock: Callable[[], float]
    ) -> None:
        self.application = application
        self.limits = limits
        self.clock = clock
        self.writer = HeadWriter(release)
        self.draining = False
        self.held_bytes = 0
        self.on_empty: Callable[[], None] = lambda: None
        self._open: set[Connection] = set()
        self._securing: set[Connection] = set()
        self._drain_began = 0.0
        self._grace_s = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> bool:
        """Count a connection; False when it is one too many."""
        self._open.add(connection)
        excess = len(self._open) - self.limits.connections
        if excess > _TOLD_AT_ONCE:
            connection.abort()
        return excess <= 0

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._tell_if_empty()

    def secures(self, handshake: Connection) -> None:
        """Count a TLS handshake that begins."""
        self._securing.add(handshake)

    def secured(self, handshake: Connection) -> None:
        """A handshake has ended; its connection, if one came out of it, is counted already."""
        self._securing.discard(handshake)
        self._tell_if_empty()

    @property
    def is_empty(self) -> bool:
        """Claims that no client is connected, not even to a handshake."""
        return not self._open and not self._securing

    def _tell_if_empty(self) -> None:
        if self.is_empty:
            self.on_empty()

    def hold(self, size_bytes: int) -> None:
        """Count body bytes that came into memory."""
        self.held_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        """Count body bytes that left memory."""
        self.held_bytes -= size_bytes

    def parts(self, size: int) -> list[tuple[Connection, ...]]:
        """The open connections, at most `size` in each part; one empty part when there is none."""
        everyone = tuple(self._open)
        return [everyone[at : at + size] for at in range(0, len(everyone), size)] or [()]

    def expire(self, now: float, some: Iterable[Connection] | None = None) -> None:
        """Let each of `some` that is still open (None: all) judge its own age at `now`."""
        for connection in tuple(self._open) if some is None else some:
            if connection in self._open:
                connection.expire(now)

    def abort_all(self) -> int:
        """Drop every connection; how many there were."""
        left = (*self._open, *self._securing)
        for connection in left:
            connection.abort()
        return len(left)

    def drain(self, grace_s: float) -> None:
        """From now on every answer closes its connection, and idle ones go after `grace_s`."""
        self.draining = True
        self._drain_began = self.clock()
        self._grace_s = grace_s

    def lets_go(self, idle_since: float, now: float) -> bool:
        """Whether draining closes a connection that is idle since `idle_since`."""
        return self.draining and now >= max(idle_since, self._drain_began) + self._grace_s
