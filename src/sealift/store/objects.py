"""The object store: one read-only file per (sha256, executable bit)."""

# ruff: noqa: PTH103, PTH105, PTH108, PTH116, PTH123

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO

from sealift.bundle.documents import FileEntry
from sealift.errors import NoSpace, SealiftError
from sealift.store.files import MAKE_ROOM, storing
from sealift.store.prefix import Prefix
from sealift.store.steps import Step, reached

_FREE_MARGIN = 16 * 2**20


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Objects below `root`; a mode belongs to the inode, so the executable bit is part of the name."""

    root: Path

    def path(self, entry: FileEntry) -> Path:
        """Where the object lies or would lie."""
        return Path(self._place(entry))

    def _place(self, entry: FileEntry) -> str:
        # Text, not a Path: of 30,000 objects, building their paths would cost as much as hashing them.
        return f"{self.root}/{entry.sha256[:2]}/{entry.sha256}{'-x' if entry.executable else ''}"

    def has(self, entry: FileEntry) -> bool:
        """True if the object is there with its full size (its digest was checked when it came in)."""
        try:
            return os.stat(self._place(entry)).st_size == entry.size
        except FileNotFoundError:
            return False

    def add(self, entry: FileEntry, copy: Callable[[IO[bytes]], None]) -> None:
        """Take an object in; a refused one leaves nothing behind. Several threads may, each its own object.

        Args:
            copy: writes the object to the stream it is given, and checks it.
        Raises: BundleError, TrustError: what `copy` found. StoreError, NoSpace.
        """
        final = self._place(entry)
        folder, _, name = final.rpartition("/")
        temporary = f"{folder}/.{name}.new"
        with storing(self.root):
            try:
                with _created(temporary, folder) as sink:
                    copy(sink)
                    os.fchmod(sink.fileno(), 0o555 if entry.executable else 0o444)
                reached(Step.OBJECT_WRITTEN, Path(final))
                os.replace(temporary, final)
            except (SealiftError, OSError):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise
        reached(Step.OBJECT_NAMED, Path(final))

    def adopt(self, entry: FileEntry, path: Path) -> None:
        """Take a file of this file system in by its name alone: its bytes exist once. The caller checked its digest.

        Raises: StoreError.
        """
        final = self._place(entry)
        with storing(self.root):
            os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH120
            path.chmod(0o555 if entry.executable else 0o444)
            reached(Step.OBJECT_WRITTEN, Path(final))
            os.replace(path, final)
        reached(Step.OBJECT_NAMED, Path(final))

    def is_whole(self, entry: FileEntry) -> bool:
        """True if the object's bytes are still those of its name: a disk forgets."""
        try:
            with open(self._place(entry), "rb") as stream:
                return file_digest(stream, "sha256").hexdigest() == entry.sha256
        except OSError:
            return False

    def base(self, sha256: str) -> Path | None:
        """Where the bytes of that digest lie, executable or not; None where they do not."""
        plain = self.root / sha256[:2] / sha256
        return next((path for path in (plain, plain.with_name(f"{sha256}-x")) if path.is_file()), None)

    def discard(self, entry: FileEntry) -> None:
        """Take an object out again, and its folder if it was the only one."""
        path = self.path(entry)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def link(self, entry: FileEntry, destination: str) -> None:
        """Hardlink the object to `destination`; copy where the file system will not (EXDEV, EMLINK)."""
        source = self._place(entry)
        try:
            os.link(source, destination)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            shutil.copy2(source, destination)


def _created(path: str, folder: str) -> IO[bytes]:
    """A new file; its folder is made when it is missing, and one syncfs later covers all of them."""
    try:
        return open(path, "wb")
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        return open(path, "wb")


def store_of(prefix: Prefix) -> ObjectStore:
    """The store of a prefix."""
    return ObjectStore(prefix.objects)


def require_space(prefix: Prefix, needed_bytes: int, needed_inodes: int) -> None:
    """Refuse before the first byte when the file system cannot take the release.

    Raises: NoSpace: says how much is needed and how much is free, in bytes and in inodes.
    """
    folder = prefix.root
    while not folder.exists():
        folder = folder.parent
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    problems = []
    if free < needed_bytes + _FREE_MARGIN:
        problems.append(f"needs {(needed_bytes + _FREE_MARGIN) / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")
    if facts.f_files and facts.f_favail < needed_inodes:
        problems.append(f"needs {needed_inodes} inodes, {facts.f_favail} are free")
    if problems:
        raise NoSpace(f"{folder}: not enough room", problems=problems, next_step=MAKE_ROOM)
