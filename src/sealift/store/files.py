"""Durable writes: a reader sees the old file or the new one, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sealift import canonical
from sealift.errors import MalformedBundle, NoSpace, SealiftError, StoreError
from sealift.store.steps import Step, reached

MAKE_ROOM: Final = "free space (sealift remove NAME VERSION gives up an old release), then again"


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Temp file beside `path`, fsync, rename, fsync the folder.

    Raises: StoreError, NoSpace: the folder cannot be written; the old file stands.
    """
    temporary = path.with_name(f".{path.name}.new")
    with storing(path):
        make_folder(path.parent)
        try:
            _write_synced(temporary, data, mode)
            reached(Step.FILE_WRITTEN, path)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        reached(Step.FILE_NAMED, path)
        sync_folder(path.parent)
        reached(Step.FILE_DURABLE, path)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def make_folder(folder: Path) -> None:
    """A folder with all above it; the names of new ones are durable."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def remove_file(path: Path) -> None:
    """Remove a file if it is there, durably."""
    with storing(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        sync_folder(path.parent)
        reached(Step.FILE_GONE, path)


def write_document(path: Path, value: dict[str, Any]) -> None:
    """A canonical JSON document, durably."""
    write_file(path, canonical.encode(value))


def read_document(path: Path) -> dict[str, Any]:
    """A canonical JSON document. Raises: StoreError: missing, unreadable or damaged."""
    with storing(path):
        data = path.read_bytes()
    try:
        return canonical.decode(data, str(path))
    except MalformedBundle as error:
        raise StoreError(
            f"{error.message} (damaged on this box, or not written by sealift)",
            next_step="install the bundle again",
        ) from error


def point_link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target` in one rename, durably."""
    temporary = link.with_name(f".{link.name}.new")
    with storing(link):
        make_folder(link.parent)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, link.parent))
        reached(Step.LINK_WRITTEN, link)
        temporary.replace(link)
        reached(Step.LINK_TURNED, link)
        sync_folder(link.parent)
        reached(Step.LINK_DURABLE, link)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that renames in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn the system's refusals on `path` into a StoreError that says what to do."""
    try:
        yield
    except PermissionError as error:
        raise StoreError(
            f"{path}: {error.strerror}", next_step="run it as the prefix's owner (sudo), or choose --prefix"
        ) from error
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> SealiftError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{path}: the disk is full ({error.strerror})", next_step=MAKE_ROOM)
    if error.errno == errno.EROFS:
        return StoreError(
            f"{path}: the file system is mounted read-only",
            next_step="mount it writable (it may have turned itself read-only: look at dmesg), then again",
        )
    return StoreError(f"{path}: {error.strerror}")
