"""zstd frames, looked at before a decoder is: what each asks for, and where it ends (clauses 4.5 and 4.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import zstandard

from sealift import canonical
from sealift.bundle.source import reading
from sealift.bundle.transport import PATCH, StoredObject
from sealift.errors import MalformedBundle

MAX_WINDOW: Final = 1 << 23
"""8 MiB: what a decoder may be made to allocate (clause 4.5)."""
BLOCK: Final = 1 << 23
"""8 MiB: a patch is made block by block, so that memory does not grow with the object (clause 4.7)."""
BASE_WINDOW: Final = 1 << 24
"""16 MiB: how much of the base one block may refer to (clause 4.7)."""
PLACE: Final = 8
"""Bytes before each frame of a patch: where in the base its window begins, little-endian."""

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SHORTEST_HEADER: Final = 5
_CHECKSUM: Final = 4
_RLE, _RESERVED = 1, 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stored object: its bytes there, and the bytes it decodes to.

    `place` is where its window of the base begins; None where no base is needed.
    """

    stored_size: int
    size: int
    place: int | None


def read_frames(source: IO[bytes], stored: StoredObject, sha256: str) -> tuple[Frame, ...]:
    """Walk the frames of a stored object from start to end; nothing is decoded.

    Raises: MalformedBundle: another number of frames than its size gives, one that asks for more than is
        permitted, a damaged one, a byte behind the last. BundleError: the medium cannot be read.
    """
    what = f"object {canonical.short(sha256)}"
    is_patch = stored.codec == PATCH
    found, position = [], 0
    with reading(what):
        for size in block_sizes(stored.size) if is_patch else (stored.size,):
            place = _place(source, what) if is_patch else None
            position += PLACE if is_patch else 0
            length = _walk(source, size, what, position)
            position += length
            found.append(Frame(length, size, place))
    if position != stored.stored_size:
        raise MalformedBundle(f"{what}: its zstd frame ends at byte {position} of {stored.stored_size}")
    return tuple(found)


def block_sizes(size: int) -> Iterator[int]:
    """How an object is cut up for a patch: 8 MiB each, the last one shorter."""
    for start in range(0, size, BLOCK):
        yield min(BLOCK, size - start)


def _place(source: IO[bytes], what: str) -> int:
    data = source.read(PLACE)
    if len(data) != PLACE:
        raise MalformedBundle(f"{what}: a block of the patch is missing")
    return int.from_bytes(data, "little")


def _walk(source: IO[bytes], expected: int, what: str, position: int) -> int:
    """The bytes of the frame that begins here."""
    header_size, has_checksum = _check_header(source, expected, what)
    length, is_last = header_size, False
    while not is_last:  # RFC 8878, section 3.1.1.2: a decoder skips what follows a frame without a word
        block = int.from_bytes(source.read(3).ljust(3, b"\xff"), "little")  # cut off: reads as reserved
        is_last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        stored_size = 1 if kind == _RLE else size
        if kind == _RESERVED or len(source.read(stored_size)) != stored_size:
            raise MalformedBundle(f"{what}: a damaged zstd block at byte {position + length}")
        length += 3 + stored_size
    if has_checksum and len(source.read(_CHECKSUM)) != _CHECKSUM:
        raise MalformedBundle(f"{what}: the checksum of a zstd frame is cut off")
    return length + _CHECKSUM * has_checksum


def _check_header(source: IO[bytes], expected: int, what: str) -> tuple[int, bool]:
    """What the frame asks for; returns the bytes of its header, and whether a checksum ends it."""
    head = source.read(_SHORTEST_HEADER)
    if not head.startswith(MAGIC):
        raise MalformedBundle(f"{what}: not a zstd frame")
    try:
        head += source.read(zstandard.frame_header_size(head) - len(head))
        frame = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise MalformedBundle(f"{what}: not a zstd frame") from error
    if frame.content_size != expected or frame.window_size > MAX_WINDOW or frame.dict_id:
        raise MalformedBundle(
            f"{what}: its zstd frame says {frame.content_size} bytes with a window of {frame.window_size}; "
            f"expected {expected}, at most {MAX_WINDOW}, and no dictionary"
        )
    return len(head), frame.has_checksum
