"""An installed release -> free space."""

from __future__ import annotations

from dataclasses import dataclass

from sealift.errors import StoreError
from sealift.install.in_use import is_in_use
from sealift.install.keeper import Keeper
from sealift.ledger.record import Event
from sealift.store.files import remove_file
from sealift.store.journal import Phase, write_journal
from sealift.store.lock import turning
from sealift.store.prefix import TOOL
from sealift.store.releases import InstalledRelease, active_tree, installed_releases
from sealift.store.sweep import forget_release, sweep


@dataclass(frozen=True, slots=True)
class Removed:
    """Bytes that came free, and whether the service went with its last release."""

    size: int
    was_last: bool


def remove(keeper: Keeper, release: InstalledRelease, is_served: bool) -> Removed:
    """Give a release up; the caller holds the prefix's lock.

    Raises: StoreError: it is active, or a watched release would fall back to it; nothing was changed.
    """
    prefix, name, tree = keeper.prefix, keeper.name, release.tree.name
    if name == TOOL:
        _require_unused(keeper, release)
    with turning(prefix, name, "remove"):
        journal = keeper.journal
        others = [other for other in installed_releases(prefix, name) if other.tree != release.tree]
        is_active = active_tree(prefix, name) == tree
        if is_active and (others or is_served):
            raise _stays(release, "it is active", "go back first (sealift rollback), or stop its service")
        watched = journal.phase in (Phase.WATCHED, Phase.FALLING_BACK) and journal.turn is not None
        if watched and journal.turn is not None and journal.turn.safe == tree:
            raise _stays(
                release, "a watched release would fall back to it", "wait until that one is committed"
            )
        if is_active:
            remove_file(prefix.current(name))
            remove_file(prefix.journal(name))
            remove_file(prefix.watched(name))
        else:
            write_journal(prefix, name, journal.without(tree))
        forget_release(prefix, name, tree)
        swept = sweep(prefix)
    about = {"identity": release.identity, "product": name, "version": release.version}
    keeper.tell(Event.REMOVE, {**about, "size": swept.size})
    return Removed(swept.size, is_active)


def _require_unused(keeper: Keeper, release: InstalledRelease) -> None:
    """The box must keep a command, and whoever was started by an older one serves on."""
    if active_tree(keeper.prefix, TOOL) == release.tree.name:
        raise _stays(release, "it is the command of this box", "install another sealift first")
    if is_in_use(release.tree):
        raise _stays(
            release, "a process still runs from it", "restart the services that it started (sealift status)"
        )


def _stays(release: InstalledRelease, why: str, next_step: str) -> StoreError:
    return StoreError(
        f"{release.name} {release.version} was not removed: {why}; nothing was changed", next_step=next_step
    )
