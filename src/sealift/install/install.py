"""VerifiedBundle -> staged and checked release -> active release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from sealift import __version__
from sealift.bundle.documents import Release
from sealift.bundle.read import VerifiedBundle
from sealift.errors import IncompatibleHost, NotActivated, NotInstalled, NotServing, SealiftError
from sealift.events import Progress
from sealift.install.keeper import Keeper, Pruned, named, refused
from sealift.store import sequences
from sealift.store.failures import count_failure, require_not_blocked
from sealift.store.journal import Phase
from sealift.store.prefix import Prefix
from sealift.store.receiving import end_receiving
from sealift.store.releases import InstalledRelease, active_tree, installed_releases, record
from sealift.store.reserve import keep_reserve
from sealift.store.staging import (
    Missing,
    end_staging,
    keep_manifests,
    missing_objects,
    note_staging,
    require_room,
    stage_tree,
    tree_of,
)
from sealift.store.stamp import write_stamp
from sealift.store.sweep import condemn_tree
from sealift.target.interpreter import bundled_interpreter
from sealift.target.target import Target

Check = Callable[[InstalledRelease], dict[str, Any]]
"""Checks a staged release; returns the summary to keep. Raises: NotActivated."""

Switch = Callable[[str, str, bool], None]
"""Asks the supervisor of a name to serve a tree (and whether that is a rollback).

Raises: SealiftError: it did not; what was served before is."""

Served = Callable[[str], bool]
"""True if a supervisor answers for that name."""


class Outcome(Enum):
    """How it ended, in a person's words."""

    NOTHING_TO_DO = "is active already, nothing to do"
    STAGED = "staged and checked; nothing was switched"
    COMMITTED = "active and committed on its checks; nobody serves it yet"
    STARTED = "active; its service starts, and watches it before it is committed"
    WATCHED = "active and serving; watched before it is committed"
    RETURNED = "active again"


@dataclass(frozen=True, slots=True)
class Box:
    """What install needs of this box, handed in by the door.

    `require_settings` refuses a bundle that this box's site settings do not fit (BadSettings).
    `interpreter`: what the release runs on; None where it brings its own.
    `will_start`: a service manager starts whoever serves it, after this.
    `remedy`: what makes a box of these `incompatibilities` fit; empty: only another bundle does.
    `prepare` gives the machine what a staged release needs beside itself, before it is checked.
    """

    prefix: Prefix
    keeper: Keeper
    interpreter: Path | None
    incompatibilities: tuple[str, ...]
    require_settings: Callable[[VerifiedBundle], object]
    check: Check
    served: Served
    switch: Switch
    clock: Callable[[], float]
    will_start: bool = False
    remedy: str = ""
    prepare: Callable[[InstalledRelease], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an install would do: what must come in, and what is active now."""

    missing: Missing
    previous: InstalledRelease | None
    is_active: bool
    is_staged: bool


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What changed: the release that this was about, the active one before it, and what was pruned."""

    outcome: Outcome
    release: InstalledRelease
    previous: InstalledRelease | None
    pruned: Pruned = field(default_factory=Pruned)


def plan(bundle: VerifiedBundle, box: Box, *, retry: bool) -> Plan:
    """Everything that can be refused without writing; nothing is changed.

    Raises:
        IncompatibleHost: this box is not what the release was packed for, or this sealift is too old.
        BadSettings: this box's settings do not fit it. Blocked: it failed twice here, and not `retry`.
        Downgrade: an older sequence number than one committed here, or below the floor.
        NoSpace, HostError: no room, or a prefix that nothing can run from.
        MissingPart, DigestMismatch: a delta, and its base is not here or damaged.
    """
    name = bundle.release.product
    installed = installed_releases(box.prefix, name)
    previous = active(box.prefix, name)
    if previous is not None and previous.identity == bundle.identity:
        return Plan(Missing((), 0), previous, is_active=True, is_staged=True)
    _require_host(bundle.release, box)
    if not retry:
        require_not_blocked(box.prefix, name, bundle.identity)
    box.require_settings(bundle)
    known = {release.identity for release in installed}
    sequences.decide(_anchor(box.prefix, bundle, installed), bundle.release.seq, bundle.identity, known)
    missing = missing_objects(box.prefix, bundle)
    require_room(box.prefix, bundle, missing)
    return Plan(missing, previous, is_active=False, is_staged=bundle.identity in known)


def stage(bundle: VerifiedBundle, planned: Plan, box: Box, progress: Progress) -> InstalledRelease:
    """Bring the release in and check it here; the caller holds the prefix's lock.

    Nothing that serves is touched; a release that fails its check leaves no tree.

    Raises: NotActivated: a check failed. StoreError, NoSpace, BundleError, TrustError: it did not come in.
    """
    write_stamp(box.prefix)
    was_here = tree_of(box.prefix, bundle).is_dir()
    note_staging(box.prefix, bundle, box.clock())
    try:
        staged = _staged(bundle, planned, box, progress)
        box.prepare(staged)
        progress.start("check on this box")
        checked = replace(staged, check=_checked(staged, box))
    except SealiftError:
        if not was_here:
            condemn_tree(tree_of(box.prefix, bundle))
        end_staging(box.prefix)
        raise
    keep_manifests(box.prefix, bundle)
    record(box.prefix, checked)
    end_receiving(box.prefix, checked.name)
    end_staging(box.prefix)
    if not keep_reserve(box.prefix):
        progress.note("no room for the 64 MiB that are kept for a rollback on a full disk")
    return checked


def activate(release: InstalledRelease, box: Box) -> InstallReport:
    """Make a staged release the active one, through its supervisor where one serves; the caller holds the lock.

    One that was committed before comes back as by a rollback.

    Raises: NotActivated: its worker did not get ready; what was active is, and serves.
    """
    previous = active(box.prefix, release.name)
    tree = release.tree.name
    if tree in box.keeper.journal.committed:
        return return_to(release, box)
    if box.served(release.name):
        _switch(release, previous, box, back=False)
        return InstallReport(Outcome.WATCHED, release, previous)
    box.keeper.begin(tree, back=False)
    box.keeper.turned(tree)
    if box.will_start:
        return InstallReport(Outcome.STARTED, release, previous)
    pruned = box.keeper.commit(("on its checks: nobody serves it",))
    return InstallReport(Outcome.COMMITTED, release, previous, pruned)


def return_to(release: InstalledRelease, box: Box) -> InstallReport:
    """Go back to an installed release; needs no room on the disk, and no lock of the prefix's files.

    Raises: Downgrade: below the floor. NotActivated: its worker did not get ready.
    """
    previous = active(box.prefix, release.name)
    if box.served(release.name):
        _switch(release, previous, box, back=True)
    else:
        box.keeper.begin(release.tree.name, back=True)
        box.keeper.turned(release.tree.name)
    return InstallReport(Outcome.RETURNED, release, previous)


def release_to_return_to(keeper: Keeper) -> InstalledRelease:
    """Where `rollback` goes: the latest committed release that is not active; from a watched one, its safe one.

    Raises: NotInstalled: there is none.
    """
    journal = keeper.journal
    now = active_tree(keeper.prefix, keeper.name)
    wanted = [journal.turn.safe] if journal.phase is Phase.WATCHED and journal.turn else []
    for tree in (*wanted, *journal.committed):
        if tree is not None and tree != now and keeper.is_installed(tree):
            return keeper.release(tree)
    others = [r.version for r in installed_releases(keeper.prefix, keeper.name) if r.tree.name != now]
    staged = f" (installed, but never committed: {', '.join(others)})" if others else ""
    raise NotInstalled(
        f"{keeper.name}: no older release to go back to{staged}; nothing was changed",
        next_step=f"sealift activate {keeper.name} VERSION" if others else "install another bundle",
    )


def active(prefix: Prefix, name: str) -> InstalledRelease | None:
    """The active release; None where nothing is active."""
    tree = active_tree(prefix, name)
    return next((release for release in installed_releases(prefix, name) if release.tree.name == tree), None)


def _switch(release: InstalledRelease, previous: InstalledRelease | None, box: Box, *, back: bool) -> None:
    try:
        box.switch(release.name, release.tree.name, back)
    except NotServing as error:
        stays = f"{previous.version} serves on as before" if previous else "nothing serves"
        raise NotActivated(
            f"{named(release)} was not activated: {error.message}; {stays}",
            problems=error.problems,
            next_step=f"sealift status {release.name} --why",
        ) from error


def _checked(staged: InstalledRelease, box: Box) -> dict[str, Any]:
    try:
        return box.check(staged)
    except NotActivated as error:
        count_failure(box.prefix, staged.name, staged.identity, staged.version, refused(error), box.clock())
        raise


def _anchor(
    prefix: Prefix, bundle: VerifiedBundle, installed: tuple[InstalledRelease, ...]
) -> sequences.Anchor | None:
    """What was committed; where both places are gone, the records of installed releases are the witness."""
    found = sequences.read(prefix, bundle.release.product)
    if found is not None or not installed:
        return found
    newest = max(installed, key=lambda release: release.seq)
    return sequences.Anchor(newest.name, newest.seq, newest.identity, floor_seq=0)


def _staged(bundle: VerifiedBundle, planned: Plan, box: Box, progress: Progress) -> InstalledRelease:
    tree = stage_tree(box.prefix, bundle, planned.missing, progress)
    return InstalledRelease(
        name=bundle.release.product,
        version=bundle.release.version,
        identity=bundle.identity,
        seq=bundle.release.seq,
        tree=tree,
        interpreter=box.interpreter or _own_interpreter(bundle, tree),
        installed_at=int(box.clock()),
        total_size=bundle.release.total_size,
        signers=bundle.signers,
        check={},
    )


def _own_interpreter(bundle: VerifiedBundle, tree: Path) -> Path:
    return bundled_interpreter(tree, Target.from_json(bundle.release.target).python)


def _require_host(release: Release, box: Box) -> None:
    problems = list(box.incompatibilities)
    next_step = box.remedy or "pack it again with a [target] that describes this box; nothing was changed"
    if _numbers(release.min_sealift) > _numbers(__version__):
        problems.append(f"sealift: expected {release.min_sealift} or newer, found {__version__}")
        carry = (
            f"carry sealift {release.min_sealift} or newer: `sealift export bootstrap` on the packing machine"
        )
        next_step = f"{carry}; {next_step}" if box.incompatibilities else f"{carry}; nothing was changed"
    if problems:
        what = "needs what this box lacks" if box.remedy else "was not packed for this box"
        raise IncompatibleHost(
            f"{release.product} {release.version} {what}",
            problems=problems,
            next_step=next_step,
        )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in parts)
