"""HTTP/2 on the wire: frames, and header blocks as a server writes them.

Source: RFC 9113 sections 4 and 6 (frames), 7 (error codes); RFC 7541 section 6.2.2 (literals without indexing).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = struct.Struct(">BHBBI")
"""Length (its upper 8 and lower 16 bits), type, flags, stream."""
HEAD_BYTES: Final = 9
WORD: Final = struct.Struct(">I")
SETTING: Final = struct.Struct(">HI")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

INITIAL_WINDOW_SIZE: Final = 0x4
MAX_CONCURRENT_STREAMS: Final = 0x3
ENABLE_PUSH: Final = 0x2
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME: Final = 16_384
LARGEST: Final = 2**31 - 1
"""The largest window and the largest stream number."""


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def data_head(size: int, stream: int) -> bytes:
    """The head of a DATA frame that does not end its stream."""
    return HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, stream)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values))


def goaway(last: int, code: Code, why: str = "") -> bytes:
    """A GOAWAY frame: streams above `last` were not and will not be looked at."""
    return frame(GOAWAY, 0, 0, WORD.pack(last) + WORD.pack(code) + why.encode())


def literal(name: bytes, value: bytes) -> bytes:
    """One header field, neither indexed nor Huffman coded: nothing to keep in step with the client."""
    return b"\x00" + _sized(name) + _sized(value)


def _sized(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    size -= 127
    more = bytearray(b"\x7f")
    while size >= 128:
        more.append(size & 0x7F | 0x80)
        size >>= 7
    more.append(size)
    return bytes(more) + text
