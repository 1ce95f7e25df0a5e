"""Files -> stored objects: raw, compressed, or as a patch of an older object; the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Final

import zstandard

from sealift.bundle.codec import CHUNK, base_window
from sealift.bundle.frames import BASE_WINDOW, BLOCK, PLACE, block_sizes
from sealift.bundle.transport import PATCH, RAW, ZSTD, StoredObject

LEVEL: Final = 9
"""Measured on the 212 MB runtime layer, two cores: 3 -> 68.8 MB in 0.8 s, 9 -> 63.1 in 2.6, 19 -> 57.2 in 36."""
PATCH_TABLE_LOG: Final = 24
"""Tables that index a whole window of the base: with those of the level itself 5.9 MB are 25.2 (ADR 0014)."""
FROM_BYTES: Final = 75
"""What naming the base of one object costs in transport.json."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How an object is stored, the file with its stored bytes, and their number had it been stored whole."""

    item: StoredObject
    path: Path
    whole_size: int


@dataclass(frozen=True, slots=True)
class Old:
    """An object to make a patch from: its digest, its file, and where each block's window of it begins."""

    sha256: str
    path: Path
    places: Sequence[int]


def store_object(source: Path, sha256: str, size: int, staging: Path) -> Stored:
    """Choose the smaller of raw and zstd.

    One thread per object and a declared content size: the same input gives the same bytes everywhere.
    """
    packed = staging / sha256
    compressor = zstandard.ZstdCompressor(
        level=LEVEL, write_content_size=True, write_checksum=False, threads=0
    )
    with source.open("rb") as reader, packed.open("wb") as writer:
        compressor.copy_stream(reader, writer, size=size, read_size=CHUNK, write_size=CHUNK)
    stored_size = packed.stat().st_size
    if stored_size >= size:
        packed.unlink()
        return Stored(StoredObject(RAW, size, size, sha256), source, size)
    return Stored(StoredObject(ZSTD, size, stored_size, digest_of(packed)), packed, stored_size)


def store_smallest(source: Path, sha256: str, size: int, staging: Path, old: Old) -> Stored:
    """As `store_object`, or as a patch of `old` where that is smaller, the naming of its base included."""
    whole = store_object(source, sha256, size, staging)
    patch = staging / f"{sha256}.patch"
    write_patch(source, size, old, patch)
    stored_size = patch.stat().st_size
    if stored_size + FROM_BYTES >= whole.whole_size:
        patch.unlink()
        return whole
    if whole.path != source:
        whole.path.unlink()
    item = StoredObject(PATCH, size, stored_size, digest_of(patch), old.sha256)
    return Stored(item, patch, whole.whole_size)


def write_patch(source: Path, size: int, old: Old, patch: Path) -> None:
    """The stored bytes of `source` as a patch of `old` (clause 4.7). Needs about 250 MB of memory."""
    with source.open("rb") as reader, patch.open("wb") as writer:
        for block_size, place in zip(block_sizes(size), old.places, strict=True):
            writer.write(place.to_bytes(PLACE, "little"))
            writer.write(_frame(reader.read(block_size), old.path, place))


def even_places(size: int, base_size: int) -> list[int]:
    """For each block the window of the base around the same offset; all of a base of at most 16 MiB."""
    last = max(0, base_size - BASE_WINDOW)
    margin = (BASE_WINDOW - BLOCK) // 2
    return [min(last, max(0, start - margin)) for start in range(0, size, BLOCK)]


def _frame(block: bytes, base: Path, place: int) -> bytes:
    window = base_window(base, place, base.name)
    log = min(26, (len(window) + len(block)).bit_length())
    tables = max(6, min(PATCH_TABLE_LOG, log - 1))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        source_size=len(block),
        dict_size=len(window),
        window_log=max(10, log),  # from_level would look back 8 MiB at most
        hash_log=tables,
        chain_log=tables,
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
    )
    dictionary = zstandard.ZstdCompressionDict(window, zstandard.DICT_TYPE_RAWCONTENT) if window else None
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(block)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()
