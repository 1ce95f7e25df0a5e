"""Content codings: round trips, bombs, damage, and what a client accepts."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import InvalidInput, TooLarge, UnsupportedMedia
from sealift.serve.codings import decoded, encoded
from sealift.serve.http.message import Reply

TEXT = b"carry a service across an air gap " * 100


def streamed(data: bytes, window_log: int = 20) -> bytes:
    """A zstd frame of unknown size, as a client writes one while it produces the data."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (None, TEXT),
        (b"identity", TEXT),
        (b"GZip", gzip.compress(TEXT, mtime=0)),
        (b"deflate", zlib.compress(TEXT)),
        (b"zstd", zstandard.compress(TEXT)),
        (b" ZSTD ", zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)),
        (b"zstd", streamed(TEXT)),
        (b"zstd", zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)),
    ],
    ids=["none", "identity", "gzip", "deflate", "zstd", "zstd checksum", "zstd streamed", "zstd unsized"],
)
def test_known_codings_are_undone(coding: bytes | None, body: bytes) -> None:
    assert decoded(body, coding, len(TEXT)) == TEXT


BOMBS = {
    "gzip": gzip.compress(bytes(50_000_000)),
    "deflate": zlib.compress(bytes(50_000_000)),
    "zstd": zstandard.compress(bytes(50_000_000)),
    "zstd of unknown size": streamed(bytes(50_000_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_at_the_limit(name: str) -> None:
    bomb = BOMBS[name]
    assert len(bomb) < 60_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="larger than 1000 bytes once decompressed"):
            decoded(bomb, name.split()[0].encode(), 1000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    for body, coding in ((gzip.compress(TEXT), b"gzip"), (streamed(TEXT), b"zstd")):
        assert decoded(body, coding, len(TEXT)) == TEXT
        with pytest.raises(TooLarge):
            decoded(body, coding, len(TEXT) - 1)


@pytest.mark.parametrize("log", [24, 31])
def test_a_zstd_window_beyond_rfc_9659_is_refused_before_it_is_allocated(log: int) -> None:
    greedy = streamed(TEXT, window_log=log)
    assert zstandard.get_frame_parameters(greedy).window_size == 1 << log
    with pytest.raises(InvalidInput, match="more than 8 MiB"):
        decoded(greedy, b"zstd", 10_000)


def test_a_declared_size_above_the_limit_is_refused_whatever_follows() -> None:
    head = zstandard.compress(bytes(10**6))[:12]
    with pytest.raises(TooLarge):
        decoded(head, b"zstd", 1000)


GZIP, ZSTD = gzip.compress(TEXT, mtime=0), zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        (b"gzip", GZIP[:-1], "cut short"),
        (b"gzip", GZIP + b"more", "bytes behind its end"),
        (b"gzip", TEXT, "is not gzip data"),
        (b"gzip", b"", "cut short"),
        (b"zstd", ZSTD[:-1], "cut short"),
        (b"zstd", ZSTD[:-8], "cut short"),
        (b"zstd", ZSTD[:7], "cut short"),
        (b"zstd", ZSTD[:4], "cut short"),
        (b"zstd", b"", "cut short"),
        (b"zstd", ZSTD + b"more", "bytes behind its end"),
        (b"zstd", ZSTD + ZSTD, "bytes behind its end"),
        (b"zstd", TEXT, "is not zstd data"),
        (b"zstd", b"\x50\x2a\x4d\x18\x04\0\0\0skip" + ZSTD, "is not zstd data"),
        (b"zstd", ZSTD[:-1] + bytes([ZSTD[-1] ^ 1]), "is not zstd data"),
    ],
    ids=lambda value: value.decode() if value in (b"gzip", b"zstd") else "",
)
def test_damaged_bodies_are_refused(coding: bytes, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decoded(body, coding, 10_000)


@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_any_damage_gives_the_bytes_or_a_refusal(noise: bytes, at: int, whole: bool) -> None:
    body = zstandard.compress(TEXT)
    damaged = noise if whole else body[:at] + noise + body[at + len(noise) :]
    for data in (damaged, b"\x28\xb5\x2f\xfd" + noise):
        with contextlib.suppress(InvalidInput, TooLarge):
            assert len(decoded(data, b"zstd", 10_000)) <= 10_000


@pytest.mark.parametrize("coding", [b"br", b"compress", b"x", b"chunked"], ids=str)
def test_other_codings_are_named(coding: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match=f"'{coding.decode()}' is not read here; use gzip"):
        decoded(TEXT, coding, 10_000)


@pytest.mark.parametrize("coding", [b"gzip, gzip", b"gzip,zstd", b"identity, gzip"], ids=str)
def test_several_codings_in_a_row_are_refused(coding: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="not several in a row"):
        decoded(TEXT, coding, 10_000)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", "gzip"),
        (b"br, deflate;q=0.5, gzip", "gzip"),
        (b"gzip, deflate, br, zstd", "zstd"),
        (b"zstd;q=0.2, gzip;q=0.9", "gzip"),
        (b"zstd;q=0, gzip", "gzip"),
        (b"ZSTD ; Q=1.0", "zstd"),
        (b"gzip;q=nonsense", None),
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
