"""The front of one worker: accepting on an inherited socket, sweeping time-outs, draining."""

from __future__ import annotations

import asyncio
import socket

from sealift.serve.http.connections import Connections
from sealift.serve.http.protocol import HttpConnection


class HttpServer:
    """Accepts connections into `connections`; everything runs in the event loop's thread."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._listening: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept on a bound, listening socket; `drain` closes this process's copy of it, no other's."""
        listener.setblocking(False)
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self.connections), sock=listener
        )

    async def sweep(self, tick_s: float = 0.25) -> None:
        """Look for connections that took too long, for ever: one timer for all keeps requests free of it."""
        while True:
            await asyncio.sleep(tick_s)
            self.connections.expire(self.connections.clock())

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
        if not len(self.connections):
            return 0
        try:
            async with asyncio.timeout(drain_s):
                await empty.wait()
        except TimeoutError:
            return self.connections.abort_all()
        return 0
