"""A service's state -> its reasons: how it came to be active, what is watched, what failed, what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sealift import canonical
from sealift.observe.status import ServiceStatus
from sealift.store.journal import Phase, Turn

_NEXT: Final = {
    Phase.TURNING: "a switch is being made; if no command runs, the next one finishes or undoes it",
    Phase.WATCHED: "its supervisor commits it or takes it back by itself; nobody needs to stay",
    Phase.COMMITTING: "it is good; old releases are being removed",
    Phase.COMMITTED: "it stays until the next install or rollback",
    Phase.NOT_ACTIVATED: "have the release mended; after two failures it is blocked (install --retry)",
    Phase.FALLING_BACK: "the safe release is being started",
    Phase.FELL_BACK: "have the release mended; after two failures it is blocked (install --retry)",
    Phase.RETURNING: "a rollback is being made; if no command runs, the next one finishes or undoes it",
    Phase.RETURNED: "it stays until the next install or rollback",
}


def explain(service: ServiceStatus) -> list[str]:
    """The lines of `status --why` for one service."""
    return [f"why {service.active.name} is as it is:", *(f"  {line}" for line in _lines(service))]


def _lines(service: ServiceStatus) -> Iterator[str]:
    turn = service.journal.turn
    if turn is None:
        yield f"{service.active.version} is active; nothing was ever switched under this journal"
        return
    yield f"{_called(service, turn.tree)}: {turn.phase.value}{_before(service, turn)}"
    yield from (f"- {reason}" for reason in turn.reasons)
    if service.left is not None and service.is_watched:
        yield f"still watched: {service.left.seconds} s and {service.left.requests} requests are missing"
        yield from (f"- {reason}" for reason in service.left.reasons)
    if turn.safe is not None and service.is_watched:
        yield f"if it is bad, {_called(service, turn.safe)} comes back"
    yield f"next: {_NEXT[turn.phase]}"
    active = service.active
    yield from (f"{active.version} was checked here: {note}" for note in active.check.get("notes", []))
    for identity, failed in service.failures.items():
        state = "blocked" if failed.blocked else "may be tried again"
        yield f"{failed.version} ({canonical.short(identity)}) failed {failed.count} times here, {state}:"
        yield from (f"- {reason}" for reason in failed.reasons if reason not in turn.reasons)


def _before(service: ServiceStatus, turn: Turn) -> str:
    return f" (before: {_called(service, turn.before)})" if turn.before else ""


def _called(service: ServiceStatus, tree: str) -> str:
    for release in (service.active, *service.others):
        if release.tree.name == tree:
            return release.version
    return tree
