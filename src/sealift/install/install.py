"""Stage, check, switch: the first form of the transaction (its journal comes with DESIGN 3)."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sealift import __version__
from sealift.bundle.documents import Release
from sealift.bundle.read import VerifiedBundle
from sealift.errors import IncompatibleHost, NotActivated, NotServing, SealiftError
from sealift.events import Progress
from sealift.store import sequences
from sealift.store.files import write_file
from sealift.store.prefix import Prefix
from sealift.store.releases import (
    InstalledRelease,
    activate,
    drop_tree,
    installed_releases,
    record,
    stage_tree,
    tree_of,
)
from sealift.target.interpreter import Interpreter

Check = Callable[[InstalledRelease], dict[str, Any]]
"""Checks a staged release; returns the summary to keep. Raises: NotActivated."""

Switch = Callable[[str], None]
"""Asks the running supervisor of a name to serve `current`. Raises: NotServing: nobody serves it, or
the new worker did not get ready (then the old one serves on)."""

Serving = Callable[[str], bool]
"""True if a supervisor answers for that name."""


class Outcome(Enum):
    """How an install ended."""

    NOTHING_TO_DO = "nothing to do"
    ACTIVATED = "active, nobody serves it yet"
    SWITCHED = "active and serving"


@dataclass(frozen=True, slots=True)
class Box:
    """What install needs of this box, handed in by the door."""

    prefix: Prefix
    interpreter: Interpreter
    incompatibilities: tuple[str, ...]
    check: Check
    serving: Serving
    switch: Switch
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What changed: the release that is active now, and the one before it."""

    outcome: Outcome
    release: InstalledRelease
    previous: InstalledRelease | None


def install(bundle: VerifiedBundle, box: Box, progress: Progress) -> InstallReport:
    """Bring `bundle` to this box and make it the active release; the caller holds the prefix's lock.

    Until the switch nothing that serves is touched; a failed check leaves the old release active.

    Raises:
        IncompatibleHost: this box is not what the release was packed for, or this sealift is too old.
        Downgrade: an older sequence number than one committed here, or below the floor.
        NoSpace, DigestMismatch, MissingPart, StoreError: staging failed.
        NotActivated: a check failed, or the new worker did not get ready.
    """
    installed = installed_releases(box.prefix, bundle.release.product)
    previous = _active(box.prefix, bundle.release.product, installed)
    if previous is not None and previous.identity == bundle.identity:
        _commit(box.prefix, bundle)  # an install may have been cut off between switch and commit
        return InstallReport(Outcome.NOTHING_TO_DO, previous, previous)
    _require_host(bundle.release, box)
    known = {release.identity for release in installed}
    sequences.decide(_anchor(box.prefix, bundle, installed), bundle.release.seq, bundle.identity, known)
    is_new = not tree_of(box.prefix, bundle).is_dir()
    staged = _staged(bundle, box, progress)
    progress.start("check on this box")
    try:
        checked = replace(staged, check=box.check(staged))
    except SealiftError:
        if is_new:
            drop_tree(staged.tree)
        raise
    record(box.prefix, checked)
    outcome = _switch(box, checked, previous)
    _commit(box.prefix, bundle)
    return InstallReport(outcome, checked, previous)


def _anchor(
    prefix: Prefix, bundle: VerifiedBundle, installed: tuple[InstalledRelease, ...]
) -> sequences.Anchor | None:
    """What was committed; where both places are gone, the records of installed releases are the witness."""
    found = sequences.read(prefix, bundle.release.product)
    if found is not None or not installed:
        return found
    newest = max(installed, key=lambda release: release.seq)
    return sequences.Anchor(newest.name, newest.seq, newest.identity, floor_seq=0)


def _commit(prefix: Prefix, bundle: VerifiedBundle) -> None:
    """From here on nothing older is let in: sequence and floor take effect (clause 9)."""
    release = bundle.release
    sequences.commit(prefix, release.product, release.seq, bundle.identity, release.floor_seq)


def _staged(bundle: VerifiedBundle, box: Box, progress: Progress) -> InstalledRelease:
    return InstalledRelease(
        name=bundle.release.product,
        version=bundle.release.version,
        identity=bundle.identity,
        seq=bundle.release.seq,
        tree=stage_tree(box.prefix, bundle, progress),
        interpreter=box.interpreter.path,
        installed_at=int(box.clock()),
        total_size=bundle.release.total_size,
        signers=bundle.signers,
        check={},
    )


def _switch(box: Box, release: InstalledRelease, previous: InstalledRelease | None) -> Outcome:
    activate(box.prefix, release)
    _write_command(box.prefix, release)
    if not box.serving(release.name):
        return Outcome.ACTIVATED
    try:
        box.switch(release.name)
    except NotServing as error:
        if previous is None:
            raise
        activate(box.prefix, previous)
        _write_command(box.prefix, previous)
        raise NotActivated(
            f"{release.name} {release.version} was taken back: {error.message}; {previous.version} serves on",
            next_step=f"sealift status {release.name}",
        ) from error
    return Outcome.SWITCHED


def _write_command(prefix: Prefix, release: InstalledRelease) -> None:
    """The prefix's own `sealift`: the active release's box side, so that nothing else is needed."""
    argv = " ".join(shlex.quote(word) for word in release.command())
    variable = f"SEALIFT_PREFIX={shlex.quote(str(prefix.root))}"
    script = f'#!/bin/sh\n{variable} exec {argv} "$@"\n'
    write_file(prefix.bin / "sealift", script.encode(), 0o755)


def _active(prefix: Prefix, name: str, installed: tuple[InstalledRelease, ...]) -> InstalledRelease | None:
    link = prefix.current(name)
    if not link.is_symlink():
        return None
    tree = link.resolve()
    return next((release for release in installed if release.tree == tree), None)


def _require_host(release: Release, box: Box) -> None:
    problems = list(box.incompatibilities)
    if _numbers(release.min_sealift) > _numbers(__version__):
        problems.append(f"sealift: expected {release.min_sealift} or newer, found {__version__}")
    if problems:
        raise IncompatibleHost(
            f"{release.product} {release.version} was not packed for this box",
            problems=problems,
            next_step="pack it again with a [target] that describes this box; nothing was changed",
        )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in parts)
