"""How an object's bytes are stored: `raw` or `zstd`; one place for the codecs of deltas to come (clause 4.4).

Decoding trusts nothing: the caller has compared the stored bytes with their signed digest, and still the
window, the content size and the output are bounded before memory is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from typing import IO, Final

import zstandard

from sealift import canonical
from sealift.bundle.source import reading
from sealift.bundle.transport import StoredObject
from sealift.errors import DigestMismatch, MalformedBundle

CHUNK: Final = 1 << 20
LEVEL: Final = 9
"""Measured on the 212 MB runtime layer, two cores: 3 -> 68.8 MB in 0.8 s, 9 -> 63.1 in 2.6, 19 -> 57.2 in 36."""
MAX_WINDOW: Final = 1 << 23
"""8 MiB: what a decoder may be made to allocate (clause 4.5)."""

FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
FRAME_HEADER_BYTES: Final = 18
"""The longest header of a frame, its magic number included (RFC 8878, section 3.1.1.1)."""
_RLE, _RESERVED = 1, 3

Opener = Callable[[], IO[bytes]]


def store_object(source: Path, sha256: str, size: int, staging: Path) -> tuple[StoredObject, Path]:
    """Choose the smaller of raw and zstd; returns how it is stored and the file with the stored bytes.

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
        return StoredObject("raw", size, size, sha256), source
    with packed.open("rb") as reader:
        stored_sha256 = file_digest(reader, "sha256").hexdigest()
    return StoredObject("zstd", size, stored_size, stored_sha256), packed


def copy_object(open_stored: Opener, stored: StoredObject, sha256: str, sink: IO[bytes] | None) -> None:
    """Write the object to `sink` (None: only check), in 1 MiB pieces.

    Stored bytes are hashed before they are decoded, the output is held to its exact size and digest.
    A sink that got bytes before a refusal must be discarded.

    Raises: DigestMismatch: stored or decoded bytes differ from what was signed. MalformedBundle: a frame
        that asks for more than clause 4.5 permits.
    """
    if stored.codec == "raw":
        with open_stored() as source:
            _copy(source.read, stored.size, sha256, sink)
        return
    with open_stored() as source:
        _copy(source.read, stored.stored_size, stored.stored_sha256, None)
    with open_stored() as source:
        header_size = _check_frame(source.read(FRAME_HEADER_BYTES), stored, sha256)
    with open_stored() as source:
        _require_one_frame(source, header_size, stored, sha256)
    with open_stored() as source:
        decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        try:
            with decoder.stream_reader(source, read_size=CHUNK, read_across_frames=False) as decoded:
                _copy(decoded.read, stored.size, sha256, sink)
        except zstandard.ZstdError as error:
            raise MalformedBundle(f"object {canonical.short(sha256)}: zstd: {error}") from error


def _check_frame(head: bytes, stored: StoredObject, sha256: str) -> int:
    """What the frame asks for; returns the bytes of its header."""
    try:
        frame = zstandard.get_frame_parameters(head)
        header_size = zstandard.frame_header_size(head)
    except zstandard.ZstdError as error:
        raise MalformedBundle(f"object {canonical.short(sha256)}: not a zstd frame") from error
    if not head.startswith(FRAME_MAGIC):
        raise MalformedBundle(f"object {canonical.short(sha256)}: a skippable zstd frame")
    if frame.content_size != stored.size or frame.window_size > MAX_WINDOW or frame.dict_id:
        raise MalformedBundle(
            f"object {canonical.short(sha256)}: its zstd frame says {frame.content_size} bytes with a window of "
            f"{frame.window_size}; expected {stored.size}, at most {MAX_WINDOW}, and no dictionary"
        )
    return header_size


def _require_one_frame(source: IO[bytes], header_size: int, stored: StoredObject, sha256: str) -> None:
    """Walk the blocks (RFC 8878, section 3.1.1.2): a decoder skips what follows a frame without a word."""
    has_checksum = bool(source.read(header_size)[4] & 4)
    position, is_last = header_size, False
    while not is_last:
        block = int.from_bytes(source.read(3).ljust(3, b"\xff"), "little")  # cut off: reads as reserved
        is_last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        length = 1 if kind == _RLE else size
        if kind == _RESERVED or len(source.read(length)) != length:
            raise MalformedBundle(
                f"object {canonical.short(sha256)}: a damaged zstd block at byte {position}"
            )
        position += 3 + length
    position += 4 if has_checksum else 0
    if position != stored.stored_size:
        raise MalformedBundle(
            f"object {canonical.short(sha256)}: its zstd frame ends at byte {position} of {stored.stored_size}"
        )


def _piece(read: Callable[[int], bytes], size: int, sha256: str) -> bytes:
    with reading(f"object {canonical.short(sha256)}"):  # the sink's own OSError is another matter
        return read(size)


def _copy(read: Callable[[int], bytes], size: int, sha256: str, sink: IO[bytes] | None) -> None:
    hasher = hashlib.sha256()
    left = size
    while chunk := _piece(read, min(CHUNK, left + 1), sha256):
        left -= len(chunk)
        if left < 0:
            break
        hasher.update(chunk)
        if sink is not None:
            sink.write(chunk)
    if left or hasher.hexdigest() != sha256:
        raise DigestMismatch(
            f"object {canonical.short(sha256)}: expected {size} bytes of that digest, found others",
            next_step="carry the bundle again; if it happens again, the medium or the sender is at fault",
        )
