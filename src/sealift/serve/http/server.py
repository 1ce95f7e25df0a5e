"""The front of one worker: accepting on an inherited socket, sweeping time-outs, draining."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from sealift.serve.http.connections import Connections
from sealift.serve.http.handshake import SecureListener
from sealift.serve.http.protocol import HttpConnection

_BACKLOG: Final = 4096
_AT_ONCE: Final = 256
"""How many connections are looked at in one turn of the event loop: 0.1 ms."""


class HttpServer:
    """Accepts connections into `connections`; everything runs in the event loop's thread.

    Args:
        context: for HTTPS; None: plain HTTP.
    """

    def __init__(self, connections: Connections, context: ssl.SSLContext | None = None) -> None:
        self.connections = connections
        self._context = context
        self._listening: asyncio.Server | SecureListener | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept on a bound, listening socket; `drain` closes this process's copy of it, no other's."""
        listener.setblocking(False)
        if self._context is not None:
            self._listening = SecureListener(self.connections, self._context, listener, self._begin)
            return
        self._listening = await asyncio.get_running_loop().create_server(
            self._begin, sock=listener, backlog=_BACKLOG
        )

    def _begin(self) -> asyncio.Protocol:
        return HttpConnection(self.connections)

    async def sweep(self, tick_s: float = 0.25) -> None:
        """Look for connections that took too long, for ever: one timer for all keeps requests free of it.

        Every connection is looked at once a tick while they are few; ten thousand are looked at in turn, so
        that no request waits for all of them.
        """
        while True:
            parts = self.connections.parts(_AT_ONCE)
            for part in parts:
                await asyncio.sleep(tick_s / min(len(parts), 4))
                self.connections.expire(self.connections.clock(), part)

    async def drain(self, drain_s: float, grace_s: float) -> int:
        """Stop accepting, answer what is here or still arrives, close; at most `drain_s` seconds.

        A connection that stays idle for `grace_s` from now on is closed; before, a client that had already
        sent a request over it is still answered (with `Connection: close`).

        Called again (the first call cancelled), the new times count from then.

        Returns: the number of connections that had to be cut off.
        """
        empty = asyncio.Event()
        self.connections.on_empty = empty.set
        self.connections.drain(grace_s)
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self.connections.is_empty:
            return 0
        try:
            async with asyncio.timeout(drain_s):
                await empty.wait()
        except TimeoutError:
            return self.connections.abort_all()
        return 0
