"""The journal: what is being done about a service's active release, written before it is done.

One document per service, replaced in one rename. `current` says what is active; the journal says how it came
to be, whether it stays, and what to finish after an unclean stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from sealift.errors import StoreError
from sealift.store.files import read_document, write_document
from sealift.store.prefix import Prefix

FORMAT: Final = "sealift-journal/1"


class Phase(Enum):
    """How far the latest turn has come; what is active meanwhile stands behind each."""

    TURNING = "turning"  # the one before, until `current` is turned
    WATCHED = "watched"  # the new one, on probation
    COMMITTING = "committing"  # the new one, for good
    COMMITTED = "committed"
    NOT_ACTIVATED = "not activated"  # the one before, as if nothing had been
    FALLING_BACK = "falling back"  # the new one, until `current` is turned back
    FELL_BACK = "fell back"  # the safe one
    RETURNING = "returning"  # a rollback: the one before, until `current` is turned
    RETURNED = "returned"  # the one that was asked for


AT_REST: Final = frozenset({Phase.COMMITTED, Phase.NOT_ACTIVATED, Phase.FELL_BACK, Phase.RETURNED})
"""Nothing is left to do."""

_STARTS: Final = frozenset({Phase.TURNING, Phase.RETURNING})
NEXT: Final[Mapping[Phase, frozenset[Phase]]] = MappingProxyType(
    {
        Phase.TURNING: frozenset({Phase.WATCHED, Phase.NOT_ACTIVATED}),
        Phase.WATCHED: frozenset({Phase.COMMITTING, Phase.FALLING_BACK}) | _STARTS,
        Phase.COMMITTING: frozenset({Phase.COMMITTED}),
        Phase.FALLING_BACK: frozenset({Phase.FELL_BACK}),
        Phase.RETURNING: frozenset({Phase.RETURNED, Phase.NOT_ACTIVATED}),
        **dict.fromkeys(AT_REST, _STARTS),
    }
)
"""The transition table: what may follow what."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of what is active.

    `tree` is to become active, `before` was when it began; `safe` is the one to go back to, the latest that
    was committed. `at` is seconds since the epoch by the box's clock, for people. `superseded` is a turn whose
    watch this one ended; it comes back where this one is not activated.
    """

    phase: Phase
    tree: str
    before: str | None
    safe: str | None
    at: int
    reasons: tuple[str, ...] = ()
    superseded: Turn | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """The latest turn of a service (None: it never had one) and the trees it committed, newest first."""

    turn: Turn | None = None
    committed: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase | None:
        """The phase of the latest turn."""
        return self.turn.phase if self.turn else None

    def begun(self, turn: Turn) -> Journal:
        """With a new turn. Raises: StoreError: another one is not at rest."""
        if turn.phase not in _STARTS or (self.turn and turn.phase not in NEXT[self.turn.phase]):
            raise self._refusal(turn.phase)
        watched = self.turn if self.phase is Phase.WATCHED else None
        return replace(self, turn=replace(turn, superseded=watched))

    def moved(self, phase: Phase, reasons: tuple[str, ...] = ()) -> Journal:
        """The same turn, one phase on. Raises: StoreError: the table has no such step."""
        if self.turn is None or phase in _STARTS or phase not in NEXT[self.turn.phase]:
            raise self._refusal(phase)
        if phase is Phase.NOT_ACTIVATED and self.turn.superseded is not None:
            return replace(self, turn=self.turn.superseded)
        return replace(self, turn=replace(self.turn, phase=phase, reasons=reasons, superseded=None))

    def with_committed(self, tree: str) -> Journal:
        """`tree` is the latest that was committed."""
        return replace(self, committed=(tree, *(other for other in self.committed if other != tree)))

    def without(self, tree: str) -> Journal:
        """`tree` is no longer installed."""
        return replace(self, committed=tuple(other for other in self.committed if other != tree))

    def _refusal(self, phase: Phase) -> StoreError:
        found = self.turn.phase.value if self.turn else "nothing"
        return StoreError(
            f"{phase.value} cannot follow {found}", next_step="sealift status --why says what is being done"
        )


def read_journal(prefix: Prefix, name: str) -> Journal:
    """The journal of a service; an empty one where there is none. Raises: StoreError: damaged."""
    path = prefix.journal(name)
    if not path.is_file():
        return Journal()
    doc = read_document(path)
    try:
        if doc["format"] != FORMAT:
            raise ValueError(doc["format"])
        turn = _decode(doc["turn"]) if doc["turn"] is not None else None
        return Journal(turn, tuple(map(str, doc["committed"])))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: not a journal of this sealift ({error})") from error


def write_journal(prefix: Prefix, name: str, journal: Journal) -> None:
    """Replace the journal, durably. Raises: StoreError."""
    turn = _encode(journal.turn) if journal.turn else None
    write_document(
        prefix.journal(name), {"committed": list(journal.committed), "format": FORMAT, "turn": turn}
    )


def _encode(turn: Turn) -> dict[str, Any]:
    return {
        "at": turn.at,
        "before": turn.before,
        "phase": turn.phase.value,
        "reasons": list(turn.reasons),
        "safe": turn.safe,
        "superseded": _encode(turn.superseded) if turn.superseded else None,
        "tree": turn.tree,
    }


def _decode(doc: Mapping[str, Any]) -> Turn:
    return Turn(
        phase=Phase(doc["phase"]),
        tree=str(doc["tree"]),
        before=doc["before"],
        safe=doc["safe"],
        at=int(doc["at"]),
        reasons=tuple(map(str, doc["reasons"])),
        superseded=_decode(doc["superseded"]) if doc["superseded"] is not None else None,
    )
