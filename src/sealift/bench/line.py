"""One connection of the load generator, with at most one request under way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sealift.bench.answer import Answer, AnswerReader, NotHttp

Done = Callable[["Line", "Answer | None"], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens. `host` as in a URL."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """`host:port` for the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Line(asyncio.Protocol):
    """One connection with at most one request under way.

    Args:
        done: called with the answer, or None when the connection broke under the request.
    """

    def __init__(self, done: Done) -> None:
        self.done = done
        self.index = 0
        self.intended = 0.0
        self.is_open = False
        self.is_busy = False
        self._reader = AnswerReader()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def ask(self, index: int, message: bytes, intended: float) -> None:
        """Send the request of that index, which was due at `intended`."""
        self.index, self.intended, self.is_busy = index, intended, True
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        try:
            answer = self._reader.feed(data)
        except NotHttp:
            self.close()
            self._break()
            return
        if answer is not None:
            self._whole(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """asyncio's."""
        self.is_open = False
        answer = self._reader.end()
        if answer is not None:
            self._whole(answer)
        else:
            self._break()

    def close(self) -> None:
        """Drop the connection, whatever is under way."""
        self.is_open = False
        self._transport.abort()

    def _whole(self, answer: Answer) -> None:
        if not answer.keeps:
            self.close()
        if self.is_busy:
            self.is_busy = False
            self.done(self, answer)

    def _break(self) -> None:
        if self.is_busy:
            self.is_busy = False
            self.done(self, None)
