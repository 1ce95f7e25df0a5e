"""The head of an answer, as bytes: rendered once per status and content type, completed per request."""

from __future__ import annotations

import re
import secrets
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from sealift.serve.http.message import JSON, Reply, Request

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_SANE_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}").fullmatch


class HeadWriter:
    """Writes status line and headers; `release` is `name@version`.

    `degraded`: what every answer tells of models that do not run on their first device; empty: nothing.
    """

    def __init__(self, release: str) -> None:
        self._release = release.encode("latin-1", "replace")
        self.degraded = ""
        self._starts: dict[tuple[int, bytes], bytes] = {}
        self._ok = self._date = b""
        self._until = 0.0
        # Unique over restarts and workers without asking the kernel per request.
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._id = 0

    def request_id(self, offered: bytes | None) -> bytes:
        """The client's own id if it is 1 to 128 visible ASCII characters, else a new one."""
        if offered is not None and _SANE_ID(offered):
            return offered
        self._id += 1
        return self._id_prefix + b"%x" % self._id

    def head(self, request: Request, reply: Reply, size: int, now: float, *, close: bool) -> bytes:
        """Everything up to the empty line, included; `size` is the body's, also for HEAD.

        Args:
            now: `time.perf_counter()`.
        """
        if now >= self._until:
            self._new_second(now)
        if reply.status == 200 and reply.content_type is JSON:
            start = self._ok
        else:
            kind = reply.status, reply.content_type
            start = self._starts.get(kind) or self._start(*kind)
        if reply.headers:
            start += "".join(f"{name}: {value}\r\n" for name, value in reply.headers).encode("latin-1")
        if close:
            start += b"Connection: close\r\n"
        elif request.http10:
            start += b"Connection: keep-alive\r\n"
        return b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (start, request.request_id, size)

    def _new_second(self, now: float) -> None:
        """What answers of this second begin with is written once."""
        clock = time.time()
        self._until = now + 1.0 - clock % 1.0
        self._date = formatdate(int(clock), usegmt=True).encode()
        self._starts.clear()
        self._ok = self._start(200, JSON)

    def _start(self, status: int, content_type: bytes) -> bytes:
        phrase = HTTPStatus(status).phrase.encode()
        start = b"HTTP/1.1 %d %b\r\nX-Sealift-Release: %b\r\nContent-Type: %b\r\nDate: %b\r\n" % (
            status, phrase, self._release, content_type, self._date,
        )  # fmt: skip
        if self.degraded:
            start += f"X-Sealift-Degraded: {self.degraded}\r\n".encode("latin-1", "replace")
        self._starts[status, content_type] = start
        return start
