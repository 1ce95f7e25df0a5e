"""The packer's ledger of sequence numbers: same content, same entry; new content, the next number.

A JSON file, `product -> [{"content", "created", "identity"?, "seq"}, ...]`. One packer at a time writes it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sealift import canonical
from sealift.errors import MalformedBundle, UsageError
from sealift.store.files import storing, write_document

_KEYS: Final = {"content", "created", "seq"}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One packed content: `created` is UTC, `2026-11-22T17:00:00Z`; `identity` is known once it is confirmed."""

    seq: int
    created: str
    identity: str | None = None


def assign(
    ledger: Path, product: str, content: str, now: float, epoch: int | None, after: int | None = None
) -> Entry:
    """The entry of `content` (a digest of everything but seq and created), made if it is new.

    A number is never given twice: new content gets one more than the highest of the ledger and `after`.

    Args:
        ledger: the JSON file; created when missing.
        now: seconds since the epoch, used for new content when `epoch` (SOURCE_DATE_EPOCH) is None.
        after: the sequence of the release that this one is to replace: content that was packed before it
            is issued anew, and a ledger that never saw that release goes on from it.
    Raises: UsageError: the ledger is damaged. StoreError: it cannot be written.
    """
    with _held(ledger):
        known = _read(ledger)
        entries = known.setdefault(product, [])
        same = [entry for entry in entries if entry["content"] == content and entry["seq"] > (after or 0)]
        if same:
            return _entry(max(same, key=lambda entry: int(entry["seq"])))
        seq = max((int(entry["seq"]) for entry in entries), default=0)
        return _add(
            ledger, known, product, content, max(seq, after or 0) + 1, now if epoch is None else epoch
        )


def claim(ledger: Path, product: str, content: str, seq: int, now: float, epoch: int | None) -> Entry:
    """The entry of `content` at exactly `seq`, made if the number is free: an older content issued anew.

    Raises: UsageError: the number belongs to other content, or is below one already given.
    """
    with _held(ledger):
        known = _read(ledger)
        entries = known.setdefault(product, [])
        for entry in entries:
            if entry["seq"] == seq and entry["content"] == content:
                return _entry(entry)
        highest = max((int(entry["seq"]) for entry in entries), default=0)
        if seq <= highest:
            raise UsageError(
                f"{product}: sequence {seq} cannot be given; the ledger has given {highest}",
                next_step=f"take {highest + 1} or a higher number",
            )
        return _add(ledger, known, product, content, seq, now if epoch is None else epoch)


def confirm(ledger: Path, product: str, seq: int, identity: str) -> None:
    """Write down the identity of the release that took `seq`; confirming it again is fine.

    Raises: UsageError: no such entry, or it has another identity: two releases with one number would be
        refused by every box that knows the other.
    """
    with _held(ledger):
        known = _read(ledger)
        entry = next((entry for entry in known.get(product, []) if entry["seq"] == seq), None)
        if entry is None:
            raise UsageError(f"{ledger}: sequence {seq} of {product} was never given")
        if entry.get("identity", identity) != identity:
            raise UsageError(
                f"{product}: sequence {seq} was given to {canonical.short(entry['identity'])}, and now "
                f"{canonical.short(identity)} asks for it",
                next_step="pack again; if that does not help, the ledger was changed by hand",
            )
        if "identity" not in entry:
            entry["identity"] = identity
            write_document(ledger, known)


def _add(ledger: Path, known: dict[str, Any], product: str, content: str, seq: int, seconds: float) -> Entry:
    entry = {"content": content, "created": _utc(seconds), "seq": seq}
    known[product].append(entry)
    write_document(ledger, known)
    return _entry(entry)


def _entry(entry: dict[str, Any]) -> Entry:
    return Entry(entry["seq"], entry["created"], entry.get("identity"))


def _read(ledger: Path) -> dict[str, Any]:
    if not ledger.exists():
        return {}
    try:
        with storing(ledger):
            data = ledger.read_bytes()
        known = canonical.decode(data, str(ledger))
    except MalformedBundle as error:
        raise UsageError(f"the sequence ledger is damaged: {error.message}", next_step=_NEXT_STEP) from error
    if not all(_is_list_of_entries(entries) for entries in known.values()):
        raise UsageError(
            f"the sequence ledger is damaged: {ledger} holds something else than entries",
            next_step=_NEXT_STEP,
        )
    return known


_NEXT_STEP: Final = "bring the file back from a copy: a number given twice is refused by every box"


def _is_list_of_entries(value: object) -> bool:
    if not isinstance(value, list) or not all(_is_entry(item) for item in value):
        return False
    numbers = [item["seq"] for item in value]
    return len(set(numbers)) == len(numbers)


def _is_entry(item: object) -> bool:
    if not isinstance(item, dict) or set(item) - {"identity"} != _KEYS:
        return False
    seq, identity = item["seq"], item.get("identity", "0" * 64)
    return (
        isinstance(seq, int)
        and not isinstance(seq, bool)
        and seq >= 1
        and isinstance(item["content"], str)
        and isinstance(item["created"], str)
        and isinstance(identity, str)
        and _DIGEST.fullmatch(identity) is not None
    )


@contextmanager
def _held(ledger: Path) -> Iterator[None]:
    with storing(ledger):
        ledger.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(ledger.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
