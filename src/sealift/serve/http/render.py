"""The head of an answer, as bytes: rendered once per status and content type, completed per request."""

from __future__ import annotations

import re
import secrets
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from sealift.serve.http.message import Reply, Request

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_SANE_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}").fullmatch


class HeadWriter:
    """Writes status line and headers; `release` is `name@version`."""

    def __init__(self, release: str) -> None:
        self._release = release.encode("latin-1", "replace")
        self._starts: dict[tuple[int, bytes], bytes] = {}
        self._second = 0
        self._date = b""
        # Unique over restarts and workers without asking the kernel per request.
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._id = 0

    def request_id(self, offered: bytes | None) -> bytes:
        """The client's own id if it is 1 to 128 visible ASCII characters, else a new one."""
        if offered is not None and _SANE_ID(offered):
            return offered
        self._id += 1
        return self._id_prefix + b"%x" % self._id

    def head(self, request: Request, reply: Reply, size: int, *, close: bool) -> bytes:
        """Everything up to the empty line, included; `size` is the body's, also for HEAD."""
        start = self._starts.get((reply.status, reply.content_type))
        if start is None:
            start = self._start(reply.status, reply.content_type)
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True).encode()
        more = b""
        if reply.headers:
            more = "".join(f"\r\n{name}: {value}" for name, value in reply.headers).encode("latin-1")
        if close:
            more += b"\r\nConnection: close"
        elif request.http10:
            more += b"\r\nConnection: keep-alive"
        return b"%b%d\r\nX-Request-Id: %b\r\nDate: %b%b\r\n\r\n" % (
            start, size, request.request_id, self._date, more,
        )  # fmt: skip

    def _start(self, status: int, content_type: bytes) -> bytes:
        phrase = HTTPStatus(status).phrase.encode()
        start = b"HTTP/1.1 %d %b\r\nX-Sealift-Release: %b\r\nContent-Type: %b\r\nContent-Length: " % (
            status, phrase, self._release, content_type,
        )  # fmt: skip
        self._starts[status, content_type] = start
        return start
