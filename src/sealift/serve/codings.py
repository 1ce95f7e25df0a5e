"""Content codings: gzip and deflate, in with a bound on what comes out, out only where asked for.

Source: RFC 9110 8.4.1 (deflate is the zlib format), 12.5.3.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from sealift.errors import InvalidInput, TooLarge, UnsupportedMedia
from sealift.serve.http.message import Reply

_WINDOW_BITS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_WORTH_IT: Final = 1024
_REFUSED: Final = re.compile(rb";\s*q=0(\.0*)?\s*$").search


def decoded(body: bytes, coding: bytes | None, limit_bytes: int) -> bytes:
    """The body without its Content-Encoding.

    Raises:
        UnsupportedMedia: another coding than gzip or deflate, or several.
        TooLarge: it grows beyond `limit_bytes`; nothing more is decompressed by then.
        InvalidInput: damaged, cut short, or with bytes behind its end.
    """
    name = (coding or b"identity").strip().lower()
    if name == b"identity":
        return body
    if name not in _WINDOW_BITS:
        text = f"Content-Encoding {name.decode('latin-1')!r} is not read here; use gzip or deflate"
        raise UnsupportedMedia(text, code="unsupported_encoding")
    engine = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        data = engine.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        text = f"the body is not {name.decode()} data: {error}"
        raise InvalidInput(text, code="invalid_encoding") from None
    if len(data) > limit_bytes:
        text = f"the body is larger than {limit_bytes} bytes once decompressed"
        raise TooLarge(text, code="too_large")
    if not engine.eof or engine.unused_data:
        what = "has bytes behind its end" if engine.eof else "is cut short"
        raise InvalidInput(f"the {name.decode()} body {what}", code="invalid_encoding")
    return data


def encoded(reply: Reply, accepted: bytes | None) -> Reply:
    """The answer compressed, if the client takes gzip or deflate and it is worth it.

    Level 1: on a local network the processor is what is scarce.
    """
    if not accepted or reply.size < _WORTH_IT:
        return reply
    name = _choose(accepted)
    if name is None:
        return reply
    engine = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS[name])
    parts = (reply.body,) if isinstance(reply.body, bytes) else reply.body
    body = b"".join((*(engine.compress(part) for part in parts), engine.flush()))
    coding = (("Content-Encoding", name.decode()), ("Vary", "Accept-Encoding"))
    return Reply(reply.status, body, reply.content_type, (*reply.headers, *coding))


def _choose(accepted: bytes) -> bytes | None:
    """The first of gzip and deflate that the client names and does not weigh 0."""
    for choice in accepted.lower().split(b","):
        name = choice.partition(b";")[0].strip()
        if name in (b"gzip", b"deflate") and not _REFUSED(choice):
            return name
    return None
