"""Durable writes: a reader sees the old file or the new one, also after a power cut."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.errors import MalformedBundle, StoreError


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Temp file beside `path`, fsync, rename, fsync the folder.

    Raises: StoreError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


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
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, link.parent))
        temporary.replace(link)
        sync_folder(link.parent)


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
        raise StoreError(f"{path}: {error.strerror}") from error
