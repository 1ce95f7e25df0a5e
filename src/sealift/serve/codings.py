"""Content codings: gzip, deflate and zstd, in with a bound on what comes out, out only where asked for.

Source: RFC 9110 8.4.1 (deflate is the zlib format), 12.4.2 and 12.5.3 (weights); RFC 8878 3.1.1 (zstd frames),
RFC 9659 (a zstd window of at most 8 MB).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from sealift.errors import InvalidInput, TooLarge, UnsupportedMedia
from sealift.serve.http.message import Reply

_WINDOW_BITS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_ZSTD: Final = b"zstd"
_OFFERED: Final = (_ZSTD, b"gzip", b"deflate")
"""What answers are compressed with, the cheapest first."""
_WORTH_IT: Final = 1024
_WEIGHT: Final = re.compile(rb"q=([01](?:\.[0-9]{0,3})?)").fullmatch

_MAX_WINDOW: Final = 1 << 23
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SHORTEST_HEADER: Final = 5
_LONGEST_HEADER: Final = 18
_CHECKSUM: Final = 4
_RLE, _RESERVED = 1, 3
_PIECE: Final = 1 << 20


def decoded(body: bytes, coding: bytes | None, limit_bytes: int) -> bytes:
    """The body without its Content-Encoding.

    Raises:
        UnsupportedMedia: another coding than gzip, deflate or zstd, or several.
        TooLarge: it grows beyond `limit_bytes`; nothing more is decompressed by then.
        InvalidInput: damaged, cut short, or with bytes behind its end.
    """
    name = (coding or b"identity").strip().lower()
    if name == b"identity":
        return body
    if name == _ZSTD:
        return _from_zstd(body, limit_bytes)
    if name not in _WINDOW_BITS:
        shown = name.decode("latin-1")
        text = f"Content-Encoding {shown!r} is not read here; use gzip, deflate or zstd"
        if b"," in name:
            text = f"Content-Encoding {shown!r}: one coding is undone here, not several in a row"
        raise UnsupportedMedia(text, code="unsupported_encoding")
    engine = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        data = engine.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise _not_data(name.decode(), error) from None
    if len(data) > limit_bytes:
        raise _too_large(limit_bytes)
    if not engine.eof:
        raise _ends_wrongly(name.decode(), "is cut short")
    if engine.unused_data:
        raise _ends_wrongly(name.decode(), "has bytes behind its end")
    return data


def _from_zstd(body: bytes, limit_bytes: int) -> bytes:
    import zstandard

    _check_frame(body, limit_bytes)
    found: list[bytes] = []
    size = 0
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    try:
        with decoder.stream_reader(body, read_across_frames=False) as reader:
            while piece := reader.read(_PIECE):
                size += len(piece)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                found.append(piece)
    except zstandard.ZstdError as error:
        raise _not_data("zstd", error) from None
    return found[0] if len(found) == 1 else b"".join(found)


def _check_frame(body: bytes, limit_bytes: int) -> None:
    """One whole frame that asks for no more than it may; a decoder is silent about a cut or what follows."""
    import zstandard

    if not body.startswith(_MAGIC[: len(body)]):
        raise _not_data("zstd", "it does not begin with a zstd frame")
    head = body[:_LONGEST_HEADER]
    try:
        at = zstandard.frame_header_size(head) if len(head) >= _SHORTEST_HEADER else len(body) + 1
        if at > len(body):
            raise _ends_wrongly("zstd", "is cut short")
        frame = zstandard.get_frame_parameters(head[:at])
    except zstandard.ZstdError as error:
        raise _not_data("zstd", error) from None
    if zstandard.CONTENTSIZE_UNKNOWN > frame.content_size > limit_bytes:
        raise _too_large(limit_bytes)
    if frame.window_size > _MAX_WINDOW or frame.dict_id:
        text = "the zstd body asks for a dictionary or a window of more than 8 MiB (RFC 9659)"
        raise InvalidInput(text, code="invalid_encoding")
    end = _end_of_blocks(body, at) + _CHECKSUM * frame.has_checksum
    if end > len(body):
        raise _ends_wrongly("zstd", "is cut short")
    if end < len(body):
        raise _ends_wrongly("zstd", "has bytes behind its end")


def _end_of_blocks(body: bytes, at: int) -> int:
    """Where the last block ends; beyond the body when it is cut short."""
    is_last = False
    while not is_last:
        if at + 3 > len(body):
            return len(body) + 1
        block = int.from_bytes(body[at : at + 3], "little")
        is_last, kind = bool(block & 1), block >> 1 & 3
        if kind == _RESERVED:
            raise _not_data("zstd", f"a damaged block at byte {at}")
        at += 3 + (1 if kind == _RLE else block >> 3)
    return at


def _not_data(name: str, why: object) -> InvalidInput:
    return InvalidInput(f"the body is not {name} data: {why}", code="invalid_encoding")


def _ends_wrongly(name: str, how: str) -> InvalidInput:
    return InvalidInput(f"the {name} body {how}", code="invalid_encoding")


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit_bytes} bytes once decompressed", code="too_large")


def encoded(reply: Reply, accepted: bytes | None) -> Reply:
    """The answer compressed, if the client takes zstd, gzip or deflate and it is worth it.

    Level 1: on a local network the processor is what is scarce.
    """
    if not accepted or reply.size < _WORTH_IT:
        return reply
    name = _choose(accepted)
    if name is None:
        return reply
    parts = (reply.body,) if isinstance(reply.body, bytes) else reply.body
    body = _compressed(parts, name)
    coding = (("Content-Encoding", name.decode()), ("Vary", "Accept-Encoding"))
    return Reply(reply.status, body, reply.content_type, (*reply.headers, *coding))


def _compressed(parts: Iterable[bytes | memoryview], name: bytes) -> bytes:
    if name == _ZSTD:
        import zstandard

        packer = zstandard.ZstdCompressor(level=1).compressobj()
        return b"".join((*(packer.compress(part) for part in parts), packer.flush()))
    engine = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS[name])
    return b"".join((*(engine.compress(part) for part in parts), engine.flush()))


@lru_cache(maxsize=64)
def _choose(accepted: bytes) -> bytes | None:
    """Of what the client names the coding of the greatest weight above 0; of equals the cheapest."""
    weights: dict[bytes, float] = {}
    for choice in accepted.lower().split(b","):
        name, _, parameter = (part.strip() for part in choice.partition(b";"))
        weight = _WEIGHT(parameter)
        weights[name] = float(weight[1]) if weight else 0.0 if parameter else 1.0
    best = max(_OFFERED, key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) else None
