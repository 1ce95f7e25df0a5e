"""`install FOLDER`, one medium at a time: what is here comes in, what fails is named, nothing is lost."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from tests.install.scene import orphans
from tests.killing import tiny
from tests.killing.forks import Forks
from tests.made_bundles import Signer, make_signer, tree_hash
from tests.made_volumes import DyingMedium, flip, write_volumes
from tests.tool.small_tools import Tools

from sealift.bundle.volumes import Volumes, read_volume
from sealift.cli import main, receiving
from sealift.store.prefix import Prefix, private
from sealift.store.receiving import read_receiving
from sealift.store.releases import installed_releases

pytestmark = pytest.mark.slow

BLOB = random.Random(3).randbytes(280_000)
"""Nothing compresses it: it lies in several volumes."""
WORDS = random.Random(5).randbytes(110_000).hex().encode()
"""Compressed to half, it still crosses a cut."""
SPAN = 120_000


def files(version: str) -> Mapping[str, bytes]:
    more = {"application/blob": BLOB, "application/words": WORDS, "application/empty": b""}
    return {**tiny.files(version), **more, "application/own": random.Random(version).randbytes(150_000)}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """The bundle whole, and five volumes of it in `volumes/`."""
    folder = tmp_path_factory.mktemp("shelf")
    bundle = tiny.bundle(folder, signer, "1", files("1"))
    paths = write_volumes(folder / "volumes", bundle, SPAN)
    stream = Volumes([read_volume(path) for path in paths]).stream
    holders = [len(stream.numbers(sha256(data).hexdigest())) for data in (BLOB, WORDS, b"")]
    assert (len(paths), holders) == (5, [3, 2, 0])
    return folder


class Scene:
    """A box, and a place where media are put."""

    def __init__(self, folder: Path, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.prefix: Prefix = private(folder / "box")
        self.usb = folder / "usb"
        self.usb.mkdir()
        self.shelf = shelf
        self._capsys = capsys
        self.error = self.out = ""

    def put(self, *numbers: int) -> list[Path]:
        """The medium with these volumes, and nothing else."""
        shutil.rmtree(self.usb)
        self.usb.mkdir()
        return [Path(shutil.copy(self.shelf / "volumes" / name(number), self.usb)) for number in numbers]

    def install(self, *more: str, place: Path | None = None) -> int:
        trust = ["--trust", str(self.shelf / "root.json")]
        return self.run("install", str(place or self.usb), *trust, *more)

    def run(self, *argv: str) -> int:
        code = main.run([*argv, "--prefix", str(self.prefix.root)])
        self.out, self.error = self._capsys.readouterr()
        return code

    @property
    def received(self) -> set[int]:
        record = read_receiving(self.prefix)
        return set(record.received) if record is not None else set()

    def is_whole_and_clean(self) -> None:
        assert tiny.wholeness(self.prefix) == "1"
        assert not self.prefix.receiving.exists()
        assert not self.prefix.partials.exists()


def name(number: int) -> str:
    return f"fraud-1.0.v{number:02}-of-05.sealift"


@pytest.fixture
def scene(tmp_path: Path, shelf: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    return Scene(tmp_path, shelf, capsys)


@pytest.mark.parametrize("order", [[1, 2, 3, 4, 5], [4, 2, 1, 5, 3], [5, 3, 4, 2, 1]])
def test_volumes_come_in_one_at_a_time_in_any_order(order: list[int], scene: Scene) -> None:
    for place, number in enumerate(order[:-1], start=1):
        scene.put(number)
        assert scene.install("--no-input") == 12
        left = sorted(order[place:])
        assert f"comes in 5 volumes, {len(left)} of them still to come" in scene.error
        assert [line.strip() for line in scene.error.splitlines() if line.startswith("  - ")] == [
            f"- volume {missing}: {name(missing)}" for missing in left
        ]
        assert f"bring the next medium, then sealift install {scene.usb} --trust" in scene.error
        assert scene.received == set(order[:place])
        assert scene.run("status") == 0, scene.error
        assert f"receiving fraud 1: {place} of 5 volumes" in scene.out
    scene.put(order[-1])
    assert scene.install("--no-input") == 0, scene.error
    scene.is_whole_and_clean()


def test_all_volumes_in_one_folder_are_installed_at_once(scene: Scene) -> None:
    scene.put(1, 2, 3, 4, 5)
    assert scene.install() == 0, scene.error
    scene.is_whole_and_clean()


def test_nothing_is_stored_twice_on_the_way(scene: Scene) -> None:
    """Objects, and what waits of objects: never more than the bundle's own bytes and one compressed object."""
    for number in (1, 2, 3):
        scene.put(number)
        assert scene.install("--no-input") == 12
        kept = [*scene.prefix.objects.rglob("*"), *scene.prefix.partials.rglob("*")]
        used = sum(path.stat().st_blocks * 512 for path in kept if path.is_file())
        assert used < number * SPAN + len(WORDS) + 4096 * len(kept)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, scene: Scene, *media: Callable[[], object]) -> list[str]:
    """A person who puts in one medium after the other, and presses Enter; what was asked."""
    asked: list[str] = []
    left = list(media)

    def ask(prompt: str) -> str:
        asked.append(prompt)
        if not left:
            raise EOFError
        left.pop(0)()
        return ""

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", ask)
    monkeypatch.setattr(receiving.received, "__defaults__", (ask,))
    monkeypatch.setattr("sealift.cli.install.confirm_fingerprint", lambda root, ask: None)
    return asked


def test_on_a_terminal_the_next_medium_is_asked_for_by_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put(2)
    asked = on_a_terminal(
        monkeypatch,
        scene,
        lambda: scene.put(2),  # the same one again
        lambda: shutil.rmtree(scene.usb),  # pulled, and Enter all the same
        lambda: scene.usb.mkdir(),
        lambda: scene.put(4, 1, 5),
        lambda: scene.put(3),
    )
    assert scene.install() == 0, scene.error
    assert len(asked) == 5
    assert f"put the next medium in {scene.usb}, then press Enter" in asked[0]
    assert "4 of 5 volumes still to come\n  volume 1: fraud-1.0.v01-of-05.sealift" in scene.error
    scene.is_whole_and_clean()


def test_a_person_who_goes_away_loses_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.put(2)
    on_a_terminal(monkeypatch, scene)
    assert scene.install() == 12
    assert scene.received == {2}


def test_a_damaged_volume_is_named_and_the_good_ones_stay(scene: Scene) -> None:
    paths = scene.put(1, 2, 3, 4, 5)
    flip(paths[2], -5000)
    assert scene.install("--no-input") == 22
    assert f"{paths[2]} (volume 3 of" in scene.error
    assert "is damaged: its bytes are not those that were written" in scene.error
    assert f"to come: volume 3: {name(3)}" in scene.error
    assert "copy what is damaged to the medium again, then sealift install" in scene.error
    assert scene.received == {1, 2, 4, 5}
    assert not installed_releases(scene.prefix, "fraud")
    scene.put(3)
    assert scene.install() == 0, scene.error
    scene.is_whole_and_clean()


@pytest.mark.parametrize("how", ["header", "documents", "truncated", "empty", "appended"])
def test_a_volume_that_is_none_any_more_is_named(how: str, scene: Scene) -> None:
    path = scene.put(1, 2)[1]
    if how == "header":
        flip(path, 3)
    elif how == "documents":
        flip(path, 2000)
    else:
        data = path.read_bytes()
        path.write_bytes({"truncated": data[:-100_000], "empty": b"", "appended": data + bytes(512)}[how])
    code = scene.install("--no-input")
    assert 10 <= code < 30
    assert str(path) in scene.error
    assert scene.received == {1}
    scene.put(2, 3, 4, 5)
    assert scene.install() == 0, scene.error
    scene.is_whole_and_clean()


def test_verify_names_every_damaged_volume_and_inspect_shows_the_whole_bundle(scene: Scene) -> None:
    paths = scene.put(1, 2, 3, 4, 5)
    trust = ["--trust", str(scene.shelf / "root.json")]
    assert scene.run("verify", str(scene.usb), *trust) == 0, scene.error
    assert "VERIFIED fraud 1 " in scene.out
    assert scene.run("inspect", str(paths[3]), *trust, "--files") == 0, scene.error
    assert sha256(BLOB).hexdigest() in scene.out
    flip(paths[1], -3000)
    flip(paths[4], -3000)
    assert scene.run("verify", str(scene.usb), *trust) == 22
    assert "2 volumes are damaged" in scene.error
    assert f"{paths[1]} (volume 2 of 5" in scene.error
    assert f"{paths[4]} (volume 5 of 5" in scene.error
    paths[0].unlink()
    assert scene.run("verify", str(scene.usb), *trust) == 12
    assert name(1) in scene.error


def test_of_a_volume_that_lies_there_twice_the_good_one_is_taken(scene: Scene) -> None:
    paths = scene.put(1, 2, 3, 4, 5)
    shutil.copy(paths[1], scene.usb / "copy.sealift")
    flip(scene.usb / "copy.sealift", -5000)
    assert (scene.usb / "copy.sealift") < paths[1]
    assert scene.install() == 0, scene.error
    scene.is_whole_and_clean()


def test_a_medium_that_dies_in_the_middle_is_named_and_taken_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put(1)
    assert scene.install("--no-input") == 12
    path = scene.put(2)[0]
    for good_bytes in (20_000, 100_000, 250_000):  # reading documents, the digest, and while it is copied
        medium = DyingMedium(monkeypatch, path.name, good_bytes)
        assert scene.install("--no-input") == 10
        assert "Input/output error" in scene.error
        assert scene.received == {1}
        medium.heal()
    scene.put(2, 3)
    assert scene.install("--no-input") == 12
    scene.put(4, 5)
    assert scene.install() == 0, scene.error
    scene.is_whole_and_clean()


def test_volumes_of_two_bundles_on_one_medium_are_refused_before_a_byte(
    scene: Scene, shelf: Path, signer: Signer, tmp_path: Path
) -> None:
    other = tiny.bundle(tmp_path / "other", signer, "2", files("2"))
    scene.put(1, 2, 4, 5)
    write_volumes(tmp_path / "cut", other, SPAN, "fraud-2.0")
    shutil.copy(tmp_path / "cut" / "fraud-2.0.v03-of-05.sealift", scene.usb)
    before = tree_hash(scene.prefix.root, but_the_log=True)
    assert scene.install("--no-input") == 11
    assert "volumes of several bundles lie there together" in scene.error
    assert "fraud-2.0.v03-of-05.sealift: volume 3 of 5 of" in scene.error
    assert tree_hash(scene.prefix.root, but_the_log=True) == before


@pytest.mark.parametrize("what", ["bundle", "cut"])
def test_volumes_of_another_set_do_not_mix_with_what_came_in(
    what: str, scene: Scene, shelf: Path, signer: Signer, tmp_path: Path
) -> None:
    scene.put(1, 2)
    assert scene.install("--no-input") == 12
    other = (
        tiny.bundle(tmp_path / "other", signer, "2", files("2")) if what == "bundle" else shelf / "bundle-1-1"
    )
    cut = write_volumes(tmp_path / "cut", other, SPAN if what == "bundle" else SPAN - 1, "x")
    before = tree_hash(scene.prefix.root, but_the_log=True)
    assert scene.install("--no-input", place=tmp_path / "cut") == 40
    assert "fraud 1: 2 of 5 volumes are here, and these are volumes of fraud" in scene.error
    assert "give it up: the same command with --forget" in scene.error
    assert tree_hash(scene.prefix.root, but_the_log=True) == before
    assert scene.install("--forget", place=cut[0].parent) == 0, scene.error
    assert not scene.prefix.receiving.exists()


def test_a_stranger_on_a_later_medium_is_named(scene: Scene, signer: Signer, tmp_path: Path) -> None:
    other = tiny.bundle(tmp_path / "other", signer, "2", files("2"))
    stray = write_volumes(tmp_path / "cut", other, SPAN, "fraud-2.0")[2]
    path = scene.put(1, 2, 4, 5)[0]
    shutil.copy(stray, scene.usb)
    assert scene.install("--no-input", place=path) == 10
    assert f"{scene.usb / stray.name} is volume 3 of 5 of" in scene.error
    assert "another bundle than fraud 1, or another cut" in scene.error
    assert scene.received == {1, 2, 4, 5}


def test_what_came_in_survives_the_sweep_of_another_release(
    scene: Scene, signer: Signer, tmp_path: Path
) -> None:
    """A commit gives space back; what is being received is nobody's release yet, and stays."""
    scene.put(1, 2, 3)
    assert scene.install("--no-input") == 12
    other = tiny.bundle(tmp_path / "other", signer, "9", tiny.files("9"))
    before = {path for path in scene.prefix.objects.rglob("*") if path.is_file()}
    from sealift.store.sweep import sweep

    assert sweep(scene.prefix).objects == 0
    assert {path for path in scene.prefix.objects.rglob("*") if path.is_file()} == before
    assert scene.install(place=other) == 0, scene.error  # of the same product: the volumes are given up
    assert not scene.prefix.receiving.exists()
    assert not scene.prefix.partials.exists()
    assert len([path for path in before if path.exists()]) < len(before)  # its commit gave them back
    assert tiny.wholeness(scene.prefix) == "9"


def test_a_box_asks_only_for_the_volumes_that_bring_something_new(
    scene: Scene, signer: Signer, tmp_path: Path
) -> None:
    assert scene.install(place=scene.shelf / "bundle-1-1") == 0, scene.error
    other = tiny.bundle(tmp_path / "other", signer, "2", files("2"))
    write_volumes(tmp_path / "cut", other, 20_000, "fraud-2.0")
    first = tmp_path / "cut" / "fraud-2.0.v01-of-29.sealift"
    count = len(list(first.parent.iterdir()))
    scene.put()
    shutil.copy(next(first.parent.iterdir()), scene.usb)
    assert scene.install("--no-input") == 12
    asked = sum(line.startswith("  - volume") for line in scene.error.splitlines())
    assert 0 < asked < count // 2


@pytest.mark.parametrize("what", ["partial", "gone", "object"])
def test_what_rots_on_the_box_while_it_waits_is_asked_for_again(what: str, scene: Scene) -> None:
    scene.put(1, 2)
    assert scene.install("--no-input") == 12
    if what == "object":
        victim = next(
            path
            for path in sorted(scene.prefix.objects.rglob("*"))
            if path.stat().st_size > 5000 and path.is_file()
        )
        victim.chmod(0o644)
        flip(victim, 100)
    else:
        victim = next(iter(scene.prefix.partials.iterdir()))
        flip(victim, 100) if what == "partial" else victim.unlink()
    scene.put(3, 4, 5)
    assert scene.install("--no-input") in (12, 22)
    scene.put(1, 2, 3, 4, 5)
    assert scene.install("--no-input") == 0, scene.error
    scene.is_whole_and_clean()


def test_an_unknown_signer_s_volume_is_refused_before_a_byte(
    scene: Scene, tmp_path: Path, shelf: Path
) -> None:
    other = tiny.bundle(tmp_path / "other", make_signer(), "1", files("1"))
    scene.put(1)
    assert scene.install("--no-input") == 12
    before = tree_hash(scene.prefix.root, but_the_log=True)
    strange = write_volumes(tmp_path / "cut", other, SPAN)
    scene.put()
    shutil.copy(strange[1], scene.usb)
    assert 20 <= scene.install("--no-input") < 30
    assert tree_hash(scene.prefix.root, but_the_log=True) == before


def test_no_room_is_said_before_a_byte(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.statvfs

    class Full:
        def __init__(self, path: object) -> None:
            self._facts = real(path)  # type: ignore[arg-type]

        def __getattr__(self, key: str) -> int:
            return 10 if key == "f_bavail" else int(getattr(self._facts, key))

    monkeypatch.setattr(os, "statvfs", Full)
    scene.put(1)
    assert scene.install("--no-input") == 32
    assert not scene.prefix.receiving.exists()
    assert not list(scene.prefix.objects.rglob("*"))


def test_a_plan_of_some_volumes_changes_nothing(scene: Scene) -> None:
    scene.put(3)
    assert scene.install("--dry-run") == 0, scene.error
    assert not scene.prefix.root.exists() or not scene.prefix.receiving.exists()


@pytest.mark.parametrize(("had", "now", "every"), [((), (3,), 2), ((3,), (1, 2), 2), ((3, 1, 2), (4, 5), 5)])
def test_a_kill_after_any_durable_step_loses_nothing(
    had: tuple[int, ...], now: tuple[int, ...], every: int, scene: Scene, tmp_path: Path
) -> None:
    """While volumes come in, and while the last ones become a release; then the same command again, and the rest."""
    argv: list[str | Path] = ["install", scene.usb, "--trust", scene.shelf / "root.json"]
    argv += ["--no-input", "--prefix", scene.prefix.root]
    (scene.prefix.root / "state").mkdir(parents=True)
    rest = [number for number in (1, 2, 3, 4, 5) if number not in {*had, *now}]
    with Forks(tmp_path) as forks:
        for number in had:
            scene.put(number)
            assert forks.run(*argv).code == 12
        copy_whole(scene.prefix.root, tmp_path / "template")
        scene.put(*now)
        steps = forks.run(*argv).steps
        assert len(steps) > 5
        for kill_at in range(1, len(steps) + 1, every):
            copy_whole(tmp_path / "template", scene.prefix.root)
            scene.put(*now)
            assert forks.run(*argv, kill_at=kill_at).code == -9
            again = forks.run(*argv)
            assert again.code == (12 if rest else 0), f"killed after {steps[kill_at - 1]}: {again.said}"
            if rest:
                scene.put(*rest)
                last = forks.run(*argv)
                assert last.code == 0, f"killed after {steps[kill_at - 1]}: {last.said}"
            scene.is_whole_and_clean()
            assert orphans(scene.prefix) == [], steps[kill_at - 1]


def copy_whole(template: Path, destination: Path) -> None:
    """Partials are written in place: no hard links."""
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(template, destination, symlinks=True)


def test_sealifts_own_update_wants_all_its_volumes_at_once_and_changes_nothing_without(scene: Scene) -> None:
    tools = Tools(scene.usb.parent)
    packed = tools.pack(files={"runtime/blob": BLOB})
    paths = write_volumes(scene.usb.parent / "cut", packed.path, SPAN)
    assert len(paths) > 2
    shutil.copy(paths[0], scene.usb)
    root = scene.usb.parent / "tool-root.json"
    root.write_bytes(tools.signer.signed.encode())
    assert scene.run("install", str(scene.usb), "--trust", str(root), "--no-input") == 12
    assert f"{len(paths) - 1} of {len(paths)} volumes are not here" in scene.error
    assert all(path.name in scene.error for path in paths[1:])
    assert not scene.prefix.root.exists()
