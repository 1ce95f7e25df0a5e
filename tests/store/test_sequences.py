"""The order of releases on a box: anchored twice, never lowered, no clock asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_bundles import tree_hash

from sealift import canonical
from sealift.errors import Downgrade, StoreError
from sealift.store.prefix import Prefix, private
from sealift.store.sequences import Anchor, commit, decide, read

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture
def box(tmp_path: Path) -> Prefix:
    return private(tmp_path / "box")


@pytest.fixture
def committed(box: Prefix) -> Prefix:
    """A box that committed sequence 5 and then 7, with floor 4."""
    commit(box, "fraud", 5, ONE, 0)
    commit(box, "fraud", 7, TWO, 4)
    return box


def edit(path: Path, **changes: object) -> None:
    """Change the entry of fraud in one place, in its canonical form."""
    doc = canonical.decode(path.read_bytes(), "place")
    doc["products"]["fraud"].update(changes)
    path.write_bytes(canonical.encode(doc))


def refused(anchor: Anchor | None, seq: int, identity: str, *installed: str) -> str:
    """Why a release is not let in."""
    with pytest.raises(Downgrade) as caught:
        decide(anchor, seq, identity, installed)
    assert caught.value.exit_code == 24
    assert caught.value.next_step
    assert "sign OLD --as-seq N" in caught.value.next_step
    return caught.value.message


def test_a_new_box_has_no_anchor_and_lets_anything_in(box: Prefix) -> None:
    assert read(box, "fraud") is None
    decide(None, 0, ONE, ())
    assert not box.root.exists()


def test_both_places_hold_the_same_canonical_document(committed: Prefix) -> None:
    first, second = committed.sequences
    assert first == committed.state / "trust" / "sequences.json"
    assert second == committed.root / "store" / "sequences.json"
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() == (
        b'{"format":"sealift-sequences/1","products":{"fraud":{"floor_seq":4,"identity":"' + b"2" * 64
        + b'","seq":7}}}'
    )  # fmt: skip


def test_the_anchor_is_the_highest_committed(committed: Prefix) -> None:
    assert read(committed, "fraud") == Anchor("fraud", 7, TWO, 4)
    assert read(committed, "other") is None


def test_a_higher_sequence_or_the_very_same_release_is_let_in(committed: Prefix) -> None:
    anchor = read(committed, "fraud")
    decide(anchor, 8, THREE, ())
    decide(anchor, 7, TWO, ())


def test_an_older_sequence_is_refused(committed: Prefix) -> None:
    assert refused(read(committed, "fraud"), 6, THREE) == (
        "fraud sha256:3333-3333 with sequence 6 is older than what this box committed, sequence 7"
    )


def test_an_equal_sequence_with_another_identity_is_refused(committed: Prefix) -> None:
    assert refused(read(committed, "fraud"), 7, THREE, ONE) == (
        "fraud sha256:3333-3333 with sequence 7 is another release than the one this box committed with that "
        "sequence, sha256:2222-2222"
    )


def test_a_return_to_an_installed_release_is_a_rollback(committed: Prefix) -> None:
    decide(read(committed, "fraud"), 5, ONE, {ONE, TWO})
    refused(read(committed, "fraud"), 5, ONE, TWO)


def test_below_the_floor_even_a_rollback_is_refused(committed: Prefix) -> None:
    assert refused(read(committed, "fraud"), 3, ONE, ONE) == (
        "fraud sha256:1111-1111 with sequence 3 is below the floor: this box accepts 4 or higher, also for a "
        "rollback"
    )
    decide(read(committed, "fraud"), 4, ONE, {ONE})


def test_nothing_is_ever_lowered(committed: Prefix) -> None:
    before = tree_hash(committed.root)
    commit(committed, "fraud", 5, ONE, 2)
    commit(committed, "fraud", 7, THREE, 0)
    assert tree_hash(committed.root) == before
    commit(committed, "fraud", 5, ONE, 6)
    assert read(committed, "fraud") == Anchor("fraud", 7, TWO, 6)


def test_products_do_not_mix(committed: Prefix) -> None:
    commit(committed, "other", 1, THREE, 0)
    assert read(committed, "fraud") == Anchor("fraud", 7, TWO, 4)
    assert read(committed, "other") == Anchor("other", 1, THREE, 0)


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "half": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "another document": lambda path: path.write_bytes(b'{"format":"sealift-sequences/1"}'),
    "another format": lambda path: path.write_bytes(b'{"format":"sealift-sequences/2","products":{}}'),
    "a wrong entry": lambda path: edit(path, seq=-1),
    "a wrong identity": lambda path: edit(path, identity="x"),
    "a true number": lambda path: edit(path, floor_seq=True),
    "without the product": lambda path: path.write_bytes(b'{"format":"sealift-sequences/1","products":{}}'),
    "lowered": lambda path: edit(path, seq=1, floor_seq=0),
    "with the identity of the old bundle": lambda path: edit(path, seq=5, identity=ONE, floor_seq=0),
    "floor removed": lambda path: edit(path, floor_seq=0),
    "equal number, planted identity": lambda path: edit(path, identity=THREE),
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("loss", LOSSES)
def test_one_place_lost_or_edited_lets_no_older_bundle_in(loss: str, place: int, committed: Prefix) -> None:
    path = committed.sequences[place]
    LOSSES[loss](path)
    before = tree_hash(committed.root)
    anchor = read(committed, "fraud")
    assert anchor is not None
    assert (anchor.seq, anchor.floor_seq) == (7, 4)
    assert len(anchor.disagreements) == 1
    assert str(path) in anchor.disagreements[0]
    refused(anchor, 5, ONE)
    refused(anchor, 6, THREE)
    refused(anchor, 7, THREE)
    refused(anchor, 3, ONE, ONE)
    decide(anchor, 8, THREE, ())
    assert tree_hash(committed.root) == before


def test_where_two_identities_claim_a_number_neither_comes_in_by_it(committed: Prefix) -> None:
    edit(committed.sequences[0], identity=THREE)
    anchor = read(committed, "fraud")
    assert anchor is not None
    assert anchor.identity is None
    assert "a release its two records disagree on" in refused(anchor, 7, TWO)
    decide(anchor, 7, TWO, {TWO})


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("loss", ["deleted", "zeroed", "lowered", "without the product"])
def test_the_next_commit_writes_a_lost_place_anew(loss: str, place: int, committed: Prefix) -> None:
    commit(committed, "other", 3, ONE, 0)
    LOSSES[loss](committed.sequences[place])
    commit(committed, "fraud", 8, THREE, 0)
    assert read(committed, "fraud") == Anchor("fraud", 8, THREE, 4)
    assert read(committed, "other") == Anchor("other", 3, ONE, 0)
    first, second = (path.read_bytes() for path in committed.sequences)
    assert first == second


@pytest.mark.parametrize("second", ["deleted", "zeroed"])
def test_with_no_place_to_believe_nothing_is_let_in(second: str, committed: Prefix) -> None:
    LOSSES["zeroed"](committed.sequences[0])
    LOSSES[second](committed.sequences[1])
    before = tree_hash(committed.root)
    attempts: list[Callable[[], object]] = [
        lambda: read(committed, "fraud"),
        lambda: commit(committed, "fraud", 9, THREE, 0),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError, match="so nothing can be let in") as caught:
            attempt()
        assert str(committed.sequences[0]) in caught.value.problems[0]
        assert len(caught.value.problems) == (2 if second == "zeroed" else 1)
    assert tree_hash(committed.root) == before


def test_a_power_cut_between_the_two_places_is_reported_and_the_higher_counts(committed: Prefix) -> None:
    second = committed.sequences[1].read_bytes()
    commit(committed, "fraud", 8, THREE, 0)
    committed.sequences[1].write_bytes(second)
    anchor = read(committed, "fraud")
    assert anchor is not None
    assert anchor == Anchor("fraud", 8, THREE, 4)
    first_path, second_path = committed.sequences
    assert anchor.disagreements == (
        f"{first_path} has sequence 8, sha256:3333-3333, floor 4, "
        f"{second_path} has sequence 7, sha256:2222-2222, floor 4",
    )


def test_a_place_that_cannot_be_written_is_refused(box: Prefix) -> None:
    (box.root / "store").mkdir(parents=True)
    (box.root / "store" / "sequences.json").mkdir()
    with pytest.raises(StoreError, match=r"store/sequences\.json"):
        commit(box, "fraud", 1, ONE, 0)


def test_a_clock_in_1970_has_no_influence(committed: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for path in committed.sequences:
        os.utime(path, (0, 0))
    decide(read(committed, "fraud"), 8, THREE, ())
    refused(read(committed, "fraud"), 6, THREE)
    commit(committed, "fraud", 8, THREE, 0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    refused(read(committed, "fraud"), 7, TWO)


RELEASES = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([ONE, TWO, THREE]), st.integers(0, 9)), max_size=12
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(RELEASES)
def test_whatever_is_committed_the_anchor_never_goes_down(
    tmp_path_factory: pytest.TempPathFactory, releases: list[tuple[int, str, int]]
) -> None:
    box = private(tmp_path_factory.mktemp("box"))
    seq, floor = -1, 0
    for number, identity, release_floor in releases:
        commit(box, "fraud", number, identity, release_floor)
        seq, floor = max(seq, number), max(floor, release_floor)
        anchor = read(box, "fraud")
        assert anchor is not None
        assert (anchor.seq, anchor.floor_seq, anchor.disagreements) == (seq, floor, ())
