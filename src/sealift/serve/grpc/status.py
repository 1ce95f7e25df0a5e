"""gRPC's own words on the wire: status codes, messages, time-outs, message prefixes.

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2); status codes as in gRPC's `statuscodes`.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

from sealift.errors import InvalidInput


class Status(IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_STATUS_OF: Final = {
    200: Status.OK,
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    408: Status.DEADLINE_EXCEEDED,
    413: Status.RESOURCE_EXHAUSTED,
    415: Status.UNIMPLEMENTED,
    422: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    499: Status.CANCELLED,
    500: Status.INTERNAL,
    501: Status.UNIMPLEMENTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNSAFE: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_LONGEST_MESSAGE: Final = 4096

PREFIX_BYTES: Final = 5
"""A byte that says whether the message is compressed, then its length in four bytes, big-endian."""


def status_of(http_status: int) -> Status:
    """The gRPC status for what REST says with `http_status`."""
    return _STATUS_OF.get(http_status, Status.INTERNAL if http_status >= 500 else Status.INVALID_ARGUMENT)


def timeout_s(text: bytes | None) -> float | None:
    """Seconds in a `grpc-timeout` field, None without one. Raises: InvalidInput: it says no time."""
    if text is None:
        return None
    found = _TIMEOUT(text)
    if found is None:
        shown = text[:40].decode("latin-1")
        raise InvalidInput(
            f"grpc-timeout: expected 1 to 8 digits and one of H M S m u n, got {shown!r}",
            code="invalid_header",
        )
    return int(found[1]) * _UNIT_S[found[2]]


def message_field(text: str) -> bytes:
    """`text` as the value of `grpc-message`: UTF-8, percent-encoded, cut where no client would read on."""
    return _UNSAFE.sub(
        lambda found: b"%%%02X" % ord(found[0]), text[:_LONGEST_MESSAGE].encode("utf-8", "replace")
    )


def prefix(size: int) -> bytes:
    """What stands in front of an uncompressed message."""
    return b"\x00" + size.to_bytes(4, "big")
