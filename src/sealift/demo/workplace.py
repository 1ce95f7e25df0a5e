"""Where the demo happens: a folder of its own, a free port, and a way out that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from sealift.errors import HostError, UsageError


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tree_size(folder: Path) -> tuple[int, int]:
    """Files and bytes below a folder; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            seen[status.st_dev, status.st_ino] = status.st_size
    return len(seen), sum(seen.values())


def make_secret(path: Path) -> Path:
    """Write a random passphrase into a new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(24).hex().encode() + b"\n")
    finally:
        os.close(descriptor)
    return path


@contextlib.contextmanager
def work_folder(keep: Path | None, flag: str = "--keep") -> Iterator[Path]:
    """`keep`, made and left, or a temporary folder that is removed with everything in it.

    Args:
        flag: the option that named `keep`, for the errors.
    Raises: UsageError: `keep` is not empty; HostError: it cannot be made.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="sealift-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise UsageError(f"{flag} {keep}: not empty", next_step="name a new folder")
    except OSError as error:
        raise HostError(f"{flag} {keep}: {error.strerror}") from error
    yield keep.absolute()


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that nothing is left running or lying about."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever owns it decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
