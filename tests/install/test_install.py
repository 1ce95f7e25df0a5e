"""Install: what changes, what does not, and in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.made_bundles import FILES, Signer, make_bundle, make_signer, tree_hash

from sealift.bundle.read import VerifiedBundle, read_bundle, verify
from sealift.bundle.source import Folder
from sealift.errors import (
    DigestMismatch,
    Downgrade,
    IncompatibleHost,
    Locked,
    NotActivated,
    NotServing,
    StoreError,
)
from sealift.events import Silent
from sealift.install.install import Box, InstallReport, Outcome, install
from sealift.store.lock import exclusive
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix, private
from sealift.store.releases import InstalledRelease, active_release, installed_releases
from sealift.target.interpreter import Interpreter
from sealift.trust.vouch import Policy

INTERPRETER = Interpreter(Path("/usr/bin/python3"), "3.11.2", "cpython", "x86_64", "2.36", Path("/usr"))


@dataclass
class FakeBox:
    """A box whose checks and supervisor do as told; the store is real."""

    prefix: Prefix
    problems: tuple[str, ...] = ()
    check_fails: bool = False
    is_served: bool = False
    switch_fails: bool = False
    seen: list[str] = field(default_factory=list)

    def box(self) -> Box:
        def check(release: InstalledRelease) -> dict[str, Any]:
            self.seen.append(f"check {release.version}")
            if self.check_fails:
                raise NotActivated("a check failed")
            return {"golden_checked": True, "notes": ["fine"]}

        def switch(name: str) -> None:
            self.seen.append(f"switch {name}")
            if self.switch_fails:
                raise NotServing("the worker did not get ready")

        return Box(
            self.prefix, INTERPRETER, self.problems, check, lambda name: self.is_served, switch, lambda: 1e9
        )


@pytest.fixture
def signer() -> Signer:
    return make_signer()


@pytest.fixture
def fake(tmp_path: Path) -> FakeBox:
    return FakeBox(private(tmp_path / "box"))


Make = Callable[..., VerifiedBundle]


@pytest.fixture
def made(tmp_path: Path, signer: Signer) -> Make:
    def make(version: str = "1.0", seq: int = 1, **more: Any) -> VerifiedBundle:
        path = make_bundle(tmp_path, signer, version=version, seq=seq, **more).path
        return verify(read_bundle(Folder(path)), signer.signed.root, Policy())

    return make


def run(fake: FakeBox, bundle: VerifiedBundle) -> InstallReport:
    with exclusive(fake.prefix, "install"):
        return install(bundle, fake.box(), Silent())


def test_a_first_install_stages_checks_and_activates(fake: FakeBox, made: Make) -> None:
    report = run(fake, made())
    assert report.outcome is Outcome.ACTIVATED
    assert report.previous is None
    active = active_release(fake.prefix, "fraud")
    assert active == report.release
    for name, data in FILES.items():
        assert (active.tree / name).read_bytes() == data
    assert (active.tree / "runtime" / "tool").stat().st_mode & 0o777 == 0o555
    assert (active.tree / "runtime" / "boot.py").stat().st_mode & 0o777 == 0o444
    assert fake.seen == ["check 1.0"]


def test_the_release_tree_shares_its_inodes_with_the_store(fake: FakeBox, made: Make) -> None:
    bundle = made()
    active = run(fake, bundle).release
    entry = dict(bundle.files())["runtime/boot.py"]
    assert (active.tree / "runtime" / "boot.py").samefile(store_of(fake.prefix).path(entry))


def test_installing_what_is_active_does_nothing(fake: FakeBox, made: Make) -> None:
    bundle = made()
    run(fake, bundle)
    before = tree_hash(fake.prefix.root)
    assert run(fake, bundle).outcome is Outcome.NOTHING_TO_DO
    assert tree_hash(fake.prefix.root) == before


def test_a_running_service_is_switched_after_the_check(fake: FakeBox, made: Make) -> None:
    run(fake, made())
    fake.is_served = True
    report = run(fake, made("1.1", 2))
    assert report.outcome is Outcome.SWITCHED
    assert report.previous is not None
    assert report.previous.version == "1.0"
    assert fake.seen == ["check 1.0", "check 1.1", "switch fraud"]


def test_a_failed_check_leaves_the_old_release_and_the_disk_as_they_were(fake: FakeBox, made: Make) -> None:
    run(fake, made())
    before, bundle = tree_hash(fake.prefix.root / "releases"), made("1.1", 2)
    fake.check_fails = True
    with pytest.raises(NotActivated):
        run(fake, bundle)
    assert active_release(fake.prefix, "fraud").version == "1.0"
    assert tree_hash(fake.prefix.root / "releases") == before
    assert [release.version for release in installed_releases(fake.prefix, "fraud")] == ["1.0"]


def test_a_worker_that_does_not_get_ready_is_taken_back(fake: FakeBox, made: Make) -> None:
    run(fake, made())
    fake.is_served = fake.switch_fails = True
    with pytest.raises(NotActivated, match=r"fraud 1\.1 was taken back: .*; 1\.0 serves on"):
        run(fake, made("1.1", 2))
    assert active_release(fake.prefix, "fraud").version == "1.0"


def test_a_box_that_does_not_fit_is_refused_before_anything_is_written(fake: FakeBox, made: Make) -> None:
    bundle = made()
    fake.problems = ("C library: expected glibc 2.99 or newer, found 2.36",)
    with pytest.raises(IncompatibleHost) as caught:
        run(fake, bundle)
    assert caught.value.problems == fake.problems
    assert not fake.prefix.objects.exists()


@pytest.mark.parametrize(
    ("seq", "said"), [(1, "is older than what this box committed"), (2, "is another release")]
)
def test_an_older_or_reused_sequence_is_a_downgrade(seq: int, said: str, fake: FakeBox, made: Make) -> None:
    run(fake, made("2.0", 2))
    before = tree_hash(fake.prefix.root)
    with pytest.raises(Downgrade, match=said):
        run(fake, made("1.0", seq))
    assert active_release(fake.prefix, "fraud").version == "2.0"
    assert tree_hash(fake.prefix.root) == before


def test_with_both_records_of_the_sequence_gone_the_installed_releases_are_the_witness(
    fake: FakeBox, made: Make
) -> None:
    run(fake, made("2.0", 2))
    for path in fake.prefix.sequences:
        path.unlink()
    with pytest.raises(Downgrade, match="is older than what this box committed, sequence 2"):
        run(fake, made("1.0", 1))


def test_a_release_that_did_not_get_active_moves_no_sequence(fake: FakeBox, made: Make) -> None:
    run(fake, made())
    fake.check_fails = True
    with pytest.raises(NotActivated):
        run(fake, made("3.0", 9))
    fake.check_fails = False
    assert run(fake, made("1.1", 2)).release.version == "1.1"


def test_a_release_installed_before_may_come_back(fake: FakeBox, made: Make) -> None:
    old = made()
    run(fake, old)
    run(fake, made("1.1", 2))
    assert run(fake, old).release.version == "1.0"


def test_a_damaged_object_stops_the_install_and_is_not_kept(fake: FakeBox, made: Make) -> None:
    bundle = made()
    entry = dict(bundle.files())["application/models/m/model.onnx"]
    path = Path(bundle.bundle.source.name) / "objects" / entry.sha256[:2] / entry.sha256
    path.write_bytes(b"X" * entry.size)
    with pytest.raises(DigestMismatch):
        run(fake, bundle)
    assert not store_of(fake.prefix).path(entry).exists()
    assert fake.prefix.services() == ()


def test_a_bad_object_takes_those_before_it_out_again(fake: FakeBox, made: Make) -> None:
    run(fake, made())
    before = tree_hash(fake.prefix.root)
    files = {**FILES, **{f"application/more/{number}": bytes([number] * 9) for number in range(9)}}
    bundle = made("1.1", 2, files=files)
    last = dict(bundle.files())["application/more/8"]
    (Path(bundle.bundle.source.name) / "objects" / last.sha256[:2] / last.sha256).write_bytes(
        b"X" * last.size
    )
    with pytest.raises(DigestMismatch):
        run(fake, bundle)
    assert tree_hash(fake.prefix.root) == before


def test_a_tree_whose_name_was_made_to_collide_is_not_taken_for_the_release(
    fake: FakeBox, made: Make
) -> None:
    old = run(fake, made()).release
    bundle = made("1.1", 2)
    old.tree.rename(old.tree.with_name(f"1.1-{bundle.identity[:8]}"))
    with pytest.raises(StoreError, match="holds another release"):
        run(fake, bundle)
    assert fake.seen == ["check 1.0"]


def test_running_again_after_an_interrupted_stage_finishes(fake: FakeBox, made: Make) -> None:
    bundle = made()
    store = store_of(fake.prefix)
    entry = dict(bundle.files())["runtime/boot.py"]
    store.add(entry, partial(bundle.copy_object, entry.sha256))
    (fake.prefix.releases("fraud") / f".1.0-{bundle.identity[:8]}.partial" / "junk").mkdir(parents=True)
    assert run(fake, bundle).outcome is Outcome.ACTIVATED
    assert sorted(path.name for path in fake.prefix.releases("fraud").iterdir()) == [
        f"1.0-{bundle.identity[:8]}"
    ]


def test_a_second_command_is_told_who_holds_the_prefix(fake: FakeBox) -> None:
    with (
        exclusive(fake.prefix, "install"),
        pytest.raises(Locked) as caught,
        exclusive(fake.prefix, "install"),
    ):
        pass
    assert f"is held by install (process {os.getpid()})" in caught.value.message


def test_the_prefix_has_a_command_of_its_own(fake: FakeBox, made: Make) -> None:
    active = run(fake, made()).release
    script = (fake.prefix.bin / "sealift").read_text()
    assert f"exec /usr/bin/python3 -I -S -B {active.tree}/runtime/boot.py" in script
    assert f"SEALIFT_PREFIX={fake.prefix.root}" in script
