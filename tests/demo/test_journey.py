"""The journey's order, its failures and its leavings, with a command line that is only played."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sealift.bundle.documents import LAYERS, LayerRef, Release
from sealift.demo import journey, project
from sealift.demo import material as wheels_of
from sealift.demo.commands import Background, Completed
from sealift.demo.journey import DemoOptions, Parts, run_demo
from sealift.demo.material import Material
from sealift.demo.namespace import OfflineState
from sealift.errors import HostError, NotServing, SealiftError, UsageError

CLASSES = {"chelsea.png": 282, "coffee.png": 967, "mine.jpg": 3}
RELEASE = Release(
    product="lite0", version="1.0.0", seq=1, floor_seq=0, min_sealift="0", created="2026-11-22T00:00:00Z",
    target={}, layers={name: LayerRef("0" * 64, 1, 1_000_000) for name in LAYERS}, checks={}, provenance={},
    total_size=3_000_000,
)  # fmt: skip


@dataclass
class Played:
    """A command line that answers as the real one does, and remembers what it was asked."""

    folder: Path = Path()
    classes: dict[str, int] = field(default_factory=lambda: dict(CLASSES))
    fails: dict[str, Completed] = field(default_factory=dict)
    interrupt_at: str = ""
    dies_while_starting: bool = False
    ran: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    stopped: int = 0
    secret_mode: int = 0
    left: bool = False

    def __call__(self, folder: Path) -> Played:
        self.folder = folder
        return self

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True
        if "serve" in self.ran and not self.stopped:
            self.stop()

    def run(self, argv: Sequence[str], *, live: bool = False) -> Completed:
        verb = self._note(argv)
        if verb == self.interrupt_at:
            raise KeyboardInterrupt
        if verb in self.fails:
            return self.fails[verb]
        if verb == "wait":
            return Completed(1 if self.dies_while_starting else 0, "", "", 0.1)
        return Completed(0, self._output(verb, argv), "", 1.5)

    def start(self, argv: Sequence[str]) -> Background:
        self._note(argv)
        return self

    def ended(self) -> Completed | None:
        return Completed(-signal.SIGKILL, "", "worker ended", 0.5) if self.dies_while_starting else None

    def stop(self) -> Completed:
        self.stopped += 1
        return self.ended() or Completed(0, "", "", 3.0)

    def _note(self, argv: Sequence[str]) -> str:
        is_inside = argv[0] == "inside"
        verb: str = argv[4 if is_inside else 3]
        self.ran.append(verb)
        if is_inside:
            self.inside.append(verb)
        return verb

    def _output(self, verb: str, argv: Sequence[str]) -> str:
        photos = [word for word in argv if word.endswith((".png", ".jpg"))]
        if verb == "time":
            return json.dumps(dict.fromkeys(photos, 6.54))
        if verb == "predict" and "--json" in argv:
            found = [self.classes.get(photo, self.classes.get(Path(photo).name, 3)) for photo in photos]
            answers = [
                {"prediction": index, "label": f"label {index}", "probabilities": [{"probability": 0.75}]}
                for index in found
            ]
            return json.dumps({"schema": 1, "answers": answers})
        if verb == "pack":
            self.secret_mode = stat.S_IMODE((self.folder / "passphrase").stat().st_mode)
            (self.folder / "usb" / "release.json").write_bytes(RELEASE.encode())
        if verb == "install":
            (self.folder / "box").mkdir()
            (self.folder / "box" / "one").write_bytes(bytes(2_000_000))
            (self.folder / "box" / "two").hardlink_to(self.folder / "box" / "one")
        return f"{verb} says hello\n"


@dataclass
class PlayedGap:
    state: OfflineState

    def wrap(self, argv: Sequence[str]) -> list[str]:
        return ["inside", *argv] if self.state.entered else list(argv)


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture(autouse=True)
def small_material(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two photos and no download; the temporary folder is watched."""
    found = Material(b"", ("a", "b"), {"chelsea.png": b"c", "coffee.png": b"c"}, ("credit",))
    monkeypatch.setattr(wheels_of, "fetch_wheels", lambda cache: None)
    monkeypatch.setattr(wheels_of, "read_material", lambda cache: found)
    monkeypatch.setattr(project, "build_model", lambda parts: b"onnx")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def demo(
    played: Played, options: DemoOptions | None = None, state: OfflineState | None = None
) -> tuple[int, str]:
    @contextmanager
    def gap() -> Iterator[PlayedGap]:
        yield PlayedGap(state or OfflineState(True, "network namespace"))

    out = io.StringIO()
    code = run_demo(options or DemoOptions(), out, Parts(runner=played, gap=gap))
    return code, out.getvalue()


def spaced(story: str) -> str:
    """The story in one line, words one space apart."""
    return " ".join(story.split())


def test_the_box_side_runs_inside_the_gap_and_the_rest_outside(played: Played) -> None:
    code, _ = demo(played)
    assert code == 0
    before = ["keys", "pack", "inspect"]
    box = ["install", "serve", "wait", "predict", "predict", "time", "status"]
    assert played.ran == before + box
    assert played.inside == box
    assert played.stopped == 1


def test_the_story_shows_commands_answers_sizes_and_times(played: Played) -> None:
    _, story = demo(played)
    lines = story.splitlines()
    assert max(map(len, lines)) <= 100
    assert "$ sealift install usb --prefix box --trust keys/root.json --no-input" in lines
    assert "  install says hello" in lines
    story = spaced(story)
    assert "chelsea.png label 282 (282) 75.0% 6.5" in story
    assert "layer runtime 1 1.0" in story
    assert "the box's prefix, hard links once 1 2.0" in story
    assert "pack 1.5" in story
    assert "loopback is the only interface" in story


def test_a_machine_without_namespaces_is_told_so_and_the_demo_goes_on(played: Played) -> None:
    code, story = demo(played, state=OfflineState(False, "Operation not permitted (EPERM)"))
    assert code == 0
    assert "allows no network namespace (Operation not permitted (EPERM))" in spaced(story)
    assert "WITHOUT that proof" in spaced(story)
    assert played.inside == []


def test_nothing_is_left_behind(played: Played, small_material: Path) -> None:
    demo(played)
    assert list(small_material.iterdir()) == []


def test_keep_leaves_everything_and_the_passphrase_is_private(played: Played, tmp_path: Path) -> None:
    code, story = demo(played, DemoOptions(keep=tmp_path / "kept"))
    assert code == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"project", "usb", "box", "passphrase"}
    assert played.secret_mode == 0o600
    assert f"kept in {tmp_path / 'kept'}" in story


def test_a_folder_with_something_in_it_is_not_used(played: Played, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        demo(played, DemoOptions(keep=tmp_path))
    with pytest.raises(HostError, match="Not a directory"):
        demo(played, DemoOptions(keep=tmp_path / "mine.txt" / "kept"))
    assert played.ran == []


def test_the_callers_own_photos_are_classified_and_never_judged(played: Played, tmp_path: Path) -> None:
    """Not even one that is named like one of the demo's own."""
    photos = (tmp_path / "mine.jpg", tmp_path / "coffee.png")
    for photo in photos:
        photo.write_bytes(b"anything")
    played.classes[str(photos[1])] = 4
    code, story = demo(played, DemoOptions(photos=photos))
    assert code == 0
    assert "mine.jpg label 3 (3) 75.0% 6.5" in spaced(story)
    assert "coffee.png label 4 (4) 75.0% 6.5" in spaced(story)


def test_missing_photos_are_all_named_before_anything_starts(played: Played, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        demo(played, DemoOptions(photos=(tmp_path / "a.jpg", tmp_path / "b.jpg")))
    assert caught.value.problems == (f"{tmp_path}/a.jpg: no such file", f"{tmp_path}/b.jpg: no such file")
    assert played.ran == []


@pytest.mark.parametrize(("photo", "index"), [("chelsea.png", 967), ("coffee.png", 968)])
def test_a_wrong_answer_fails_the_demo(photo: str, index: int, played: Played, small_material: Path) -> None:
    played.classes[photo] = index
    with pytest.raises(SealiftError, match=rf"{photo} came out as label {index}"):
        demo(played)
    assert played.stopped == 1
    assert list(small_material.iterdir()) == []


@pytest.mark.parametrize("verb", ["keys", "pack", "inspect", "install", "predict", "time", "status"])
def test_a_failing_command_is_shown_and_its_exit_code_is_the_demos(
    verb: str, played: Played, small_material: Path
) -> None:
    played.fails[verb] = Completed(31, "half of it\n", "sealift: why it failed\n", 0.1)
    code, story = demo(played)
    assert code == 31
    assert "  half of it\nsealift: why it failed\nthe command above failed with exit code 31" in story
    assert played.stopped == (1 if "serve" in played.ran else 0)
    assert list(small_material.iterdir()) == []


def test_a_server_that_dies_while_starting_is_noticed_at_once(played: Played) -> None:
    played.dies_while_starting = True
    code, story = demo(played)
    assert code == 128 + signal.SIGKILL
    assert "worker ended" in story
    assert played.ran.count("wait") == 1


def test_a_server_that_never_becomes_healthy_is_given_up(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journey, "_READY_WITHIN_S", -1)
    with pytest.raises(NotServing, match="did not answer 200"):
        demo(played)
    assert played.stopped >= 1


@pytest.mark.parametrize("verb", ["pack", "install", "predict"])
def test_ctrl_c_stops_the_server_and_leaves_nothing(verb: str, played: Played, small_material: Path) -> None:
    played.interrupt_at = verb
    code, story = demo(played)
    assert code == 130
    assert "has been ended" in story
    assert played.left
    assert played.stopped == (1 if "serve" in played.ran else 0)
    assert list(small_material.iterdir()) == []


def test_sigterm_unwinds_like_ctrl_c_and_its_old_meaning_returns(
    played: Played, monkeypatch: pytest.MonkeyPatch, small_material: Path
) -> None:

    def terminate(parts: Material) -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return b""

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(project, "build_model", terminate)
    code, _ = demo(played)
    assert code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(small_material.iterdir()) == []


def test_output_of_predict_that_is_no_class_is_said_to_be_so(played: Played) -> None:
    played.fails["predict"] = Completed(0, '{"schema": 1, "prediction": [0.5]}', "", 0.1)
    with pytest.raises(SealiftError, match="printed no class"):
        demo(played)


@pytest.mark.slow
def test_the_real_demo_runs_from_the_weights_to_the_status_screen(wheels: Path) -> None:
    """The real command line, wheels, bundle and server; the answers are checked by the demo itself."""
    done = subprocess.run(
        [sys.executable, "-m", "sealift", "demo"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiger cat (282)" in done.stdout
    assert "espresso (967)" in done.stdout
