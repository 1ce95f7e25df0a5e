"""HTTP/1.1 answers as they arrive: enough for a load generator, in a few string searches per answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 1 << 16


class NotHttp(Exception):
    """What came is no HTTP/1.x answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer. `head`: status line and headers as they came."""

    status: int
    head: bytes
    body: bytes
    keeps: bool

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, or None. `name` in lower case."""
        return _value(self.head.lower(), name)


class AnswerReader:
    """Bytes of one connection -> answers, in order; one request is under way at a time (no HEAD, no upgrade)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head = b""
        self._size = -1
        self._is_chunked = False
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. Raises: NotHttp."""
        self._data += data
        while not self._head:
            end = self._data.find(_HEAD_END)
            if end < 0:
                if len(self._data) > _LONGEST_HEAD:
                    raise NotHttp("no end of the headers in 64 KiB")
                return None
            self._begin(bytes(self._data[:end]))
            del self._data[: end + len(_HEAD_END)]
        return self._chunked() if self._is_chunked else self._sized()

    def end(self) -> Answer | None:
        """The connection was closed: the answer, where its end was the end of the connection."""
        if self._head and self._size < 0 and not self._is_chunked:
            return self._whole(bytes(self._data))
        return None

    def _begin(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise NotHttp(f"began with {head[:40]!r}")
        if head[9:10] == b"1":  # 100 Continue and the like: the answer is still to come
            return
        lower = head.lower()
        self._head = head
        self._is_chunked = b"chunked" in (_value(lower, b"transfer-encoding") or b"")
        length = _value(lower, b"content-length")
        if length is not None and not length.isdigit():
            raise NotHttp(f"Content-Length {length[:40]!r}")
        self._size = int(length) if length is not None else (0 if head[9:12] in (b"204", b"304") else -1)

    def _sized(self) -> Answer | None:
        if self._size < 0 or len(self._data) < self._size:
            return None
        body = bytes(self._data[: self._size])
        del self._data[: self._size]
        return self._whole(body)

    def _chunked(self) -> Answer | None:
        while True:
            end = self._data.find(b"\r\n")
            if end < 0:
                return None
            try:
                size = int(bytes(self._data[:end]).partition(b";")[0], 16)
            except ValueError:
                raise NotHttp(f"chunk size {bytes(self._data[:40])!r}") from None
            if len(self._data) < end + 2 + size + 2:
                return None
            self._chunks.append(bytes(self._data[end + 2 : end + 2 + size]))
            del self._data[: end + 2 + size + 2]
            if size == 0:
                return self._whole(b"".join(self._chunks))

    def _whole(self, body: bytes) -> Answer:
        head, is_open_ended = self._head, self._size < 0 and not self._is_chunked
        self._head, self._size, self._is_chunked, self._chunks = b"", -1, False, []
        closes = is_open_ended or b"close" in (_value(head.lower(), b"connection") or b"")
        return Answer(int(head[9:12]), head, body, keeps=not closes)


def _value(lower: bytes, name: bytes) -> bytes | None:
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    begin = at + len(name) + 3
    end = lower.find(b"\r\n", begin)
    return lower[begin : end if end >= 0 else len(lower)].strip()
