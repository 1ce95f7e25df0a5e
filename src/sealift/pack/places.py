"""Which stretch of a large base each block of a new file is to be made from.

What was put in at the front moves everything behind it: the window of a block is not always where the block is.
Anchors find it: 16-byte strings picked by their own content, so that they are the same ones in both files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from sealift.bundle.encode import even_places
from sealift.bundle.frames import BASE_WINDOW, BLOCK

BIN: Final = 1 << 20
_ONE_IN: Final = 13
"""One of 2^13 places is an anchor: a thousand of them in a block."""
_FIRST: Final = np.uint64(0x9E3779B97F4A7C15)
_SECOND: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_SALT: Final = np.uint64(0x5EA11F75EA11F75E)

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


def choose_places(source: Path, size: int, base: Path) -> list[int]:
    """For each block of `source` where in `base` its window begins (clause 4.7).

    Around the same offset, unless another window has more of the block's anchors.
    """
    base_size = base.stat().st_size
    places = even_places(size, base_size)
    if base_size <= BASE_WINDOW:
        return places
    values, positions = _unique(base)
    last = base_size - BASE_WINDOW
    return [
        _place(_positions(block, values, positions), place, last)
        for block, place in zip(_blocks(source, 0), places, strict=True)
    ]


def _place(found: Array, even: int, last: int) -> int:
    """The window with most of the places that were found; `even` where none has more."""
    if not len(found):
        return even
    counts = np.bincount(found // BIN, minlength=last // BIN + 2)
    sums = np.convolve(counts, np.ones(BASE_WINDOW // BIN, dtype=np.int64))[BASE_WINDOW // BIN - 1 :]
    best = int(np.argmax(sums[: last // BIN + 2]))
    here = int(np.count_nonzero((found >= even) & (found < even + BASE_WINDOW)))
    return min(last, best * BIN) if int(sums[best]) > here else even


def _unique(base: Path) -> tuple[Array, Array]:
    """Anchors that stand once in the base, sorted, and where."""
    parts = [
        (values, places + at * BLOCK) for at, (values, places) in enumerate(map(_anchors, _blocks(base, 15)))
    ]
    values = np.concatenate([part[0] for part in parts])
    places = np.concatenate([part[1] for part in parts])
    known, first, counts = np.unique(values, return_index=True, return_counts=True)
    return known[counts == 1], places[first[counts == 1]]


def _positions(block: bytes, values: Array, positions: Array) -> Array:
    """Where in the base the anchors of a block stand."""
    wanted = np.unique(_anchors(block)[0])
    at = np.searchsorted(values, wanted)
    at[at == len(values)] = 0
    hit = values[at] == wanted if len(values) else np.zeros(len(wanted), dtype=bool)
    return np.sort(positions[at[hit]])


def _anchors(data: bytes) -> tuple[Array, Array]:
    """(values, offsets) of the 16-byte strings whose own hash picks them."""
    values, offsets = [], []
    for shift in range(8):
        words = np.frombuffer(data, "<u8", count=max(0, len(data) - shift) // 8, offset=min(shift, len(data)))
        hashed: Array = (words[:-1] ^ _SALT) * _FIRST + words[1:] * _SECOND
        hit = np.flatnonzero(hashed >> np.uint64(64 - _ONE_IN) == 0)
        values.append(hashed[hit])
        offsets.append(hit * 8 + shift)
    return np.concatenate(values), np.concatenate(offsets)


def _blocks(path: Path, overlap: int) -> Iterator[bytes]:
    """The file block by block, each with so many bytes of the next."""
    with path.open("rb") as stream:
        for start in range(0, path.stat().st_size, BLOCK):
            stream.seek(start)
            yield stream.read(BLOCK + overlap)
