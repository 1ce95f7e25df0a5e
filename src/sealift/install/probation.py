"""A release on probation: joins the keeper's moves with the watch, for whoever runs the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from sealift.errors import Locked, SealiftError
from sealift.install.keeper import Keeper
from sealift.install.recover import finish_turn
from sealift.install.watch import Bounds, Judgement, Watch, Watched
from sealift.ledger.record import Event
from sealift.meter.beat import Advice, Beat, Seen, WatchWish
from sealift.store.files import read_document, remove_file, write_document
from sealift.store.journal import Phase
from sealift.store.lock import exclusive
from sealift.store.releases import InstalledRelease, active_release
from sealift.store.reserve import reserve_spent

log = logging.getLogger("sealift.watch")
KEEP_EVERY_S: Final = 5.0
"""What was watched since is lost when the supervisor dies: it is watched again."""
_POST_CHECK_CANARY_S: Final = 1.0

BoundsOf = Callable[[InstalledRelease], Bounds]


class Probation:
    """One service's releases as its supervisor takes care of them. One call at a time; each may wait for the disk.

    Args:
        bounds_of: what the watch of a release demands: its own limits and SLO, and the box's settings.
    """

    def __init__(self, keeper: Keeper, bounds_of: BoundsOf) -> None:
        self._keeper = keeper
        self._bounds_of = bounds_of
        self._watch: Watch | None = None
        self._judged = Judgement(Advice.WATCH)
        self._kept_at_s = 0.0
        self._post_check: str | None = None

    def start(self) -> InstalledRelease:
        """Finish what an unclean stop left, and go on with a watch; the release to serve.

        Raises: NotInstalled: nothing is active.
        """
        keeper = self._keeper
        with reserve_spent(keeper.prefix):
            try:
                with exclusive(keeper.prefix, f"the start of {keeper.name}", wait_s=2.0):
                    said = finish_turn(keeper)
            except Locked:  # an install runs: what it does to this service it asks its supervisor for
                said = None
        if said is not None:
            log.warning("%s", said)
        release = active_release(keeper.prefix, keeper.name)
        if keeper.journal.phase in (Phase.WATCHED, Phase.COMMITTING):
            self._watch = Watch(self._bounds_of(release), self._read_watched())
        return release

    def begin(self, tree: str, *, back: bool) -> None:
        """As `Keeper.begin`."""
        with reserve_spent(self._keeper.prefix):
            self._keeper.begin(tree, back=back)

    def turned(self, tree: str, before: Beat | None) -> None:
        """Its worker is ready: `current` points to it; a new release is watched from now on.

        Args:
            before: what the release before had done, to compare with.
        """
        with reserve_spent(self._keeper.prefix):
            phase = self._keeper.turned(tree)
            self._end_watch()
        if phase is Phase.WATCHED:
            self._watch = Watch(self._bounds_of(self._keeper.release(tree)), Watched(before=before))
            self._keep()

    def gave_up(self, tree: str, reason: str) -> None:
        """As `Keeper.gave_up`; a watch that it would have ended goes on."""
        self._keeper.gave_up(tree, (reason,))

    def watch(self) -> WatchWish | None:
        """How often canaries are wanted; None where nothing is on probation."""
        if self._post_check is not None:
            return WatchWish(_POST_CHECK_CANARY_S)
        return WatchWish(self._watch.bounds.canary_s) if self._watch is not None else None

    def observe(self, seen: Seen) -> Advice:
        """Take a beat in; what to do now."""
        if self._post_check is not None:
            self._check_after(seen)
            return Advice.WATCH
        if self._watch is None:
            return Advice.WATCH
        self._judged = self._watch.observe(seen)
        if self._judged.advice is Advice.FALL_BACK and self._is_without_safe():
            return Advice.WATCH
        if seen.now_s - self._kept_at_s >= KEEP_EVERY_S:
            self._kept_at_s = seen.now_s
            self._keep()
        return self._judged.advice

    def commit(self) -> None:
        """Raises: Locked: a command holds the prefix; again at the next beat."""
        keeper = self._keeper
        with exclusive(keeper.prefix, f"the commit of {keeper.name}", wait_s=0.0):
            pruned = keeper.commit(self._judged.reasons)
        self._end_watch()
        said = f"; removed {', '.join(pruned.versions)}" if pruned.versions else ""
        log.info("committed: %s%s", "; ".join(self._judged.reasons), said)

    def fall_back(self) -> str:
        """The tree to go back to; why stands in the journal, what was seen in the evidence.

        Raises: NotInstalled: there is none.
        """
        reasons = self._judged.reasons
        with reserve_spent(self._keeper.prefix):
            self._write_evidence()  # before the journal: cut off here, it is judged and written again
            safe = self._keeper.fall_back(reasons)
        log.error("falling back to %s: %s", safe, "; ".join(reasons))
        return safe

    def fell_back(self) -> None:
        """As `Keeper.fell_back`; the first golden input on the old release is written down."""
        with reserve_spent(self._keeper.prefix):
            self._keeper.fell_back()
        self._end_watch()
        turn = self._keeper.journal.turn
        self._post_check = turn.safe if turn is not None else None

    def judgement(self) -> Judgement:
        """The latest."""
        return self._judged

    def _check_after(self, seen: Seen) -> None:
        if seen.beat is None or not (seen.beat.canaries or seen.beat.requests):
            return
        problem = seen.beat.canary_problem
        version = self._keeper.release(self._post_check or "").version
        found = f"{version} after the fall back: {problem or 'answers as recorded'}"
        self._post_check = None
        self._keeper.tell(Event.RECOVER, {"found": found, "product": self._keeper.name})

    def _is_without_safe(self) -> bool:
        """Nowhere to go back to: the release serves on, and `status` says what is wrong with it."""
        turn = self._keeper.journal.turn
        return turn is None or turn.safe is None

    def _end_watch(self) -> None:
        self._watch, self._post_check = None, None
        remove_file(self._keeper.prefix.watched(self._keeper.name))

    def _keep(self) -> None:
        if self._watch is None:
            return
        doc: dict[str, Any] = {
            "left": {
                "requests": self._judged.requests_left or self._watch.bounds.requests,
                "seconds": int(self._judged.seconds_left or self._watch.bounds.window_s),
            },
            "reasons": list(self._judged.reasons),
            "watched": self._watch.watched.to_json(),
        }
        try:
            write_document(self._keeper.prefix.watched(self._keeper.name), doc)
        except SealiftError as error:
            log.warning("what was watched could not be kept: %s", error.message)

    def _read_watched(self) -> Watched:
        path = self._keeper.prefix.watched(self._keeper.name)
        if not path.is_file():
            return Watched()
        try:
            return Watched.from_json(read_document(path)["watched"])
        except (SealiftError, KeyError, TypeError, ValueError) as error:
            log.warning("what was watched before is lost, so it starts again: %s", error)
            return Watched()

    def _write_evidence(self) -> None:
        if self._watch is None:
            return
        keeper = self._keeper
        turn = keeper.journal.turn
        path = keeper.prefix.evidence(keeper.name) / f"{turn.tree if turn else keeper.name}.json"
        doc = {
            "reasons": list(self._judged.reasons),
            "watched": self._watch.watched.to_json(),
        }
        try:
            write_document(path, doc)
        except SealiftError as error:
            log.warning("the evidence could not be kept: %s", error.message)
