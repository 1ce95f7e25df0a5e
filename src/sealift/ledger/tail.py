"""The latest lines of a log, for people who look; `verify` is for those who must be sure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sealift.errors import BrokenLedger
from sealift.ledger.record import Record, decode_line

_LOOK: Final = 256 * 1024


def latest(path: Path, product: str | None = None, look: int = _LOOK) -> tuple[Record, ...]:
    """The records in the last `look` bytes, oldest first; those about `product` alone where it is given.

    Lines that are none are left out: the log's own verbs say what is wrong with it.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - look))
            lines = stream.read().splitlines(keepends=True)
    except OSError:
        return ()
    found = (_record(line) for line in lines)
    return tuple(
        record
        for record in found
        if record is not None and (product is None or record.facts.get("product") == product)
    )


def _record(line: bytes) -> Record | None:
    try:
        return decode_line(line, "the log")
    except BrokenLedger:
        return None
