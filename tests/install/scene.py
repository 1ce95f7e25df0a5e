"""A box whose checks and supervisor do as told; bundles, store, journal and log are real."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.made_bundles import FILES, Signer, make_bundle, make_signer

from sealift.bundle.read import VerifiedBundle, read_bundle, verify
from sealift.bundle.source import Folder
from sealift.errors import NotActivated, NotServing, SealiftError
from sealift.events import Silent
from sealift.install.install import Box, InstallReport, Outcome, activate, plan, stage
from sealift.install.keeper import Keeper
from sealift.install.recover import recover_prefix
from sealift.ledger.log import append
from sealift.ledger.record import Event, Facts
from sealift.store.journal import Journal
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix, private
from sealift.store.releases import InstalledRelease, active_tree
from sealift.trust.vouch import Policy

INTERPRETER = Path("/usr/bin/python3")


@dataclass
class FakeBox:
    """One prefix for the service `fraud`. `supervisor` is there when somebody serves it."""

    prefix: Prefix
    problems: tuple[str, ...] = ()
    check_fails: bool = False
    settings_fail: SealiftError | None = None
    is_served: bool = False
    worker_fails: bool = False
    will_start: bool = False
    interpreter: Path | None = INTERPRETER
    seen: list[str] = field(default_factory=list)

    def keeper(self) -> Keeper:
        """The real one, with a clock that stands still."""

        def tell(event: Event, facts: Facts) -> None:
            append(self.prefix.ledger, event, facts, who="test", clock=lambda: 1e9)

        return Keeper(self.prefix, "fraud", tell, lambda: 1e9)

    def box(self) -> Box:
        """As a door would hand it in."""
        return Box(
            prefix=self.prefix,
            keeper=self.keeper(),
            interpreter=self.interpreter,
            incompatibilities=self.problems,
            require_settings=self._require_settings,
            check=self._check,
            served=lambda name: self.is_served,
            switch=self._switch,
            clock=lambda: 1e9,
            will_start=self.will_start,
        )

    def install(self, bundle: VerifiedBundle, *, retry: bool = False) -> InstallReport:
        """As the verb composes it."""
        box = self.box()
        with exclusive(self.prefix, "install", wait_s=0.0):
            recover_prefix(self.prefix, lambda name: self.keeper(), lambda name: self.is_served)
            planned = plan(bundle, box, retry=retry)
            if planned.is_active and planned.previous is not None:
                return InstallReport(Outcome.NOTHING_TO_DO, planned.previous, planned.previous)
            return activate(stage(bundle, planned, box, Silent()), box)

    def stage(self, bundle: VerifiedBundle) -> InstalledRelease:
        """`install --stage`."""
        box = self.box()
        with exclusive(self.prefix, "install", wait_s=0.0):
            return stage(bundle, plan(bundle, box, retry=False), box, Silent())

    @property
    def journal(self) -> Journal:
        """As it stands on the disk."""
        return self.keeper().journal

    @property
    def active(self) -> str | None:
        """The version in front of the active tree's dash."""
        tree = active_tree(self.prefix, "fraud")
        return tree.rpartition("-")[0] if tree else None

    def _require_settings(self, bundle: VerifiedBundle) -> None:
        if self.settings_fail is not None:
            raise self.settings_fail

    def _check(self, release: InstalledRelease) -> dict[str, Any]:
        self.seen.append(f"check {release.version}")
        if self.check_fails:
            raise NotActivated("a check failed", problems=("golden input 1: differs",))
        return {"golden_checked": True, "notes": ["fine"]}

    def _switch(self, name: str, tree: str, back: bool) -> None:
        """What a supervisor does."""
        self.seen.append(f"{'back' if back else 'switch'} {tree.rpartition('-')[0]}")
        keeper = self.keeper()
        keeper.begin(tree, back=back)
        if self.worker_fails:
            keeper.gave_up(tree, ("the worker did not get ready",))
            raise NotServing("the worker did not get ready")
        keeper.turned(tree)


@dataclass(frozen=True)
class Bundles:
    """Makes verified bundles of one signer; each version has a model of its own."""

    folder: Path
    signer: Signer = field(default_factory=make_signer)

    def __call__(self, version: str = "1.0", seq: int = 1, **changes: Any) -> VerifiedBundle:
        files = changes.pop("files", {**FILES, "application/models/m/model.onnx": version.encode()})
        packed = make_bundle(self.folder, self.signer, version=version, seq=seq, files=files, **changes)
        return verify(read_bundle(Folder(packed.path)), self.signer.signed.root, Policy())


def scene(tmp_path: Path) -> tuple[FakeBox, Bundles]:
    """An empty box and a maker of bundles."""
    (tmp_path / "bundles").mkdir(exist_ok=True)
    return FakeBox(private(tmp_path / "box")), Bundles(tmp_path / "bundles")


def orphans(prefix: Prefix) -> list[str]:
    """Everything in store and releases that no recorded release needs, by path."""
    from sealift.store.releases import installed_releases

    trees = {release.tree for release in installed_releases(prefix, "fraud")}
    inodes = {path.stat().st_ino for tree in trees for path in tree.rglob("*") if path.is_file()}
    stray = [
        path for path in prefix.objects.rglob("*") if path.is_file() and path.stat().st_ino not in inodes
    ]
    folder = prefix.releases("fraud")
    stray += [path for path in (folder.iterdir() if folder.is_dir() else ()) if path not in trees]
    stray += list(prefix.root.rglob(".*.new"))
    return sorted(os.fspath(path.relative_to(prefix.root)) for path in stray)


Make = Callable[..., VerifiedBundle]
