"""Ranges of files, one after the other, as one stream."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sealift.bundle.source import reading


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file."""

    path: Path
    offset: int
    size: int


def opened(pieces: Sequence[Piece]) -> IO[bytes]:
    """A buffered stream over the pieces; the caller closes it. Raises: BundleError: one cannot be read."""
    with reading(str(pieces[0].path) if pieces else "nothing"):
        return io.BufferedReader(_Pieces(pieces), 1 << 16)


class _Pieces(io.RawIOBase):
    """Opens one file after the other, never two at once."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._left = list(pieces)
        self._file: IO[bytes] | None = None
        self._size = 0
        self._next()

    def _next(self) -> bool:
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._left:
            return False
        piece = self._left.pop(0)
        self._file = piece.path.open("rb", buffering=0)
        self._file.seek(piece.offset)
        self._size = piece.size
        return True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while self._file is not None:
            view = memoryview(buffer)[: self._size]  # type: ignore[arg-type]
            got = self._file.readinto(view) if self._size else 0  # type: ignore[attr-defined]
            if got:
                self._size -= got
                return int(got)
            if self._size:
                return 0  # the file ends before: the reader sees too few bytes
            self._next()
        return 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
