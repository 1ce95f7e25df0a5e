"""Append to the log: one writer at a time, each line whole or not there, and durable where asked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from sealift.errors import BrokenLedger, NoSpace, StoreError
from sealift.ledger.record import FIRST, MAX_LINE_BYTES, Event, Facts, Record, cleaned, decode_line, text_of
from sealift.store.files import MAKE_ROOM, sync_folder
from sealift.store.steps import Step, reached

LOG_NAME: Final = "ledger.jsonl"

_FIRST_LOOK: Final = 64 * 1024
_LONGEST_LOOK: Final = 64 * MAX_LINE_BYTES


class Fsync(Enum):
    """When a line must be on the disk: before `append` returns, or whenever the system likes."""

    EVERY = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class _End:
    """Where the whole lines of a log end, the last of them, and the torn bytes behind."""

    last: Record | None
    size: int
    torn: bytes

    @property
    def next_number(self) -> int:
        return self.last.number + 1 if self.last else 1


def append(
    path: Path,
    event: Event,
    facts: Facts,
    *,
    who: str,
    clock: Callable[[], float] = time.time,
    policy: Fsync = Fsync.EVERY,
) -> Record:
    """Write one line at the end of the log; the log and its folder are made when missing.

    A line that a power cut left torn is moved to `LOG.NUMBER.torn` first and recorded as an event of its own.

    Args:
        facts: strings, integers, booleans, lists of them; long ones are cut, and say so.
        clock: seconds since the epoch, for people; the order is that of the lines.
    Returns: the record; its `digest` is the log's new head.
    Raises:
        StoreError: the log cannot be written (nothing of the line stays then). BrokenLedger: its last line
            is not a record. ValueError: facts that may not be written.
    """
    checked = cleaned(facts)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path), _opened(path, os.O_RDWR | os.O_CREAT) as handle:
            end = _set_aside(handle, path, _read_end(handle, path))
            kept = _torn_path(path, end)
            if kept.is_file():
                end = _write(handle, end, _record(end, Event.TORN, _torn_facts(kept), who, clock()), policy)
            return _written(_write(handle, end, _record(end, event, checked, who, clock()), policy))


def require_writable(path: Path) -> None:
    """Refuse before an action that could not be recorded after; creates nothing.

    Raises: StoreError: not writable, not a file, or less than a line's space is free. BrokenLedger: its last
        line is not a record.
    """
    with _writing(path):
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, f"{folder} is not a folder that can be written")
        if path.exists():
            with _opened(path, os.O_RDWR) as handle:
                _read_end(handle, path)
        system = os.statvfs(folder)
        if system.f_bavail * system.f_frsize < MAX_LINE_BYTES:
            raise OSError(errno.ENOSPC, "less than 1 MiB is free")


def _record(end: _End, event: Event, facts: Facts, who: str, now: float) -> Record:
    utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(0, int(now))))
    previous = end.last.digest if end.last else FIRST
    return Record(end.next_number, utc, text_of(who), event.value, facts, previous)


def _written(end: _End) -> Record:
    assert end.last is not None  # noqa: S101 - a record was just written
    return end.last


def _write(handle: int, end: _End, record: Record, policy: Fsync) -> _End:
    """Whole or not at all: what a full disk took of the line is cut off again."""
    line = record.encode()
    try:
        _write_all(handle, line)
        if policy is Fsync.EVERY:
            os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end.size)
        raise
    reached(Step.LINE_DURABLE, Path(LOG_NAME))
    return _End(record, end.size + len(line), b"")


def _write_all(handle: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.write(handle, data[done:])


def _read_end(handle: int, path: Path) -> _End:
    """The last whole line and what lies behind it; reads from the end, never the whole log."""
    size = os.fstat(handle).st_size
    look = _FIRST_LOOK
    while True:
        start = max(0, size - look)
        data = os.pread(handle, size - start, start)
        found = _last_line(data, start == 0)
        if found is not None:
            line, torn = found
            last = _decode_last(line, path) if line else None
            return _End(last, size - len(torn), torn)
        if look >= _LONGEST_LOOK:
            raise BrokenLedger(f"{path}: no line feed in its last {look} bytes", next_step=_NEXT_STEP)
        look *= 8


def _last_line(data: bytes, whole: bool) -> tuple[bytes, bytes] | None:
    """(the last line that is complete, the torn bytes behind it); None when `data` begins too late.

    A complete line without NUL: after a power cut a file system may leave zeros where data was to come.
    """
    end = data.rfind(b"\n") + 1
    while end:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        if b"\0" not in data[begin:end]:
            return (data[begin:end], data[end:]) if begin or whole else None
        end = begin
    return (b"", data) if whole else None


def _decode_last(line: bytes, path: Path) -> Record:
    try:
        return decode_line(line, f"{path}: its last line")
    except BrokenLedger as error:
        raise BrokenLedger(error.message, next_step=_NEXT_STEP) from error


_NEXT_STEP: Final = "sealift audit verify; keep the file for whoever audits it, then move it away"


def _set_aside(handle: int, path: Path, end: _End) -> _End:
    """Torn bytes go to their own file, durably, before they leave the log."""
    if not end.torn:
        return end
    kept = _torn_path(path, end)
    with _opened(kept, os.O_RDWR | os.O_CREAT) as aside:
        size = os.fstat(aside).st_size
        # The same bytes may be there already: the power went between this step and the next one.
        if os.pread(aside, len(end.torn), max(0, size - len(end.torn))) != end.torn:
            _write_all(aside, end.torn)
        os.fsync(aside)
    sync_folder(path.parent)
    os.ftruncate(handle, end.size)
    os.fsync(handle)
    return _End(end.last, end.size, b"")


def _torn_path(path: Path, end: _End) -> Path:
    """Named by the number that the torn line would have had, and that the record of it has: whenever the
    power goes, the next append sees by the name alone whether that record is still to be written."""
    return path.with_name(f"{path.name}.{end.next_number}.torn")


def _torn_facts(kept: Path) -> dict[str, str | int]:
    data = kept.read_bytes()
    return {"file": kept.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    # A file of its own, for the owner only: whoever may read the log could hold a lock on the log itself.
    import fcntl  # not at the top: the log can be read and verified on Windows, where it is never written

    with _opened(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """An O_APPEND descriptor of a regular file; a new one's name is durable."""
    is_new = not path.exists()
    handle = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(22, "not a regular file")
        if is_new:
            sync_folder(path.parent)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise StoreError(
            f"the log {path} cannot be written: {error.strerror}",
            next_step="run it as the log's owner (sudo)",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"the disk is full: the log {path} cannot be written, and what cannot be recorded is not done",
                next_step=MAKE_ROOM,
            ) from error
        raise StoreError(
            f"the log {path} cannot be written: {error.strerror}",
            next_step="make room or make it writable; what cannot be recorded is not done",
        ) from error
