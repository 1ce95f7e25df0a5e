"""Install: what changes, what does not, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.install.scene import Bundles, FakeBox, orphans, scene
from tests.made_bundles import FILES, tree_hash

from sealift.errors import (
    BadSettings,
    Blocked,
    DigestMismatch,
    Downgrade,
    IncompatibleHost,
    Locked,
    NoSpace,
    NotActivated,
    NotInstalled,
    StoreError,
)
from sealift.install.install import Outcome, plan, release_to_return_to, return_to
from sealift.install.recover import finish_turn
from sealift.install.remove import remove
from sealift.ledger.tail import latest
from sealift.store.failures import failures_of
from sealift.store.journal import Phase
from sealift.store.lock import exclusive, turning
from sealift.store.objects import store_of
from sealift.store.releases import active_release, find_release, installed_releases
from sealift.target.target import Target

pytestmark = pytest.mark.slow


@pytest.fixture(name="made")
def made_fixture(tmp_path: Path) -> tuple[FakeBox, Bundles]:
    return scene(tmp_path)


@pytest.fixture
def fake(made: tuple[FakeBox, Bundles]) -> FakeBox:
    return made[0]


@pytest.fixture
def bundle(made: tuple[FakeBox, Bundles]) -> Bundles:
    return made[1]


def test_a_first_install_stages_checks_and_activates(fake: FakeBox, bundle: Bundles) -> None:
    report = fake.install(bundle(files=FILES))
    assert report.outcome is Outcome.COMMITTED
    assert report.previous is None
    active = active_release(fake.prefix, "fraud")
    assert active == report.release
    for name, data in FILES.items():
        assert (active.tree / name).read_bytes() == data
    assert (active.tree / "runtime" / "tool").stat().st_mode & 0o777 == 0o555
    assert (active.tree / "runtime" / "boot.py").stat().st_mode & 0o777 == 0o444
    assert fake.seen == ["check 1.0"]
    assert orphans(fake.prefix) == []


def test_a_release_that_brings_its_interpreter_is_recorded_with_it(fake: FakeBox, bundle: Bundles) -> None:
    """Nothing of it is on the box before staging; afterwards check, services and rollback run the tree's own."""
    fake.interpreter = None
    target = Target("linux-x86_64", python="3.12", glibc="2.31", interpreter="bundled")
    active = fake.install(bundle(target=target.to_json())).release
    assert active.interpreter == active.tree / "runtime/python/bin/python3.12"
    assert find_release(fake.prefix, "fraud", "1.0").interpreter == active.interpreter


def test_the_release_tree_shares_its_inodes_with_the_store(fake: FakeBox, bundle: Bundles) -> None:
    made = bundle()
    active = fake.install(made).release
    entry = dict(made.files())["runtime/boot.py"]
    assert (active.tree / "runtime" / "boot.py").samefile(store_of(fake.prefix).path(entry))


def test_installing_what_is_active_does_nothing(fake: FakeBox, bundle: Bundles) -> None:
    made = bundle()
    fake.install(made)
    before = tree_hash(fake.prefix.root)
    assert fake.install(made).outcome is Outcome.NOTHING_TO_DO
    assert tree_hash(fake.prefix.root) == before


def test_a_running_service_is_switched_by_its_supervisor_and_watched(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.is_served = True
    report = fake.install(bundle("1.1", 2))
    assert report.outcome is Outcome.WATCHED
    assert report.previous is not None
    assert report.previous.version == "1.0"
    assert fake.seen == ["check 1.0", "check 1.1", "switch 1.1"]
    assert fake.journal.phase is Phase.WATCHED


def test_a_service_that_systemd_will_start_is_watched_from_its_start(fake: FakeBox, bundle: Bundles) -> None:
    fake.will_start = True
    assert fake.install(bundle()).outcome is Outcome.STARTED
    assert fake.journal.phase is Phase.WATCHED


def test_staged_is_not_active_until_it_is_asked_for(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    made = bundle("1.1", 2)
    fake.stage(made)
    assert fake.active == "1.0"
    assert [release.version for release in installed_releases(fake.prefix, "fraud")] == ["1.1", "1.0"]
    assert not fake.prefix.staging.exists()
    assert fake.install(made).outcome is Outcome.COMMITTED
    assert fake.active == "1.1"


def test_a_plan_changes_nothing(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    before = tree_hash(fake.prefix.root)
    planned = plan(bundle("1.1", 2), fake.box(), retry=False)
    assert [entry.size for entry in planned.missing.entries] == [3]  # the model, the only file that changed
    assert tree_hash(fake.prefix.root) == before


def test_a_failed_check_leaves_the_old_release_and_the_disk_as_they_were(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle())
    before, made = tree_hash(fake.prefix.root / "releases"), bundle("1.1", 2)
    fake.check_fails = True
    with pytest.raises(NotActivated):
        fake.install(made)
    assert fake.active == "1.0"
    assert tree_hash(fake.prefix.root / "releases") == before
    assert [release.version for release in installed_releases(fake.prefix, "fraud")] == ["1.0"]
    assert not fake.prefix.staging.exists()


def test_a_release_that_failed_twice_is_blocked_until_somebody_asks_again(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle())
    made = bundle("1.1", 2)
    fake.check_fails = True
    for _ in range(2):
        with pytest.raises(NotActivated):
            fake.install(made)
    before = tree_hash(fake.prefix.root)
    with pytest.raises(Blocked, match=r"fraud 1\.1 .* failed 2 times on this box") as caught:
        fake.install(made)
    assert caught.value.exit_code == 62
    assert caught.value.problems == ("a check failed", "golden input 1: differs")
    assert tree_hash(fake.prefix.root) == before
    fake.check_fails = False
    assert fake.install(made, retry=True).outcome is Outcome.COMMITTED
    assert failures_of(fake.prefix, "fraud") == {}


def test_a_worker_that_does_not_get_ready_was_never_active(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.is_served = fake.worker_fails = True
    with pytest.raises(NotActivated, match=r"fraud 1\.1 .* was not activated: .*; 1\.0 serves on") as caught:
        fake.install(bundle("1.1", 2))
    assert caught.value.exit_code == 60
    assert fake.active == "1.0"
    assert fake.journal.phase is Phase.NOT_ACTIVATED
    assert [failed.count for failed in failures_of(fake.prefix, "fraud").values()] == [1]


def test_the_watch_of_a_release_goes_on_when_the_next_one_cannot_start(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle())
    fake.is_served = True
    fake.install(bundle("1.1", 2))
    fake.worker_fails = True
    with pytest.raises(NotActivated):
        fake.install(bundle("1.2", 3))
    turn = fake.journal.turn
    assert turn is not None
    assert (turn.phase, turn.tree.partition("-")[0]) == (Phase.WATCHED, "1.1")


def test_what_falls_back_while_watched_goes_to_the_latest_committed_release(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle())
    fake.is_served = True
    fake.install(bundle("1.1", 2))
    fake.install(bundle("1.2", 3))
    safe = fake.keeper().fall_back(("p99 is 80 ms, the SLO says 50 ms",))
    fake.keeper().fell_back()
    assert safe.startswith("1.0-")
    assert fake.active == "1.0"
    assert fake.journal.phase is Phase.FELL_BACK


def test_a_box_that_does_not_fit_is_refused_before_anything_is_written(
    fake: FakeBox, bundle: Bundles
) -> None:
    made = bundle()
    fake.problems = ("C library: expected glibc 2.99 or newer, found 2.36",)
    with pytest.raises(IncompatibleHost) as caught:
        fake.install(made)
    assert caught.value.problems == fake.problems
    assert not fake.prefix.objects.exists()


def test_site_settings_that_do_not_fit_are_refused_before_anything_is_written(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.settings_fail = BadSettings("threshold: 0.95, at most 0.9 is permitted")
    with pytest.raises(BadSettings):
        fake.install(bundle())
    assert not fake.prefix.objects.exists()


@pytest.mark.parametrize(
    ("seq", "said"), [(1, "is older than what this box committed"), (2, "is another release")]
)
def test_an_older_or_reused_sequence_is_a_downgrade(
    seq: int, said: str, fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle("2.0", 2))
    before = tree_hash(fake.prefix.root)
    with pytest.raises(Downgrade, match=said):
        fake.install(bundle("1.0", seq))
    assert fake.active == "2.0"
    assert tree_hash(fake.prefix.root) == before


def test_with_both_records_of_the_sequence_gone_the_installed_releases_are_the_witness(
    fake: FakeBox, bundle: Bundles
) -> None:
    fake.install(bundle("2.0", 2))
    for path in fake.prefix.sequences:
        path.unlink()
    with pytest.raises(Downgrade, match="is older than what this box committed, sequence 2"):
        fake.install(bundle("1.0", 1))


def test_a_release_that_is_not_committed_moves_no_sequence(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.is_served = True
    fake.install(bundle("3.0", 9))
    fake.keeper().fall_back(("bad",))
    fake.keeper().fell_back()
    assert fake.install(bundle("1.1", 2)).release.version == "1.1"


def test_a_floor_takes_effect_at_the_commit(fake: FakeBox, bundle: Bundles) -> None:
    """Until then the way back is open; after it the release below the floor must not come back."""
    fake.install(bundle())
    fake.is_served = True
    second = fake.install(bundle("1.1", 2)).release
    document = second.tree / "release.json"
    raw = document.read_bytes().replace(b'"floor_seq":0', b'"floor_seq":2')
    document.chmod(0o644)
    document.write_bytes(raw)
    with exclusive(fake.prefix, "commit"):
        fake.keeper().commit()
    with pytest.raises(Downgrade, match="below the floor 2"):
        return_to(find_release(fake.prefix, "fraud", "1.0"), fake.box())
    assert fake.active == "1.1"
    assert fake.journal.phase is Phase.COMMITTED


def test_a_release_installed_before_comes_back_as_by_a_rollback(fake: FakeBox, bundle: Bundles) -> None:
    old = bundle()
    fake.install(old)
    fake.install(bundle("1.1", 2))
    assert fake.install(old).outcome is Outcome.RETURNED
    assert fake.active == "1.0"


def test_a_rollback_goes_back_and_again_goes_forward(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.install(bundle("1.1", 2))
    fake.is_served = True
    for expected in ("1.0", "1.1"):
        report = return_to(release_to_return_to(fake.keeper()), fake.box())
        assert (report.outcome, fake.active) == (Outcome.RETURNED, expected)


def test_a_rollback_with_nothing_behind_says_so(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    with pytest.raises(NotInstalled, match="no older release to go back to"):
        release_to_return_to(fake.keeper())


def test_two_committed_releases_are_kept_and_older_ones_go(fake: FakeBox, bundle: Bundles) -> None:
    for number in range(1, 5):
        report = fake.install(bundle(f"1.{number}", number))
    assert report.pruned.versions == ("1.1",)
    assert report.pruned.size == 3
    assert [release.version for release in installed_releases(fake.prefix, "fraud")] == ["1.4", "1.3", "1.2"]
    assert orphans(fake.prefix) == []


def test_a_staged_newer_release_is_not_pruned(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle("1.1", 1))
    fake.stage(bundle("1.9", 9))
    for number in range(2, 5):
        fake.install(bundle(f"1.{number}", number))
    assert "1.9" in [release.version for release in installed_releases(fake.prefix, "fraud")]


def test_a_release_can_be_given_up_but_not_the_active_one(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.install(bundle("1.1", 2))
    with pytest.raises(StoreError, match="was not removed: it is active"):
        remove(fake.keeper(), find_release(fake.prefix, "fraud", "1.1"), is_served=False)
    removed = remove(fake.keeper(), find_release(fake.prefix, "fraud", "1.0"), is_served=False)
    assert removed.size == 3
    assert orphans(fake.prefix) == []
    assert latest(fake.prefix.ledger, "fraud")[-1].event == "remove"


def test_what_a_watched_release_would_fall_back_to_stays(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.is_served = True
    fake.install(bundle("1.1", 2))
    with pytest.raises(StoreError, match="a watched release would fall back to it"):
        remove(fake.keeper(), find_release(fake.prefix, "fraud", "1.0"), is_served=True)


def test_the_last_release_goes_with_its_service_when_nobody_serves_it(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    removed = remove(fake.keeper(), find_release(fake.prefix, "fraud", "1.0"), is_served=False)
    assert removed.was_last
    assert fake.prefix.services() == ()
    assert orphans(fake.prefix) == []


def test_a_damaged_object_stops_the_install_and_is_not_kept(fake: FakeBox, bundle: Bundles) -> None:
    made = bundle()
    entry = dict(made.files())["application/models/m/model.onnx"]
    path = Path(made.bundle.source.name) / "objects" / entry.sha256[:2] / entry.sha256
    path.write_bytes(b"X" * entry.size)
    with pytest.raises(DigestMismatch):
        fake.install(made)
    assert not store_of(fake.prefix).path(entry).exists()
    assert fake.prefix.services() == ()


def test_a_bad_object_takes_those_before_it_out_again(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    before = tree_hash(fake.prefix.root)
    files = {**FILES, **{f"application/more/{number}": bytes([number] * 9) for number in range(9)}}
    made = bundle("1.1", 2, files=files)
    last = dict(made.files())["application/more/8"]
    (Path(made.bundle.source.name) / "objects" / last.sha256[:2] / last.sha256).write_bytes(b"X" * last.size)
    with pytest.raises(DigestMismatch):
        fake.install(made)
    assert tree_hash(fake.prefix.root) == before


def test_an_object_that_rotted_on_the_disk_is_brought_in_again(fake: FakeBox, bundle: Bundles) -> None:
    first = bundle()
    fake.install(first)
    store, entry = store_of(fake.prefix), dict(first.files())["runtime/boot.py"]
    path = store.path(entry)
    path.chmod(0o644)
    path.write_bytes(b"X" * entry.size)
    second = fake.install(bundle("1.1", 2)).release
    assert (second.tree / "runtime" / "boot.py").read_bytes() == FILES["runtime/boot.py"]
    assert store.is_whole(entry)


def test_a_tree_whose_name_was_made_to_collide_is_not_taken_for_the_release(
    fake: FakeBox, bundle: Bundles
) -> None:
    old = fake.install(bundle()).release
    made = bundle("1.1", 2)
    old.tree.rename(old.tree.with_name(f"1.1-{made.identity[:8]}"))
    with pytest.raises(StoreError, match="holds another release"):
        fake.install(made)
    assert fake.seen == ["check 1.0"]


def test_a_second_command_is_told_who_holds_the_prefix(fake: FakeBox) -> None:
    with (
        exclusive(fake.prefix, "install"),
        pytest.raises(Locked) as caught,
        exclusive(fake.prefix, "install", wait_s=0.0),
    ):
        pass
    assert f"is held by install (process {os.getpid()})" in caught.value.message


def test_a_rollback_does_not_wait_for_an_install_of_another_service(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.install(bundle("1.1", 2))
    fake.is_served = True
    with exclusive(fake.prefix, "install of credit"):
        return_to(release_to_return_to(fake.keeper()), fake.box())
    assert fake.active == "1.0"


def test_two_turns_of_one_service_do_not_cross(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    with (
        turning(fake.prefix, "fraud", "a switch"),
        pytest.raises(Locked, match="is held by a switch"),
        turning(fake.prefix, "fraud", "a rollback", wait_s=0.0),
    ):
        pass


def test_the_prefix_has_a_command_of_its_own(fake: FakeBox, bundle: Bundles) -> None:
    active = fake.install(bundle()).release
    script = (fake.prefix.bin / "sealift").read_text()
    assert f"exec /usr/bin/python3 -I -S -B {active.tree}/runtime/boot.py" in script
    assert f"SEALIFT_PREFIX={fake.prefix.root}" in script


def test_every_move_is_in_the_log(fake: FakeBox, bundle: Bundles) -> None:
    fake.install(bundle())
    fake.is_served = True
    fake.install(bundle("1.1", 2))
    fake.keeper().fall_back(("5 of 9 requests failed",))
    fake.keeper().fell_back()
    found = [(record.event, record.facts["version"]) for record in latest(fake.prefix.ledger, "fraud")]
    assert found == [("activate", "1.0"), ("commit", "1.0"), ("activate", "1.1"), ("fell_back", "1.0")]


def test_a_disk_that_fills_between_current_and_journal_turns_neither(
    fake: FakeBox, bundle: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.install(bundle())
    keeper = fake.keeper()
    release = fake.stage(bundle("1.1", 2))
    keeper.begin(release.tree.name, back=False)

    def full(*_: object) -> None:
        raise NoSpace("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("sealift.install.keeper.write_journal", full)
        with pytest.raises(NoSpace):
            keeper.turned(release.tree.name)
    assert fake.active == "1.0"
    assert fake.journal.phase is Phase.TURNING
    assert finish_turn(keeper) == "fraud: the switch to 1.1 was cut off before anything changed"
    assert keeper.journal.phase is Phase.NOT_ACTIVATED
