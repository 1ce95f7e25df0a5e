"""The second act holds the service to its promises: what the client saw decides, not what a command says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tests.demo.played import BAD, MONTHLY, Played, answered, demo, failing, reported, spaced

from sealift.demo import witness
from sealift.demo.commands import Completed
from sealift.demo.journey import DemoOptions
from sealift.errors import SealiftError

pytestmark = pytest.mark.usefixtures("small_material")
FIRST_CAT, SECOND_CAT = ("chelsea.png", (282, 0.4)), ("chelsea.png", (282, 0.6))


def test_each_later_bundle_is_a_delta_from_the_first_alone_on_the_medium(
    played: Played, tmp_path: Path
) -> None:
    demo(played, DemoOptions(keep=tmp_path / "kept"))
    packs = [words for words in played.shown if words[0] == "pack"]
    assert ["--from" in words for words in packs] == [False, True, True]
    assert {words[words.index("--from") + 1] for words in packs[1:]} == {"desk/lite0-1.0.0.sealift"}
    assert [path.name for path in (tmp_path / "kept" / "usb").iterdir()] == ["lite0-1.2.0.sealift"]


def test_the_project_is_changed_as_the_story_says(played: Played, tmp_path: Path) -> None:
    _, story = demo(played, DemoOptions(keep=tmp_path / "kept"))
    project = tomllib.loads((tmp_path / "kept" / "project" / "sealift.toml").read_text())
    assert project["project"]["version"] == BAD
    assert project["handler"] == {"module": "handler.py"}
    assert (tmp_path / "kept" / "project" / "model.onnx").read_bytes() == b"tuned"
    story = spaced(story)
    assert "pylock.toml: simplejpeg 1.8.2 -> 1.9.0, tifffile 2026.2.24 -> 2026.3.3" in story
    assert "1,280,991 weights moved, loss 1.87 -> 1.65" in story


def test_the_watch_is_made_short_before_the_update(played: Played) -> None:
    demo(played)
    [config] = [words for words in played.shown if words[0] == "config"]
    assert config[1:5] == ["set", "lite0", "watch.window_s=5", "watch.requests=100"]


def test_what_the_client_saw_is_told_in_tables(played: Played) -> None:
    code, story = demo(played)
    assert code == 0
    story = spaced(story)
    assert "answered by photos failed median, ms slowest, ms 1.0.0 100 0 0 0 1.1.0 200 0 0 0" in story
    assert "300 photos, none sent twice" in story
    assert "longest time between two answers 61 ms" in story
    assert "how sure of its photos 1.0.0 1.1.0 chelsea.png 40.0% 60.0%" in story
    assert "install fell back exit code 61" in story
    assert "bundle 1.1.0, delta from 1.0.0 1 0.5 5.0%" in story
    assert "from the first failed photo to the last 2.5 rollback 1.5 until the old release answers" in story


@pytest.mark.parametrize("run", [0, 2])
def test_one_failed_photo_in_an_update_or_a_rollback_fails_the_demo(run: int, played: Played) -> None:
    played.reports[run].releases["nobody"] = failing(1)
    with pytest.raises(SealiftError, match="did not answer every photo") as caught:
        demo(played)
    assert caught.value.problems == ("nobody: 1 x 500 handler_failed",)
    assert played.stopped == 1


def test_an_answer_of_two_releases_fails_the_demo(played: Played) -> None:
    played.reports[0].contradictions = 1
    with pytest.raises(SealiftError, match="as promised") as caught:
        demo(played)
    assert caught.value.problems == ("1 answers did not come from the release in their header",)


def test_a_client_that_never_saw_the_new_release_proves_nothing(played: Played) -> None:
    played.reports[0] = reported(v100=answered(100))
    with pytest.raises(SealiftError, match=r"1.1.0 answered no photo; those that did: lite0@1.0.0"):
        demo(played)


def test_a_photo_that_the_tuned_model_takes_for_another_fails_the_demo(played: Played) -> None:
    played.reports[0].releases[f"lite0@{MONTHLY}"].first["coffee.png"] = (968, 0.9)
    with pytest.raises(SealiftError, match=r"coffee.png came out as class 967 and 968, expected 967"):
        demo(played)


def test_errors_of_the_bad_release_are_its_own_and_nobody_elses(played: Played) -> None:
    played.reports[1] = reported(v110=failing(1), v120=failing(10))
    with pytest.raises(SealiftError, match="as promised") as caught:
        demo(played)
    assert caught.value.problems == ("1.1.0: 1 x 500 handler_failed",)


def test_a_box_that_never_recovers_from_the_bad_release_fails_the_demo(played: Played) -> None:
    played.reports[1].releases[f"lite0@{MONTHLY}"].last_good_s = 1.0
    with pytest.raises(SealiftError, match=r"1.1.0 did not answer again after 1.2.0 had failed"):
        demo(played)


@pytest.mark.parametrize(("codes", "shown"), [([0, 61, 61], 61), ([0, 0, 0], 1), ([0, 0, 60], 60)])
def test_an_update_that_ends_otherwise_than_the_story_wants_ends_the_demo(
    codes: list[int], shown: int, played: Played
) -> None:
    """A good release that fell back; a bad one that was committed, or refused before traffic."""
    played.ends_of_install = codes
    code, story = demo(played)
    assert code == shown
    assert "the story ends here" in story
    assert played.stopped == 1


def test_a_client_that_dies_is_no_silence(played: Played) -> None:
    played.traffic_dies = True
    code, story = demo(played)
    assert code == 1
    assert "no photo" in story


def test_a_client_whose_photos_nobody_answers_is_given_up(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "FLOWING_WITHIN_S", -1)
    monkeypatch.setattr(witness, "_FLOWING", "never/written")
    monkeypatch.setattr("tests.demo.played.PlayedClient.__post_init__", lambda self: None)
    monkeypatch.setattr("tests.demo.played.PlayedClient.stop", lambda self: Completed(0, "{}", "", 30.0))
    code, _ = demo(played)
    assert code == 1
