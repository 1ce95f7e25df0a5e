"""The journal's table: what may follow what, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import StoreError
from sealift.store.journal import AT_REST, NEXT, Journal, Phase, Turn, read_journal, write_journal
from sealift.store.prefix import private

TREES = st.sampled_from(["1.0-aaaaaaaa", "1.1-bbbbbbbb", "1.2-cccccccc"])
TURNS = st.builds(
    Turn,
    phase=st.sampled_from(Phase),
    tree=TREES,
    before=st.none() | TREES,
    safe=st.none() | TREES,
    at=st.integers(0, 2**40),
    reasons=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=3).map(tuple),
)


def turn(phase: Phase, tree: str = "1.1-bbbbbbbb") -> Turn:
    return Turn(phase, tree, "1.0-aaaaaaaa", "1.0-aaaaaaaa", 0)


def test_every_phase_has_its_row_and_every_row_leads_to_rest() -> None:
    assert set(NEXT) == set(Phase)
    for phase in Phase:
        reached, waiting = set(), {phase}
        while waiting:
            reached |= waiting
            waiting = set().union(*(NEXT[each] for each in waiting)) - reached
        assert reached & AT_REST


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("wanted", Phase)
def test_what_the_table_does_not_have_is_refused(phase: Phase, wanted: Phase) -> None:
    journal = Journal(turn(phase))
    starts = wanted in (Phase.TURNING, Phase.RETURNING)
    if wanted in NEXT[phase]:
        moved = journal.begun(turn(wanted)) if starts else journal.moved(wanted)
        assert moved.phase is wanted
    else:
        with pytest.raises(StoreError, match=f"{wanted.value} cannot follow {phase.value}"):
            journal.begun(turn(wanted)) if starts else journal.moved(wanted)


def test_a_watch_that_a_failed_switch_ended_comes_back() -> None:
    watched = Journal(turn(Phase.WATCHED))
    begun = watched.begun(turn(Phase.TURNING, "1.2-cccccccc"))
    assert begun.moved(Phase.NOT_ACTIVATED) == watched
    assert begun.moved(Phase.WATCHED).turn == turn(Phase.WATCHED, "1.2-cccccccc")


@given(turn=st.none() | TURNS, committed=st.lists(TREES, unique=True), superseded=st.none() | TURNS)
def test_what_is_written_is_read(
    turn: Turn | None, committed: list[str], superseded: Turn | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from dataclasses import replace

    prefix = private(tmp_path_factory.getbasetemp() / "journal-box")
    if turn is not None:
        turn = replace(turn, superseded=superseded)
    journal = Journal(turn, tuple(committed))
    write_journal(prefix, "fraud", journal)
    assert read_journal(prefix, "fraud") == journal


def test_a_damaged_journal_is_said(tmp_path: Path) -> None:
    prefix = private(tmp_path)
    write_journal(prefix, "fraud", Journal())
    prefix.journal("fraud").write_bytes(b'{"format":"sealift-journal/9"}')
    with pytest.raises(StoreError, match="not a journal of this sealift"):
        read_journal(prefix, "fraud")
