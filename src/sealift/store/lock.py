"""One command at a time may change a prefix."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from sealift.errors import Locked
from sealift.store.files import storing
from sealift.store.prefix import Prefix


@contextlib.contextmanager
def exclusive(prefix: Prefix, verb: str) -> Iterator[None]:
    """Hold the prefix for one verb; the kernel lets go when the process ends, however it ends.

    Raises: Locked: another command holds it; says which and its process id.
    """
    path = prefix.state / "lock"
    with storing(path):
        prefix.state.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another sealift command"
            raise Locked(
                f"{prefix.root} is held by {holder}", next_step="wait for it to end, then again"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{verb} (process {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(handle)
