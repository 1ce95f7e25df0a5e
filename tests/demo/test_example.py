"""What the examples share, without their models: where they work, and what they hold the box to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from tests.demo.played import Played

from sealift.demo.example import Example, require_same, run_example
from sealift.demo.screen import Screen
from sealift.demo.stage import Box, Stage
from sealift.errors import HostError, SealiftError


def fails(_: Stage) -> None:
    raise HostError("no table", problems=["no network"], next_step="connect it")


def never(_: Stage, box: Box) -> None:
    raise AssertionError(box)


EXAMPLE = Example("A title", "service", fails, never)


def staged(folder: Path, out: io.StringIO) -> Stage:
    return Stage(Screen(out), folder, Played())


def test_a_failure_is_told_in_full_with_its_exit_code_and_no_traceback(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run_example(EXAMPLE, tmp_path / "work", out) == HostError.exit_code
    assert out.getvalue() == "A title\nno table\n  - no network\n  next: connect it\n"


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    out = io.StringIO()
    assert run_example(EXAMPLE, tmp_path, out) == 2
    assert f"--work {tmp_path}: not empty" in " ".join(out.getvalue().split("\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "other",
    [
        {"prediction": "good", "score": 0.2},
        {"prediction": "bad", "score": 0.2001},
        {"prediction": "bad", "probabilities": [{"probability": 0.3}]},
    ],
    ids=["another word", "another score", "another probability"],
)
def test_a_box_that_answers_otherwise_is_a_failure(other: dict[str, Any], tmp_path: Path) -> None:
    served = [{"input": "a.json", "prediction": "bad", "score": 0.2}]
    with pytest.raises(SealiftError, match="other than the project") as caught:
        require_same(staged(tmp_path, io.StringIO()), served, [other])
    assert caught.value.problems[0].startswith("a.json: bad")


def test_the_last_digits_may_differ(tmp_path: Path) -> None:
    out = io.StringIO()
    served, own = ([{"input": "a", "prediction": 7, "score": score}] for score in (0.2, 0.2000001))
    require_same(staged(tmp_path, out), served, own)
    assert "1 of 1 answers" in out.getvalue()
