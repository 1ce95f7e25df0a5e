"""Joins the supervisor with what keeps the releases: `serve` knows workers, `install` knows the journal."""

from __future__ import annotations

from collections.abc import Callable

from sealift.cli.keeping import keeper_of, watch_bounds
from sealift.install.probation import Probation
from sealift.meter.beat import Advice, Beat, Seen, WatchWish
from sealift.serve.care import WorkerLaunch
from sealift.store.prefix import Prefix
from sealift.store.releases import InstalledRelease, release_at

SUPERVISOR = "supervisor"
"""Who the log names where nobody typed a command."""

LaunchOf = Callable[[InstalledRelease], WorkerLaunch]


class ReleaseCare:
    """`Care` of one installed service: every decision is `Probation`'s, every argv is the door's."""

    def __init__(self, prefix: Prefix, name: str, launch_of: LaunchOf) -> None:
        self._prefix = prefix
        self._name = name
        self._launch_of = launch_of
        keeper = keeper_of(prefix, name, SUPERVISOR)
        self._probation = Probation(keeper, lambda release: watch_bounds(prefix, release))

    def start(self) -> WorkerLaunch:
        """As `Care.start`."""
        return self._launch_of(self._probation.start())

    def launch(self, tree: str) -> WorkerLaunch:
        """As `Care.launch`."""
        return self._launch_of(release_at(self._prefix, self._name, tree))

    def begin(self, tree: str, *, back: bool) -> None:
        """As `Care.begin`."""
        self._probation.begin(tree, back=back)

    def turned(self, tree: str, before: Beat | None) -> None:
        """As `Care.turned`."""
        self._probation.turned(tree, before)

    def gave_up(self, tree: str, reason: str) -> None:
        """As `Care.gave_up`."""
        self._probation.gave_up(tree, reason)

    def watch(self) -> WatchWish | None:
        """As `Care.watch`."""
        return self._probation.watch()

    def observe(self, seen: Seen) -> Advice:
        """As `Care.observe`."""
        return self._probation.observe(seen)

    def commit(self) -> None:
        """As `Care.commit`."""
        self._probation.commit()

    def fall_back(self) -> str:
        """As `Care.fall_back`."""
        return self._probation.fall_back()

    def fell_back(self) -> None:
        """As `Care.fell_back`."""
        self._probation.fell_back()
