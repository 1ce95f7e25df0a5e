"""The log -> intact, with the head to keep on paper; or the first line that is not as it was written."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import BrokenLedger, StoreError
from sealift.ledger.record import FIRST, MAX_LINE_BYTES, Event, Record, decode_line


@dataclass(frozen=True, slots=True)
class Verified:
    """An intact log.

    `head` is the digest of the last line (64 zeros of an empty log). `paper` is the number of the record whose
    digest the paper holds (0: the paper was written before the first one; None: no paper was given).
    `torn` counts the torn lines that were set aside and recorded.
    """

    count: int
    head: str
    paper: int | None = None
    torn: int = 0


def verify(path: Path, head: str | None = None) -> Verified:
    """Check every line and every link of the chain.

    Changed, removed, inserted, repeated and moved lines are found by the chain alone, all but in one place: the
    last line itself, and an end that was cut off, are only found with a `head` from paper.

    Args:
        head: 64 lower-case hex digits written down at any earlier time; records added since are fine.
    Raises: BrokenLedger: the first bad line, or a log in which `head` never was. StoreError: no log, unreadable.
    """
    if head is not None and not path.exists():
        raise BrokenLedger(f"{path}: no log, though the paper holds the head of one")
    count, torn, last = 0, 0, FIRST
    paper = 0 if head == FIRST else None
    for record in records(path):
        count, last = record.number, record.digest
        torn += record.event == Event.TORN.value
        if last == head:
            paper = count
    if head is not None and paper is None:
        raise BrokenLedger(
            f"{path}: its {count} records join, but none has the head on the paper, {head}: "
            "records were cut off its end, or the whole log was written anew",
            next_step="compare the figure with the paper; if it is right, keep the file and tell the security officer",
        )
    return Verified(count, last, paper, torn)


def records(path: Path) -> Iterator[Record]:
    """Every record in order, each checked against the one before.

    Raises: BrokenLedger: at the first bad line, which it names. StoreError: no log, or unreadable.
    """
    number, previous = 0, FIRST
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path}: not a regular file, expected a log")
        with path.open("rb") as stream:
            while line := stream.readline(MAX_LINE_BYTES + 1):
                record = _next(line, number + 1, previous, path)
                number, previous = record.number, record.digest
                yield record
    except FileNotFoundError as error:
        raise StoreError(
            f"{path}: no log yet", next_step="name the prefix or the keys whose log it is"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def _next(line: bytes, number: int, previous: str, path: Path) -> Record:
    what = f"{path} line {number}"
    if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
        raise BrokenLedger(
            f"{what}: the log ends inside this line (a power cut while it was written, or bytes cut off)",
            next_step="the next command that writes the log sets the line aside and records that; verify again then",
        )
    try:
        record = decode_line(line, what)
    except BrokenLedger as error:
        raise BrokenLedger(error.message, next_step=_NEXT_STEP) from error
    if record.number != number:
        raise BrokenLedger(
            f"{what}: holds record {record.number}, expected {number}: lines were removed, added or moved",
            next_step=_NEXT_STEP,
        )
    if record.previous != previous:
        before = f"line {number - 1}" if number > 1 else "nothing, as the first line must"
        raise BrokenLedger(
            f"{what}: does not follow {before}: expected {previous}, found {record.previous} (one of the two "
            "was changed)",
            next_step=_NEXT_STEP,
        )
    return record


_NEXT_STEP = "keep the file as it is and tell the security officer: somebody or something changed it"
