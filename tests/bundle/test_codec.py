"""Objects come back as they went in, and nothing is decoded before its stored bytes are believed."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sealift.bundle.codec import copy_object
from sealift.bundle.encode import store_object
from sealift.bundle.frames import MAX_WINDOW
from sealift.bundle.transport import StoredObject
from sealift.errors import DigestMismatch, MalformedBundle, SealiftError


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored_in(folder: Path, data: bytes) -> tuple[StoredObject, bytes]:
    (folder / "source").write_bytes(data)
    kept = store_object(folder / "source", digest(data), len(data), folder)
    assert kept.whole_size == kept.item.stored_size
    return kept.item, kept.path.read_bytes()


def copied(stored: StoredObject, raw: bytes, sha256: str) -> bytes:
    sink = io.BytesIO()
    copy_object(lambda: io.BytesIO(raw), stored, sha256, sink)
    return sink.getvalue()


@given(st.binary(max_size=4096), st.integers(1, 200))
def test_whatever_was_stored_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, times: int
) -> None:
    data = seed * times
    stored, raw = stored_in(tmp_path_factory.mktemp("codec"), data)
    assert copied(stored, raw, digest(data)) == data
    assert stored.stored_size <= len(data)


def test_the_smaller_of_raw_and_zstd_is_kept(tmp_path: Path) -> None:
    noise = hashlib.shake_256(b"x").digest(10_000)
    assert stored_in(tmp_path, noise) == (StoredObject("raw", 10_000, 10_000, digest(noise)), noise)
    text, raw = stored_in(tmp_path, b"word " * 10_000)
    assert text.codec == "zstd"
    assert text.stored_size == len(raw) < 200
    assert stored_in(tmp_path, b"") == (StoredObject("raw", 0, 0, digest(b"")), b"")


def test_every_flipped_bit_of_a_stored_object_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    data = b"word " * 500
    stored, raw = stored_in(tmp_path, data)
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(DigestMismatch):
            copied(stored, bytes(changed), digest(data))


def signed_frame(frame: bytes, size: int) -> StoredObject:
    """What a release key that went bad could sign."""
    return StoredObject("zstd", size, len(frame), digest(frame))


def test_a_decompression_bomb_stops_at_the_announced_size() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(MalformedBundle, match="its zstd frame says 200000000 bytes"):
        copied(signed_frame(bomb, 30_000_000), bomb, digest(b""))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_frame_without_a_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"word " * 1000)
    with pytest.raises(MalformedBundle):
        copied(signed_frame(frame, 5000), frame, digest(b"word " * 1000))


def test_a_window_bomb_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    data = bytes(160_000_000)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(data)
    assert zstandard.get_frame_parameters(frame).window_size > MAX_WINDOW
    with pytest.raises(MalformedBundle, match="with a window of"):
        copied(signed_frame(frame, len(data)), frame, digest(data))


def test_two_frames_or_trailing_bytes_are_refused() -> None:
    data = b"word " * 1000
    frame = zstandard.ZstdCompressor().compress(data)
    for more in (frame, b"x"):
        with pytest.raises(SealiftError):
            copied(signed_frame(frame + more, len(data)), frame + more, digest(data))


def test_a_frame_whose_checksum_is_cut_off_is_refused() -> None:
    data = b"word " * 1000
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    assert copied(signed_frame(frame, len(data)), frame, digest(data)) == data
    for cut in range(1, 5):
        with pytest.raises(MalformedBundle, match="cut off"):
            copied(signed_frame(frame[:-cut], len(data)), frame[:-cut], digest(data))


def test_what_is_no_frame_at_all_is_refused() -> None:
    with pytest.raises(MalformedBundle, match="not a zstd frame"):
        copied(signed_frame(b"hello", 100), b"hello", digest(b""))


def test_a_frame_of_other_content_with_the_right_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor().compress(b"word " * 1000)
    with pytest.raises(DigestMismatch):
        copied(signed_frame(frame, 5000), frame, digest(b"other" * 1000))


def test_a_raw_object_of_another_size_is_refused() -> None:
    data = b"x" * 100
    stored = StoredObject("raw", 100, 100, digest(data))
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(DigestMismatch):
            copied(stored, wrong, digest(data))
    with pytest.raises(DigestMismatch):
        copied(replace(stored, size=99), data, digest(data))
