"""Header blocks of requests: read, judged, and known again when they come once more.

Source: RFC 7541; RFC 9113 8.2 and 8.3 (what a request must and must not carry).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from sealift.serve.grpc.frames import Code
from sealift.serve.grpc.stream import Http2Error

_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_MOST_KNOWN: Final = 256


class HeaderBlocks:
    """The header blocks of one connection, in the order they come: they share a table."""

    def __init__(self, head_bytes: int) -> None:
        self._decoder = Decoder(max_header_list_size=head_bytes)
        self._known: dict[bytes, Mapping[bytes, bytes]] = {}

    def read(self, block: bytes) -> Mapping[bytes, bytes]:
        """The fields; empty where they are malformed (RFC 9113 8.2.1, 8.3.1)."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "the header fields are too large") from None
        except (HPACKError, ValueError, IndexError) as error:
            raise Http2Error(Code.COMPRESSION_ERROR, f"a header block that is none: {error}") from None
        headers = _request_of(fields)
        if block and min(block) >= 0x80 and len(self._known) < _MOST_KNOWN:
            # All fields come from the table, which such a block does not change: gRPC repeats it for each call.
            self._known[block] = headers
        else:
            self._known.clear()
        return headers


def _request_of(fields: Any) -> Mapping[bytes, bytes]:
    """The header fields of a request by name; empty when no server may take them for one."""
    headers: dict[bytes, bytes] = {}
    plain = False
    for name, value in fields:
        if name[:1] == b":":
            if plain or name not in _PSEUDO or name in headers:
                return {}
        else:
            plain = True
            if name in _CONNECTION_FIELDS or name != name.lower() or (name == b"te" and value != b"trailers"):
                return {}
        headers[bytes(name)] = bytes(value)
    if not headers.get(b":path") or b":method" not in headers or b":scheme" not in headers:
        return {}
    return headers
