"""The packer's ledger of sequence numbers: same content, same entry; new content, the next number."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.errors import MalformedBundle, UsageError
from sealift.store.files import write_document


@dataclass(frozen=True, slots=True)
class Entry:
    """One packed content: `created` is UTC, `2026-11-22T17:00:00Z`."""

    seq: int
    created: str


def assign(ledger: Path, product: str, content: str, now: float, epoch: int | None) -> Entry:
    """The entry of `content` (a digest of everything but seq and created), made if it is new.

    Args:
        ledger: the JSON file; created when missing.
        now: seconds since the epoch, used for new content when `epoch` (SOURCE_DATE_EPOCH) is None.
    Raises: UsageError: the ledger is damaged.
    """
    with _held(ledger):
        known = _read(ledger)
        entries: list[dict[str, Any]] = known.setdefault(product, [])
        for entry in entries:
            if entry["content"] == content:
                return Entry(entry["seq"], entry["created"])
        created = _utc(now if epoch is None else epoch)
        seq = max((entry["seq"] for entry in entries), default=0) + 1
        entries.append({"content": content, "created": created, "seq": seq})
        write_document(ledger, known)
        return Entry(seq, created)


def _read(ledger: Path) -> dict[str, Any]:
    if not ledger.exists():
        return {}
    try:
        known = canonical.decode(ledger.read_bytes(), str(ledger))
    except MalformedBundle as error:
        raise UsageError(f"the sequence ledger is damaged: {error.message}") from error
    if not all(_is_list_of_entries(entries) for entries in known.values()):
        raise UsageError(f"the sequence ledger is damaged: {ledger} holds something else than entries")
    return known


def _is_list_of_entries(value: object) -> bool:
    keys = {"content", "created", "seq"}
    return isinstance(value, list) and all(isinstance(item, dict) and set(item) == keys for item in value)


@contextmanager
def _held(ledger: Path) -> Iterator[None]:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(ledger.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
