"""Files onto a medium, all of them or none: beside their names first, synced, then named; and read back."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Final

from sealift.errors import HostError, NoSpace
from sealift.events import Progress

OTHER_MEDIUM: Final = "take another medium; this one does not keep what is written to it"


@dataclass(frozen=True, slots=True)
class Item:
    """A file to be written: its name on the medium, its bytes (a promise), and what writes them."""

    name: str
    size: int
    write: Callable[[IO[bytes]], None]


@dataclass(frozen=True, slots=True)
class OnMedium:
    """A file as it was written."""

    name: str
    size: int
    sha256: str


class _Counted:
    """What goes through is hashed and counted."""

    def __init__(self, sink: IO[bytes], progress: Progress) -> None:
        self._sink, self._progress = sink, progress
        self.hasher, self.size = sha256(), 0

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        self.hasher.update(data)
        self.size += len(data)
        self._progress.advance(len(data))
        return len(data)


class Pending:
    """Files that lie beside their names until `name_all`; without it, leaving the block removes them."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._written: list[OnMedium] = []

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *_: object) -> None:
        for item in self._written:
            self._beside(item.name).unlink(missing_ok=True)

    def add(self, item: Item) -> OnMedium:
        """Write one and fsync it. Raises: NoSpace, HostError: the medium refuses; nothing has its name then."""
        beside = self._beside(item.name)
        self._written.append(OnMedium(item.name, 0, ""))  # so that a half-written one goes, too
        with writing(beside), beside.open("wb") as sink:
            counted = _Counted(sink, self._progress)
            item.write(counted)  # type: ignore[arg-type]
            sink.flush()
            os.fsync(sink.fileno())
        if counted.size != item.size:
            raise HostError(f"{beside}: {counted.size} bytes were written, {item.size} were announced")
        self._written[-1] = OnMedium(item.name, counted.size, counted.hasher.hexdigest())
        return self._written[-1]

    def name_all(self) -> None:
        """Give every file its name; then nothing of it is only in memory. Raises: HostError."""
        with writing(self._folder):
            for item in self._written:
                self._beside(item.name).replace(self._folder / item.name)
            sync(self._folder)
        self._written.clear()

    def _beside(self, name: str) -> Path:
        return self._folder / f".{name}.partial"


def sync(folder: Path) -> None:
    """fsync the folder and syncfs what it lies on: a stick may be pulled after this. Raises: OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder alone
            os.fsync(handle)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(handle)


def read_back(folder: Path, files: Sequence[OnMedium], progress: Progress) -> None:
    """Read every file from the medium itself, not from memory, and compare.

    Raises: HostError: other bytes come back, or none; names every such file.
    """
    progress.start("read back", sum(item.size for item in files))
    problems = []
    for item in files:
        try:
            found = _digest_from_medium(folder / item.name)
        except OSError as error:
            problems.append(f"{item.name}: cannot be read back: {error.strerror}")
        else:
            if found != item.sha256:
                problems.append(f"{item.name}: other bytes come back than were written")
        progress.advance(item.size)
    if problems:
        raise HostError(f"{folder}: do not carry this medium", problems=problems, next_step=OTHER_MEDIUM)


def _digest_from_medium(path: Path) -> str:
    with path.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # clean by now: synced before
        return file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the medium's refusals into words. Raises: NoSpace, HostError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"{path}: the medium is full", next_step="clear it, or give --volumes SIZE"
            ) from error
        if error.errno == errno.EFBIG:
            raise NoSpace(
                f"{path}: its file system takes no file that large", next_step="give --volumes fat32"
            ) from error
        raise HostError(
            f"{path}: {error.strerror or error}", next_step="another medium, or another folder"
        ) from error
