"""Care: who decides which release a supervisor serves, and writes it down. Standard library only.

The supervisor asks, starts and ends workers; journal, trust and store are behind this protocol. Every call
may wait for the disk, so it is made on a thread, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealift.errors import UsageError
from sealift.meter.beat import Advice, Beat, Seen, WatchWish

__all__ = ["Advice", "Care", "Seen", "Unattended", "WatchWish", "WorkerLaunch"]


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """How to start a worker, and which release it will serve.

    `argv` is without the descriptors; `tree` is the release tree's name, None for a project folder.
    `memory_bytes`: what the check measured for a worker of this release, None when unknown.
    """

    argv: Sequence[str]
    release: str
    identity: str | None = None
    tree: str | None = None
    memory_bytes: int | None = None


class Care(Protocol):
    """The supervisor's view of one installed service."""

    def start(self) -> WorkerLaunch:
        """Recover what an unclean stop left; whom to serve now. Raises: NotInstalled, StoreError."""
        ...

    def launch(self, tree: str) -> WorkerLaunch:
        """How to serve an installed release. Raises: NotInstalled."""
        ...

    def begin(self, tree: str, *, back: bool) -> None:
        """Durable: a switch to `tree` begins (`back`: it is a rollback).

        Raises: SealiftError: refused, nothing happens.
        """
        ...

    def turned(self, tree: str, before: Beat | None) -> None:
        """Durable: its worker is ready, `current` points to it, its watch starts.

        Args:
            before: the last beat of the old release's worker.
        """
        ...

    def gave_up(self, tree: str, reason: str) -> None:
        """Durable: its worker did not get ready; the old release is active as before."""
        ...

    def watch(self) -> WatchWish | None:
        """How often canaries are wanted while a watch runs; None: nothing is watched."""
        ...

    def observe(self, seen: Seen) -> Advice:
        """Judge; cheap. Called at every beat and crash while `watch` gives a wish."""
        ...

    def commit(self) -> None:
        """COMMIT was advised. Raises: Locked: try again at the next beat."""
        ...

    def fall_back(self) -> str:
        """Durable: FALL_BACK was advised; the tree to go back to.

        Raises: NotInstalled: there is none, so the bad one serves on.
        """
        ...

    def fell_back(self) -> None:
        """Durable: the old release's worker is ready again, `current` points to it."""
        ...


class Unattended:
    """Serves whatever `plan` says, switches nothing, watches nothing: a project folder's care."""

    def __init__(self, plan: Callable[[], WorkerLaunch]) -> None:
        self._plan = plan

    def start(self) -> WorkerLaunch:
        """As `Care.start`."""
        return self._plan()

    def launch(self, tree: str) -> WorkerLaunch:  # noqa: ARG002 - there is only one
        """As `Care.launch`."""
        return self._plan()

    def begin(self, tree: str, *, back: bool) -> None:  # noqa: ARG002 - refused, whichever
        """As `Care.begin`."""
        raise UsageError("what is served here is no installed release: there is nothing to switch to")

    def turned(self, tree: str, before: Beat | None) -> None:
        """As `Care.turned`; never called."""

    def gave_up(self, tree: str, reason: str) -> None:
        """As `Care.gave_up`; never called."""

    def watch(self) -> WatchWish | None:
        """As `Care.watch`."""
        return None

    def observe(self, seen: Seen) -> Advice:  # noqa: ARG002 - nothing is watched
        """As `Care.observe`."""
        return Advice.WATCH

    def commit(self) -> None:
        """As `Care.commit`; never called."""

    def fall_back(self) -> str:
        """As `Care.fall_back`; never called."""
        raise UsageError("a project folder has no release before it")

    def fell_back(self) -> None:
        """As `Care.fell_back`; never called."""
