"""The verifier finds what was changed, removed, added, moved, repeated or cut off."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.logs import add, written

from sealift.errors import BrokenLedger, StoreError
from sealift.ledger.record import FIRST
from sealift.ledger.verify import Verified, records, verify


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("log") / "ledger.jsonl", 12).read_bytes()


def check(data: bytes, head: str | None = None) -> Verified:
    """Verify a log of these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.jsonl")
        path.write_bytes(data)
        return verify(path, head)


def refused(data: bytes, head: str | None = None) -> str:
    """What the verifier says against these bytes."""
    with pytest.raises(BrokenLedger) as caught:
        check(data, head)
    assert caught.value.exit_code == 43
    assert caught.value.next_step
    return caught.value.message


def test_an_intact_log_has_its_count_and_head(intact: bytes) -> None:
    verified = check(intact)
    assert verified.count == 12
    assert check(intact, verified.head) == Verified(12, verified.head, paper=12)


def test_an_empty_log_is_intact(tmp_path: Path) -> None:
    assert check(b"") == Verified(0, FIRST)


def test_records_added_since_the_paper_are_fine(tmp_path: Path) -> None:
    log = tmp_path / "ledger.jsonl"
    paper = verify(written(log, 3)).head
    add(log)
    assert verify(log, paper).paper == 3
    assert verify(log, FIRST).paper == 0


def test_no_log_is_told_from_a_log_that_was_removed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no log yet") as caught:
        verify(tmp_path / "ledger.jsonl")
    assert caught.value.exit_code == 40
    with pytest.raises(BrokenLedger, match="no log, though the paper holds the head of one"):
        verify(tmp_path / "ledger.jsonl", FIRST)


def test_a_folder_in_the_place_of_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a regular file, expected a log"):
        list(records(tmp_path))


@pytest.mark.parametrize("cut", [1, 2, 11])
def test_an_end_that_was_cut_off_is_found_with_the_paper_alone(cut: int, intact: bytes) -> None:
    shorter = b"".join(intact.splitlines(keepends=True)[:-cut])
    assert check(shorter).count == 12 - cut
    assert "none has the head on the paper" in refused(shorter, check(intact).head)


def test_a_log_written_anew_is_found_with_the_paper(intact: bytes, tmp_path: Path) -> None:
    other = written(tmp_path / "ledger.jsonl", 11).read_bytes()
    other += add(tmp_path / "ledger.jsonl", other=1).encode()
    assert check(other).count == 12
    assert "or the whole log was written anew" in refused(other, check(intact).head)


def test_a_line_that_ends_too_early_is_named(intact: bytes) -> None:
    for cut in (1, 40, 200):
        assert "line 12: the log ends inside this line" in refused(intact[:-cut])


def test_the_first_bad_line_is_named(intact: bytes) -> None:
    lines = intact.splitlines(keepends=True)
    removed = b"".join(lines[:4] + lines[5:])
    assert "line 5: holds record 6, expected 5: lines were removed, added or moved" in refused(removed)
    edited = b"".join([*lines[:4], lines[4].replace(b"1.4", b"1.9"), *lines[5:]])
    assert "line 6: does not follow line 5: expected" in refused(edited)
    assert "line 1: holds record 2, expected 1" in refused(b"".join(lines[1:]))
    other_start = lines[0].replace(b"0" * 64, b"1" * 64)
    assert "line 1: does not follow nothing, as the first line must" in refused(other_start)
    assert "line 13: not a record of this log" in refused(intact + b"{}\n")


@pytest.mark.parametrize("with_head", [True, False])
def test_any_single_byte_that_changes_is_found(with_head: bool, intact: bytes) -> None:
    """Without paper, the last line alone can be changed into another that is well formed."""
    intact = b"".join(intact.splitlines(keepends=True)[:5])
    head = check(intact).head if with_head else None
    end = len(intact) if with_head else intact.rindex(b"\n", 0, -1) + 1
    source = random.Random(3)
    for at in range(end):
        changed = bytearray(intact)
        changed[at] ^= source.randrange(1, 256)
        with pytest.raises(BrokenLedger):
            check(bytes(changed), head)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_line_removed_repeated_moved_or_planted_is_found(intact: bytes, data: st.DataObject) -> None:
    lines = intact.splitlines(keepends=True)
    at, to = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 11))
    what = data.draw(st.sampled_from(["remove", "repeat", "swap", "plant", "cut"]))
    changed = list(lines)
    if what == "remove":
        del changed[at]
    elif what == "repeat":
        changed.insert(to, lines[at])
    elif what == "swap":
        changed[at], changed[to] = changed[to], changed[at]
    elif what == "plant":
        changed.insert(at, data.draw(st.binary(max_size=40)).replace(b"\n", b"") + b"\n")
    else:
        changed = changed[:at]
    if changed != lines:
        assert refused(b"".join(changed), check(intact).head)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_cut_and_any_bytes_put_in_are_found(intact: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(intact)))
    gone = data.draw(st.integers(0, 40))
    put = data.draw(st.binary(max_size=10))
    changed = intact[:at] + put + intact[at + gone :]
    if changed != intact:
        assert refused(changed, check(intact).head)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        check(data)
    except BrokenLedger:
        return
    assert data == b""
