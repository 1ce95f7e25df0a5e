"""The worker's end of the channel to its supervisor: ready, a beat a second, orders (protocol 2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any, Protocol

from sealift.meter.beat import Beat
from sealift.serve import control

log = logging.getLogger(__name__)


class Led(Protocol):
    """A worker, as its supervisor's orders see it."""

    def beat(self) -> Beat:
        """What was answered so far."""
        ...

    def retire(self, keep_s: float) -> None:
        """Another worker has taken over: accept nothing, keep idle connections for `keep_s` seconds, end."""
        ...

    def canary_every(self, period_s: float) -> None:
        """Run a canary every `period_s` seconds; 0: none."""
        ...


class Link:
    """Speaks over `channel`, a connected AF_UNIX stream socket that it owns; in the event loop's thread."""

    def __init__(self, channel: socket.socket, worker: Led, beat_s: float = 1.0) -> None:
        self._channel = channel
        self._worker = worker
        self._beat_s = beat_s
        self._ready = asyncio.Event()

    def tell_ready(self) -> None:
        """The first request can be answered."""
        self._ready.set()

    async def run(self) -> None:
        """Tell and listen; returns when the supervisor is gone."""
        self._channel.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=self._channel, limit=control.MAX_LINE)
        telling = asyncio.create_task(self._tell(writer), name="beats")
        listening = asyncio.create_task(self._listen(reader), name="orders")
        try:
            await asyncio.wait({telling, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in (telling, listening):
                if task.done():
                    task.result()
        finally:
            telling.cancel()
            listening.cancel()
            writer.close()
        log.warning("the supervisor is gone")

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        await self._ready.wait()
        with contextlib.suppress(ConnectionError):
            # The first beat comes with it: what the worker is degraded by is known when it serves.
            writer.write(control.encode({"ready": True, "pid": os.getpid()}))
            while True:
                writer.write(control.encode({"beat": self._worker.beat().encode()}))
                await writer.drain()
                await asyncio.sleep(self._beat_s)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._obey(control.decode(line) or {})

    def _obey(self, order: dict[str, Any]) -> None:
        """Unknown orders are a newer supervisor's: what it cannot do without, it does by signals."""
        retire, canary = order.get("retire"), order.get("canary_s")
        if isinstance(canary, int | float):
            self._worker.canary_every(canary)
        if isinstance(retire, int | float):
            self._worker.retire(retire)
