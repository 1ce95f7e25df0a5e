"""The demo goes on where nothing is better, and fails where the box has anything else than what was measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.demo.played import MODEL, Played, demo, measured, spaced

from sealift.demo.journey import DemoOptions
from sealift.errors import SealiftError

pytestmark = pytest.mark.usefixtures("small_material")


def test_it_is_measured_before_each_bundle_as_a_user_would(played: Played) -> None:
    demo(played)
    asked = [words for words in played.shown if words[0] in ("optimize", "pack")]
    assert [words[0] for words in asked] == ["optimize", "pack"] * 3
    assert all(words == ["optimize", "project", "--quick"] for words in asked[::2])


def test_the_story_names_the_file_that_answers(played: Played) -> None:
    _, story = demo(played)
    digest = hashlib.sha256(MODEL).hexdigest()[:12]
    assert "$ sealift optimize project --quick" in story.splitlines()
    story = spaced(story)
    assert story.count(f"is the file that was measured, int8-static: sha256:{digest}...") == 2
    assert "2 of 2 answers are those of that file in process, to the last digit" in story
    assert "model.onnx 1 8.0 what travels of it, int8-static 1 2.0 layer" in story


def test_a_machine_on_which_nothing_is_better_is_told_so_and_the_demo_goes_on(played: Played) -> None:
    played.report = measured("fp32")
    code, story = demo(played)
    assert code == 0
    assert spaced(story).count("nothing that was tried is better on this machine") == 3
    assert "model.onnx 1 8.0 layer" in spaced(story)


def test_another_file_on_the_box_than_the_one_that_was_measured_fails_the_demo(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.demo.played.MODEL", MODEL[:-1] + b"?")
    with pytest.raises(SealiftError, match="another model than the one that was measured") as caught:
        demo(played)
    expected, found = (hashlib.sha256(each).hexdigest()[:12] for each in (MODEL, MODEL[:-1] + b"?"))
    assert caught.value.problems == (f"measured {expected}...", f"installed {found}...")
    assert played.stopped == 1


def test_an_answer_that_the_measured_file_does_not_give_fails_the_demo(played: Played) -> None:
    played.in_process["coffee.png"] = 968
    with pytest.raises(SealiftError, match="other than what was measured") as caught:
        demo(played)
    assert caught.value.problems == (
        "project/data/golden/coffee.png: label 967 0.750000 on the box, label 968 0.750000 in process",
    )
    assert played.stopped == 1


def test_the_callers_own_photos_are_not_held_to_it(played: Played, tmp_path: Path) -> None:
    """Other versions of the decoders may read a pixel otherwise, and turn a photo between two classes."""
    own = tmp_path / "mine.jpg"
    own.write_bytes(b"anything")
    played.in_process[str(own)] = 4
    code, story = demo(played, DemoOptions(photos=(own,)))
    assert code == 0
    assert "2 of 2 answers are those of that file" in spaced(story)


def test_optimize_that_leaves_no_report_is_an_error(played: Played, small_material: Path) -> None:
    played.report = None
    with pytest.raises(SealiftError, match=r"left no report: .*lite0/report.json: No such file"):
        demo(played)
    assert list(small_material.iterdir()) == []
