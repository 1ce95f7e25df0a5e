"""Turns what is active of one service: every move is in the journal before it is made, and can be finished later.

Who calls it holds nothing: each move takes the service's lock for its moment. Only `commit` needs the prefix's
lock as well, for sequences and pruning.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sealift import canonical
from sealift.bundle.documents import decode_release
from sealift.errors import Downgrade, NoSpace, NotInstalled, SealiftError
from sealift.install.in_use import is_in_use
from sealift.ledger.record import Event, Facts
from sealift.store import sequences
from sealift.store.failures import count_failure, forgive
from sealift.store.files import storing, write_file
from sealift.store.journal import Journal, Phase, Turn, read_journal, write_journal
from sealift.store.lock import turning
from sealift.store.prefix import TOOL, Prefix
from sealift.store.releases import InstalledRelease, activate, active_tree, installed_releases, release_at
from sealift.store.sweep import forget_release, sweep

KEPT: Final = 2
"""Committed releases kept beside the active one (DESIGN 3)."""

Tell = Callable[[Event, Facts], None]
"""Writes into the box's log; a log that cannot be written does not stop a release from being taken back."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Versions that were removed after a commit, and the bytes that came free."""

    versions: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class Keeper:
    """The moves of one service's active release. `clock`: seconds since the epoch, for people only."""

    prefix: Prefix
    name: str
    tell: Tell
    clock: Callable[[], float] = time.time

    @property
    def journal(self) -> Journal:
        """As it stands on the disk."""
        return read_journal(self.prefix, self.name)

    def release(self, tree: str) -> InstalledRelease:
        """An installed release. Raises: NotInstalled."""
        return release_at(self.prefix, self.name, tree)

    def begin(self, tree: str, *, back: bool) -> None:
        """A turn to `tree` begins; `back`: it is a return to an installed release.

        Raises: NotInstalled; Downgrade: below the floor. StoreError: another turn is being made.
        """
        release = self.release(tree)
        self._require_above_floor(release)
        with turning(self.prefix, self.name, "a switch"):
            journal = self.journal
            before = active_tree(self.prefix, self.name)
            phase = Phase.RETURNING if back else Phase.TURNING
            turn = Turn(phase, tree, before, self._safe(journal, tree, before), int(self.clock()))
            self._write(journal.begun(turn))

    def turned(self, tree: str) -> Phase:
        """Make `tree` active: it can answer. Returns: WATCHED, or RETURNED after a rollback."""
        with turning(self.prefix, self.name, "a switch"):
            journal = self.journal
            back = journal.phase is Phase.RETURNING
            phase = Phase.RETURNED if back else Phase.WATCHED
            self._turn_to(tree, journal, journal.moved(phase))
        self._tell(Event.ROLLBACK if back else Event.ACTIVATE, tree, {"before": self._version(journal)})
        return phase

    def gave_up(self, tree: str, reasons: Sequence[str]) -> None:
        """`tree` could not answer; what was active is active as before."""
        with turning(self.prefix, self.name, "a switch"):
            journal = self.journal
            self._write(journal.moved(Phase.NOT_ACTIVATED, tuple(reasons)))
        if journal.phase is Phase.TURNING:
            self._count(tree, reasons)
        self._tell(Event.REFUSAL, tree, {"reason": "; ".join(reasons), "verb": "activate"})

    def commit(self, reasons: Sequence[str] = ()) -> Pruned:
        """The watched release is good, for these reasons: sequence and floor take effect, old releases go.

        The caller holds the prefix's lock. Also finishes a commit that was cut off.
        """
        with turning(self.prefix, self.name, "a commit"):
            journal = self.journal
            if journal.phase is Phase.WATCHED:
                journal = journal.moved(Phase.COMMITTING, tuple(reasons))
                self._write(journal)
            turn = _turn(journal)  # why, also after a cut
            release = self.release(turn.tree)
            self._commit_sequence(release)
            forgive(self.prefix, self.name, release.identity)
            journal = journal.with_committed(turn.tree)
            pruned = self._prune(journal)
            kept = [tree for tree in journal.committed if self.is_installed(tree)]
            self._tell(
                Event.COMMIT, turn.tree, {"pruned": list(pruned.versions), "reasons": list(turn.reasons)}
            )
            self._write(Journal(journal.moved(Phase.COMMITTED, turn.reasons).turn, tuple(kept)))
        return pruned

    def fall_back(self, reasons: Sequence[str]) -> str:
        """The watched release is bad: returns the tree to go back to.

        Raises: NotInstalled: there is none; the journal stands as it was.
        """
        with turning(self.prefix, self.name, "a fall back"):
            journal = self.journal
            turn = _turn(journal)
            if turn.safe is None:
                raise NotInstalled(f"{self.name}: no older release to go back to")
            if journal.phase is not Phase.FALLING_BACK:
                self._write(journal.moved(Phase.FALLING_BACK, tuple(reasons)))
                self._count(turn.tree, reasons)
        return turn.safe

    def fell_back(self) -> None:
        """The safe release answers again (or is about to): `current` points to it."""
        with turning(self.prefix, self.name, "a fall back"):
            journal = self.journal
            turn = _turn(journal)
            if turn.safe is None:
                raise NotInstalled(f"{self.name}: no older release to go back to")
            self._point(turn.safe)
            self._write(journal.moved(Phase.FELL_BACK, turn.reasons))
        facts = {"bad": self.release(turn.tree).version, "reasons": list(turn.reasons)}
        self._tell(Event.FELL_BACK, turn.safe, facts)

    def _commit_sequence(self, release: InstalledRelease) -> None:
        with storing(release.tree):
            floor = decode_release((release.tree / "release.json").read_bytes()).floor_seq
        sequences.commit(self.prefix, self.name, release.seq, release.identity, floor)

    def _require_above_floor(self, release: InstalledRelease) -> None:
        anchor = sequences.read(self.prefix, self.name)
        if anchor is not None and release.seq < anchor.floor_seq:
            raise Downgrade(
                f"{release.name} {release.version} has sequence {release.seq}, below the floor {anchor.floor_seq} that "
                "a later release set: it must not come back; nothing was changed",
                next_step="return to a newer release, or install a mended one",
            )

    def _safe(self, journal: Journal, tree: str, before: str | None) -> str | None:
        """The latest committed release that is still here; where none was, the one before."""
        known = [other for other in journal.committed if other != tree and self.is_installed(other)]
        if known:
            return known[0]
        return before if before != tree else None

    def _prune(self, journal: Journal) -> Pruned:
        """Keep the active release, the two committed before it, and whatever is newer; the rest goes."""
        turn = _turn(journal)
        kept = {turn.tree, *[tree for tree in journal.committed if tree != turn.tree][:KEPT]}
        active = self.release(turn.tree)
        gone: list[str] = []
        for release in installed_releases(self.prefix, self.name):
            if release.tree.name in kept or release.seq > active.seq or self._runs_the_tool(release):
                continue
            forget_release(self.prefix, self.name, release.tree.name)
            gone.append(release.version)
        return Pruned(tuple(gone), sweep(self.prefix).size)

    def _runs_the_tool(self, release: InstalledRelease) -> bool:
        if self.name == TOOL:
            return is_in_use(release.tree)  # a supervisor that was started by it serves on
        script = self.prefix.bin / "sealift"
        return script.is_file() and str(release.tree) in script.read_text(errors="replace")

    def _point(self, tree: str) -> None:
        release = self.release(tree)
        activate(self.prefix, release)
        with contextlib.suppress(NoSpace):  # the command that stands there works on
            write_command(self.prefix, release)

    def _turn_to(self, tree: str, before: Journal, after: Journal) -> None:
        """`current` and the journal, or neither: a disk may be full in between."""
        self._point(tree)
        try:
            self._write(after)
        except SealiftError:
            was = before.turn.before if before.turn is not None else None
            if was is not None and self.is_installed(was):
                self._point(was)
            raise

    def is_installed(self, tree: str) -> bool:
        """Claims that a release of that tree name is recorded here."""
        return (self.prefix.records(self.name) / f"{tree}.json").is_file()

    def _count(self, tree: str, reasons: Sequence[str]) -> None:
        release = self.release(tree)
        count_failure(self.prefix, self.name, release.identity, release.version, reasons, self.clock())

    def _version(self, journal: Journal) -> str:
        before = journal.turn.before if journal.turn else None
        return self.release(before).version if before and self.is_installed(before) else ""

    def _write(self, journal: Journal) -> None:
        write_journal(self.prefix, self.name, journal)

    def _tell(self, event: Event, tree: str, facts: Facts) -> None:
        release = self.release(tree)
        about = {"identity": release.identity, "product": self.name, "version": release.version}
        self.tell(event, {**about, **facts})


def _turn(journal: Journal) -> Turn:
    if journal.turn is None:
        raise NotInstalled("nothing was ever activated here", next_step="sealift install BUNDLE")
    return journal.turn


def write_command(prefix: Prefix, release: InstalledRelease) -> None:
    """The prefix's own `sealift`, so that nothing else is needed on the box.

    It is the active tool's; where the tool is not installed by itself, the box side of a service's release.

    Raises: StoreError, NoSpace: the one that stands there works on.
    """
    variable = f"SEALIFT_PREFIX={shlex.quote(str(prefix.root))}"
    if release.name == TOOL:
        script = _TOOL_SCRIPT.format(variable=variable, link=shlex.quote(str(prefix.current(TOOL))))
    elif prefix.has_tool:
        return
    else:
        argv = " ".join(shlex.quote(word) for word in release.command())
        script = f'#!/bin/sh\n{variable} exec {argv} "$@"\n'
    write_file(prefix.bin / "sealift", script.encode(), 0o755)


# The link is followed once, so that one run never mixes two versions: turning the link is the whole switch.
_TOOL_SCRIPT: Final = """\
#!/bin/sh
tree=$(cd -P {link} && pwd) || exit 40
for python in "$tree"/runtime/python/bin/python3.*; do
  {variable} exec "$python" -I -S -B "$tree/runtime/boot.py" "$@"
done
"""


def named(release: InstalledRelease) -> str:
    """`fraud 2026.12.0 sha256:9f31-c2a0`."""
    return f"{release.name} {release.version} {canonical.short(release.identity)}"


def refused(error: SealiftError) -> tuple[str, ...]:
    """The reasons that an error gives, for journal and log."""
    return (error.message, *error.problems)
