"""Clients on their way into TLS: accepted, counted, bounded in number and time.

uvloop's own server would shake hands without a count: whoever connects and stays silent costs nothing and
holds a descriptor. Here a handshake is known from its first byte to its HTTP connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from sealift.serve.http.connections import Connections

log = logging.getLogger(__name__)

_AT_ONCE: Final = 64
_PAUSE_S: Final = 0.1
"""How long nothing is accepted when the kernel has no descriptor or memory left."""
_QUIET_S: Final = 60.0
"""Between two lines of the log about handshakes that failed: a scanner must not fill the disk."""


class SecureListener:
    """Accepts on a listening socket and shakes hands; used from the event loop's thread only.

    When `limits.handshakes` are under way the oldest gives way to the next: an honest one takes milliseconds.

    Args:
        make: the protocol that speaks over a connection that is secure.
    """

    def __init__(
        self,
        connections: Connections,
        context: ssl.SSLContext,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        self._connections = connections
        self._context = context
        self._listener = listener
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[Handshake, None] = {}
        self._is_closed = False
        self._failed = 0
        self._told_at = -_QUIET_S
        self._resume()

    def close(self) -> None:
        """Accept nothing more, and close this process's copy of the socket."""
        self._is_closed = True
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("cannot accept: %s; again in %g s", error.strerror, _PAUSE_S)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_S, self._resume)
                return
            self._begin(client, str(peer[0]))

    def _begin(self, client: socket.socket, peer: str) -> None:
        limits, everyone = self._connections.limits, self._connections
        if len(everyone) + len(self._under_way) >= limits.connections:
            client.close()
            return
        if len(self._under_way) >= limits.handshakes:
            next(iter(self._under_way)).abort()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake = Handshake(self._loop.create_task(self._shake(client)))
        self._under_way[handshake] = None
        everyone.secures(handshake)
        handshake.work.add_done_callback(lambda _: self._ended(handshake, peer))

    async def _shake(self, client: socket.socket) -> None:
        limits = self._connections.limits
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                client,
                ssl=self._context,
                ssl_handshake_timeout=limits.handshake_s,
                ssl_shutdown_timeout=limits.linger_s,
            )
        except BaseException:
            client.close()
            raise

    def _ended(self, handshake: Handshake, peer: str) -> None:
        del self._under_way[handshake]
        self._connections.secured(handshake)
        error = None if handshake.work.cancelled() else handshake.work.exception()
        if error is None:
            return
        self._failed += 1
        now = self._connections.clock()
        if now < self._told_at + _QUIET_S:
            return
        self._told_at = now
        log.warning("%d TLS handshakes failed, the last with %s: %s", self._failed, peer, _why(error))
        self._failed = 0


class Handshake:
    """One handshake under way."""

    def __init__(self, work: asyncio.Task[None]) -> None:
        self.work = work

    def expire(self, now: float) -> None:
        """Nothing: it has a timer of its own."""

    def abort(self) -> None:
        """Drop the client."""
        self.work.cancel()


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__
