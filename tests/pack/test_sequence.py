"""The packer's ledger: same content, same entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.errors import UsageError
from sealift.pack.sequence import Entry, assign


def test_same_content_keeps_its_entry_and_new_content_gets_the_next(tmp_path: Path) -> None:
    ledger = tmp_path / "release" / "sequences.json"
    first = assign(ledger, "fraud", "aa", 1_795_403_520.9, None)
    assert first == Entry(1, "2026-11-23T03:12:00Z")
    assert assign(ledger, "fraud", "bb", 2e9, None).seq == 2
    assert assign(ledger, "fraud", "aa", 2e9, None) == first
    assert assign(ledger, "other", "aa", 2e9, None).seq == 1


def test_source_date_epoch_sets_the_time_of_new_content(tmp_path: Path) -> None:
    assert assign(tmp_path / "l.json", "fraud", "aa", 2e9, 0).created == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"fraud": []}', b'{"fraud":[1]}', b'{"fraud":7}'])
def test_a_damaged_ledger_is_refused_and_left_alone(damage: bytes, tmp_path: Path) -> None:
    ledger = tmp_path / "sequences.json"
    ledger.write_bytes(damage)
    with pytest.raises(UsageError, match="the sequence ledger is damaged"):
        assign(ledger, "fraud", "aa", 0, None)
    assert ledger.read_bytes() == damage
