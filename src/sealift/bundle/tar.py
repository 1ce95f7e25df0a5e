"""The container file: an uncompressed tar with exactly one encoding (clause 8).

Every header and every padding byte follows from the names and sizes, so the reader makes them itself and
compares: Python's `tarfile` lets most flipped header bits pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sealift.bundle import layout
from sealift.bundle.documents import MAX_OBJECT_BYTES
from sealift.errors import MalformedBundle

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
Rank = Callable[[str], tuple[int, int, str] | None]
"""The place of a name in the one order; None for a name that does not belong there."""
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a part's bytes lie in the file."""

    offset: int
    size: int


def header(name: str, size: int) -> bytes:
    """The 512-byte ustar header of a part: mode 0644, owner 0, time 0 (POSIX.1-2017, pax, "ustar").

    `name` is at most 99 ASCII bytes, `size` below 8 GiB.
    """
    fields = (
        name.encode("ascii").ljust(100, b"\x00"),
        b"0000644\x00",
        b"0000000\x00",
        b"0000000\x00",
        b"%011o\x00" % size,
        b"00000000000\x00",
        b" " * 8,
        b"0",
        bytes(100),
        b"ustar\x00",
        b"00",
        bytes(64),
        b"0000000\x00",
        b"0000000\x00",
        bytes(167),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\x00 " % sum(block) + block[156:]


def padding(size: int) -> int:
    """Zero bytes after a part of that size."""
    return -size % BLOCK


def read_index(stream: IO[bytes], file_size: int, rank: Rank = layout.rank) -> dict[str, Extent]:
    """Walk the headers of a whole container; no part's bytes are read.

    Args:
        rank: the one order of its parts: a bundle's, or `layout.volume_rank`.
    Raises: MalformedBundle: anything but the one encoding of these names and sizes.
    """
    index: dict[str, Extent] = {}
    last: tuple[int, int, str] | None = None
    position = 0
    while (block := _exactly(stream, position, BLOCK, file_size)) != bytes(BLOCK):
        name, size = _parse(block, position)
        place = rank(name)
        if place is None or (last is not None and place <= last):
            raise MalformedBundle(
                f"part {name!r} at byte {position}: not a part of a bundle, or out of order"
            )
        _require_size(name, size, position, file_size)
        index[name] = Extent(position + BLOCK, size)
        if len(index) > layout.MAX_PARTS:
            raise MalformedBundle(f"more than {layout.MAX_PARTS} parts")
        last = place
        position += BLOCK + size
        if any(_exactly(stream, position, padding(size), file_size)):
            raise MalformedBundle(f"part {name!r}: its padding is not zero")
        position += padding(size)
    if _exactly(stream, position, len(END), file_size) != END or position + len(END) != file_size:
        raise MalformedBundle(
            f"byte {position}: expected the end of the container, two zero blocks and no more"
        )
    return index


def _exactly(stream: IO[bytes], position: int, size: int, file_size: int) -> bytes:
    if position + size > file_size:
        raise MalformedBundle(
            f"the container ends at byte {file_size}, expected at least {position + size}",
            next_step="copy the whole file to the medium again",
        )
    stream.seek(position)
    data = stream.read(size)
    if len(data) != size:
        raise MalformedBundle(f"byte {position}: the medium gives fewer bytes than the file has")
    return data


def _parse(block: bytes, position: int) -> tuple[str, int]:
    raw_name, raw_size = block[_NAME].rstrip(b"\x00"), block[_SIZE]
    try:
        name, size = raw_name.decode("ascii"), int(raw_size[:11], 8)
        is_canonical = 0 < len(name) < 100 and size >= 0 and header(name, size) == block
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise MalformedBundle(f"byte {position}: not a tar header in its one permitted form")
    return name, size


def _require_size(name: str, size: int, position: int, file_size: int) -> None:
    most = layout.most_bytes(name) if layout.is_document(name) else MAX_OBJECT_BYTES
    if size > most:
        raise MalformedBundle(f"part {name!r}: {size} bytes, at most {most} are permitted")
    if position + BLOCK + size > file_size:
        raise MalformedBundle(
            f"part {name!r}: {size} bytes announced, the file ends before",
            next_step="copy the whole file to the medium again",
        )


def write_parts(
    stream: IO[bytes], parts: Iterable[tuple[str, int, Iterator[bytes]]], rank: Rank = layout.rank
) -> None:
    """Write (name, size, chunks) in their one order, then the end."""
    for name, size, chunks in sorted(parts, key=lambda part: rank(part[0]) or (99, 0, "")):
        stream.write(header(name, size))
        for chunk in chunks:
            stream.write(chunk)
        stream.write(bytes(padding(size)))
    stream.write(END)


def index_of(path: Path, rank: Rank = layout.rank) -> Mapping[str, Extent]:
    """The index of a container file on disk."""
    with path.open("rb") as stream:
        return read_index(stream, path.stat().st_size, rank)
