"""The journey's order, its failures and its leavings, with a command line that is only played."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.demo.played import Played, demo, spaced

from sealift.demo import first_act, project
from sealift.demo.commands import Completed
from sealift.demo.journey import DemoOptions
from sealift.demo.material import Material
from sealift.demo.namespace import OfflineState
from sealift.errors import HostError, NotServing, SealiftError, UsageError

pytestmark = pytest.mark.usefixtures("small_material")


def test_the_box_side_runs_inside_the_gap_and_the_rest_outside(played: Played) -> None:
    code, _ = demo(played)
    assert code == 0
    first = ["optimize", "keys", "pack", "inspect"]
    there = ["install", "serve", "wait", "predict", "predict"]
    in_process = ["predict"]
    asked = ["time", "status"]
    update = ["optimize", "pack", "inspect", "config", "traffic", "install"]
    bad = ["optimize", "pack", "traffic", "install", "status"]
    back = ["traffic", "rollback", "activate", "status"]
    assert played.ran == [*first, *there, *in_process, *asked, *update, *bad, *back]
    assert played.inside == [
        *there, *asked, "config", "traffic", "install", "traffic", "install", "status", *back
    ]  # fmt: skip
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
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "project", "usb", "desk", "box", "grey", "passphrase", "traffic-flows"
    }  # fmt: skip
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


@pytest.mark.parametrize(
    "verb",
    [
        "optimize",
        "keys",
        "pack",
        "inspect",
        "install",
        "predict",
        "time",
        "status",
        "config",
        "rollback",
        "activate",
    ],
)
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
    monkeypatch.setattr(first_act, "READY_WITHIN_S", -1)
    with pytest.raises(NotServing, match="did not answer 200"):
        demo(played)
    assert played.stopped >= 1


@pytest.mark.parametrize("verb", ["optimize", "pack", "install", "predict", "config", "rollback"])
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
def test_the_real_demo_runs_from_the_weights_to_the_rollback(wheels: Path) -> None:
    """The real command line, wheels, bundles and server; answers and failures are checked by the demo itself."""
    done = subprocess.run(
        [sys.executable, "-m", "sealift", "demo"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiger cat (282)" in done.stdout
    assert "espresso (967)" in done.stdout
    assert "6 of 6 answers are those of that file in process" in done.stdout
    assert "1.2.0 was active, was bad, and was taken back; 1.1.0 serves again" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
