"""Content codings: round trips, bombs, damage, and what a client accepts."""

from __future__ import annotations

import gzip
import zlib

import pytest

from sealift.errors import InvalidInput, TooLarge, UnsupportedMedia
from sealift.serve.codings import decoded, encoded
from sealift.serve.http.message import Reply

TEXT = b"carry a service across an air gap " * 100


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (None, TEXT),
        (b"identity", TEXT),
        (b"GZip", gzip.compress(TEXT, mtime=0)),
        (b"deflate", zlib.compress(TEXT)),
    ],
)
def test_known_codings_are_undone(coding: bytes | None, body: bytes) -> None:
    assert decoded(body, coding, len(TEXT)) == TEXT


def test_a_decompression_bomb_is_refused_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    with pytest.raises(TooLarge, match="larger than 1000 bytes once decompressed"):
        decoded(bomb, b"gzip", 1000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (gzip.compress(TEXT, mtime=0)[:-1], "cut short"),
        (gzip.compress(TEXT, mtime=0) + b"more", "bytes behind its end"),
        (TEXT, "is not gzip data"),
        (b"", "cut short"),
    ],
)
def test_damaged_bodies_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decoded(body, b"gzip", 10_000)


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"zstd"])
def test_other_codings_are_named(coding: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match=coding.decode()):
        decoded(TEXT, coding, 10_000)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", "gzip"),
        (b"br, deflate;q=0.5, gzip", "deflate"),
        (b"gzip;q=0, deflate", "deflate"),
        (b"gzip; q=0.000", None),
        (b"br", None),
        (b"", None),
        (None, None),
    ],
)
def test_an_answer_is_compressed_as_the_client_accepts(accepted: bytes | None, chosen: str | None) -> None:
    reply = encoded(Reply(200, (TEXT, memoryview(TEXT))), accepted)
    if chosen is None:
        assert reply.headers == ()
        return
    assert dict(reply.headers)["Content-Encoding"] == chosen
    assert isinstance(reply.body, bytes)
    assert decoded(reply.body, chosen.encode(), 10_000) == TEXT + TEXT


def test_a_small_answer_is_not_worth_compressing() -> None:
    assert encoded(Reply(200, b"small"), b"gzip").body == b"small"
