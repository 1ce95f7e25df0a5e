"""Bytes of a bundle where it lies: a folder or a container file, read in place."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from sealift.bundle import layout, tar
from sealift.errors import BundleError, MalformedBundle, MissingPart, UsageError

# Absent on Windows, where an officer may look at a bundle, too.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT")
)


class Source(Protocol):
    """Named parts of one bundle."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    def parts(self) -> Mapping[str, int]:
        """Every part that lies there, name -> bytes. Raises: MalformedBundle: a name no bundle has."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """A part's bytes, from its start; the caller closes it. Raises: MissingPart, MalformedBundle."""
        ...


def document(source: Source, name: str) -> bytes:
    """A whole document, at most `layout.most_bytes`. Raises: MissingPart, MalformedBundle, BundleError."""
    most = layout.most_bytes(name)
    with reading(f"{source.name}: {name}"), source.open(name) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise MalformedBundle(f"{name}: more than {most} bytes")
    if sum(map(data.count, (b",", b"[", b"{"))) > layout.MAX_MARKS:
        raise MalformedBundle(f"{name}: more than {layout.MAX_MARKS} values")
    return data


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the system's refusals into words: a worn-out medium is not a bug. Raises: BundleError."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{what}: cannot be read: {error.strerror or error}",
            next_step="copy the whole bundle to another medium, or run it as somebody who may read it",
        ) from error


class Folder:
    """A bundle as a folder on the medium; links and special files in it are refused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.path)

    def parts(self) -> Mapping[str, int]:
        """As `Source.parts`."""
        found: dict[str, int] = {}
        with reading(self.name):
            self._look_into("", found)
        return found

    def _look_into(self, inside: str, found: dict[str, int]) -> None:
        with os.scandir(self.path / inside) as entries:
            for entry in entries:
                name = inside + entry.name
                if entry.is_dir(follow_symlinks=False) and name.count("/") < layout.MAX_FOLDERS:
                    self._look_into(f"{name}/", found)
                elif entry.is_file(follow_symlinks=False) and layout.rank(name) is not None:
                    found[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise MalformedBundle(
                        f"{entry.path!r}: a link, a special file or a name that no bundle has"
                    )
                if len(found) > layout.MAX_PARTS:
                    raise MalformedBundle(f"{self.name}: more than {layout.MAX_PARTS} parts")

    def open(self, name: str) -> IO[bytes]:
        """As `Source.open`."""
        whole = self.path / name
        with reading(str(whole)):
            try:
                handle = os.open(whole, _FLAGS)
            except FileNotFoundError as error:
                raise _missing(self.name, name) from error
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise MalformedBundle(f"{whole}: a link") from error
                raise
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise MalformedBundle(f"{whole}: not a plain file")
        return os.fdopen(handle, "rb")


class Container:
    """A bundle as one file; its index is read and compared once, when it is opened.

    Raises: MalformedBundle: not the one encoding of a container (clause 8).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(str(path)):
            self._index = tar.index_of(path)

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def parts(self) -> Mapping[str, int]:
        """As `Source.parts`."""
        return {name: extent.size for name, extent in self._index.items()}

    def open(self, name: str) -> IO[bytes]:
        """As `Source.open`."""
        extent = self._index.get(name)
        if extent is None:
            raise _missing(self.name, name)
        with reading(self.name):
            return io.BufferedReader(_Slice(self.path, extent), 1 << 16)


class _Slice(io.RawIOBase):
    """One part of a container, as a stream of its own."""

    def __init__(self, path: Path, extent: tar.Extent) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(extent.offset)
        self._left = extent.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        got = self._file.readinto(view) or 0
        self._left -= got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


def open_source(path: Path, *, may_lack: bool = False) -> Source:
    """A bundle folder, a container file, a set of volumes, or a medium's folder with exactly one of them in it.

    Args:
        may_lack: of a set of volumes some may be missing or damaged.
    Raises: UsageError: nothing there, no bundle in it, or several. MalformedBundle: a damaged container.
        MissingPart: a volume is not there. BundleError: it cannot be read.
    """
    with reading(str(path)):
        return _open_source(path, may_lack)


def _open_source(path: Path, may_lack: bool) -> Source:
    from sealift.bundle import volume_sets as volumes  # it reads through this module

    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_file():
        return volumes.open_file(path, may_lack=may_lack) if volumes.is_volume(path) else Container(path)
    if (path / layout.RELEASE).is_file():
        return Folder(path)
    found = sorted(child for child in path.iterdir() if _is_bundle(child))
    if found and all(child.is_file() and volumes.is_volume(child) for child in found):
        return volumes.open_volumes(found, may_lack=may_lack)
    if len(found) == 1:
        return _open_source(found[0], may_lack)
    if not found:
        raise UsageError(
            f"{path}: no bundle there (no *{layout.SUFFIX} file, no folder with {layout.RELEASE})"
        )
    raise UsageError(
        f"{path}: {len(found)} bundles there",
        problems=[str(child) for child in found],
        next_step="name one of them",
    )


def _is_bundle(path: Path) -> bool:
    if path.name.startswith("."):
        return False  # `._fraud.sealift`: what some systems write beside a file
    return (path.suffix == layout.SUFFIX and path.is_file()) or (path / layout.RELEASE).is_file()


def _missing(where: str, name: str) -> MissingPart:
    return MissingPart(f"{where}: {name} is missing", next_step="copy the whole bundle to the medium again")
