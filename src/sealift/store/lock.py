"""One command at a time brings or removes files; one at a time turns what is active of a service."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sealift.errors import Locked
from sealift.store.files import make_folder, storing
from sealift.store.prefix import Prefix
from sealift.store.stamp import require_known_format

VERB_WAIT_S: Final = 1.0
"""A supervisor that commits holds the prefix for a moment: no reason to refuse an operator."""
TURN_WAIT_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.02


@contextlib.contextmanager
def exclusive(prefix: Prefix, verb: str, wait_s: float = VERB_WAIT_S) -> Iterator[None]:
    """Hold the prefix's files for one verb; the kernel lets go when the process ends, however it ends.

    Raises: Locked: after `wait_s` seconds another command still holds it; says which and its process id. NewerPrefix.
    """
    require_known_format(prefix)
    with _held(prefix.state / "lock", prefix.root, verb, wait_s):
        yield


@contextlib.contextmanager
def turning(prefix: Prefix, name: str, verb: str, wait_s: float = TURN_WAIT_S) -> Iterator[None]:
    """Hold what is active of one service; held for moments only, so this waits for it.

    Taken after `exclusive` where both are held: a rollback need not wait for another service's staging.

    Raises: Locked: held for longer than `wait_s` seconds.
    """
    with _held(prefix.state / f"lock.{name}", prefix.current(name), verb, wait_s):
        yield


@contextlib.contextmanager
def _held(path: Path, what: Path, verb: str, wait_s: float) -> Iterator[None]:
    with storing(path):
        make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(handle, time.monotonic, wait_s):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another sealift command"
            raise Locked(f"{what} is held by {holder}", next_step="wait for it to end, then again")
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only nameless
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{verb} (process {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(handle)


def _taken(handle: int, clock: Callable[[], float], wait_s: float) -> bool:
    until = clock() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() >= until:
                return False
            time.sleep(_LOOK_AGAIN_S)
        else:
            return True
