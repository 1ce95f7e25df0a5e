"""Space kept back, so that going back works on a full disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sealift.store.files import sync_folder
from sealift.store.prefix import Prefix
from sealift.store.steps import Step, reached

RESERVE_BYTES: Final = 64 * 2**20
_ENOUGH_BYTES: Final = 8 * 2**20
"""A rollback writes a few documents and lines; below this it takes from the reserve."""


def keep_reserve(prefix: Prefix, size: int = RESERVE_BYTES) -> bool:
    """Make the reserve, or make it whole again; False where there is no room for it. Never raises."""
    kept = [_keep(path, size) for path in _places(prefix)]
    return all(kept)


@contextlib.contextmanager
def reserve_spent(prefix: Prefix) -> Iterator[None]:
    """Give the reserve up where the disk is full; take it back afterwards if there is room."""
    for path in _places(prefix):
        with contextlib.suppress(OSError):
            if path.is_file() and _free(path.parent) < _ENOUGH_BYTES:
                path.unlink()
                sync_folder(path.parent)
                reached(Step.RESERVE_SPENT, path)
    try:
        yield
    finally:
        if prefix.state.is_dir():
            keep_reserve(prefix)


def reserve_whole(prefix: Prefix, size: int = RESERVE_BYTES) -> bool:
    """Claims that a rollback on a full disk has its space."""
    return all(path.is_file() and path.stat().st_size >= size for path in _places(prefix))


def _places(prefix: Prefix) -> tuple[Path, ...]:
    """One for each file system that a rollback writes to."""
    in_state, in_store = prefix.reserves
    with contextlib.suppress(OSError):
        if in_state.parent.stat().st_dev != in_store.parent.stat().st_dev:
            return in_state, in_store
    return (in_state,)


def _keep(path: Path, size: int) -> bool:
    try:
        if path.is_file() and path.stat().st_size >= size:
            return True
        if _free(path.parent) < size + _ENOUGH_BYTES:
            return False
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(path.parent)
    except OSError:
        return False
    reached(Step.RESERVE_MADE, path)
    return True


def _free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
