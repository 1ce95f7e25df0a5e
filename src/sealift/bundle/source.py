"""Bytes of a bundle, wherever it lies; today a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Protocol

from sealift.bundle import layout
from sealift.errors import MalformedBundle, MissingPart, UsageError


class Source(Protocol):
    """Named parts of one bundle, read in place."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    def document(self, path: str) -> bytes:
        """A whole document, at most 64 MiB. Raises: MissingPart, MalformedBundle."""
        ...

    def open(self, path: str, size: int) -> IO[bytes]:
        """An object of exactly `size` bytes; the caller closes it. Raises: MissingPart, MalformedBundle."""
        ...

    def parts(self) -> frozenset[str]:
        """Every part that lies there, so that a stranger among them can be refused."""
        ...


class Folder:
    """A bundle as a folder on the medium; links and special files in it are refused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.path)

    def document(self, path: str) -> bytes:
        """As `Source.document`."""
        with self._open(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > layout.MAX_DOCUMENT_BYTES:
                raise MalformedBundle(
                    f"{path}: {size} bytes, at most {layout.MAX_DOCUMENT_BYTES} are permitted"
                )
            return stream.read(layout.MAX_DOCUMENT_BYTES)

    def open(self, path: str, size: int) -> IO[bytes]:
        """As `Source.open`."""
        stream = self._open(path)
        found = os.fstat(stream.fileno()).st_size
        if found != size:
            stream.close()
            raise MalformedBundle(f"{self.name}/{path}: expected {size} bytes, found {found}")
        return stream

    def parts(self) -> frozenset[str]:
        """As `Source.parts`."""
        found: set[str] = set()
        for base, folders, files in os.walk(self.path):
            here = Path(base)
            strange = [name for name in [*folders, *files] if _is_special(here / name)]
            if strange:
                raise MalformedBundle(f"{here / strange[0]}: neither a plain file nor a folder")
            found.update((here / name).relative_to(self.path).as_posix() for name in files)
        return frozenset(found)

    def _open(self, path: str) -> IO[bytes]:
        whole = self.path / path
        try:
            handle = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise MissingPart(
                f"{self.name}: {path} is missing", next_step="copy the whole bundle to the medium again"
            ) from error
        except OSError as error:
            raise MalformedBundle(f"{whole}: cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise MalformedBundle(f"{whole}: not a plain file")
        return os.fdopen(handle, "rb")


def open_source(path: Path) -> Source:
    """A bundle folder, or a medium's folder with exactly one bundle in it.

    Raises: UsageError: nothing there, no bundle in it, or several.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if not path.is_dir():
        raise UsageError(f"{path}: not a bundle folder", next_step="name the folder that holds release.json")
    if (path / layout.RELEASE).is_file():
        return Folder(path)
    found = sorted(child for child in path.iterdir() if (child / layout.RELEASE).is_file())
    if len(found) == 1:
        return Folder(found[0])
    if not found:
        raise UsageError(f"{path}: no bundle there (no {layout.RELEASE})")
    raise UsageError(
        f"{path}: {len(found)} bundles there",
        problems=[str(child) for child in found],
        next_step="name one of them",
    )


def _is_special(path: Path) -> bool:
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
