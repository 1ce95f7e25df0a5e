"""The command that is active now, asked as a person would: commands are scripts, run for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealift.store.prefix import Prefix, private
from sealift.tool import probe
from sealift.tool.probe import Probe

ANSWERS = {
    "services": [{"name": "fraud", "serving": {"state": "SERVING"}}, {"name": "risk", "serving": None}]
}


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    made = private(tmp_path / "box")
    made.bin.mkdir(parents=True)
    return made


def _command(prefix: Prefix, version: str = "echo sealift 1.1", status: str | None = None) -> None:
    status = status or f"echo '{json.dumps(ANSWERS)}'; exit 50"
    text = f'#!/bin/sh\nif [ "$1" = --version ]; then {version}; exit; fi\n[ "$1" = status ] || exit 9\n{status}\n'
    (prefix.bin / "sealift").write_text(text)
    (prefix.bin / "sealift").chmod(0o755)


def test_a_command_that_answers_for_what_was_served_is_good(prefix: Prefix) -> None:
    """50: one of the services does not serve; it did not before either."""
    _command(prefix)
    assert Probe(prefix, "1.1", ("fraud",)).ask() == ()


def test_another_version_is_a_problem(prefix: Prefix) -> None:
    _command(prefix)
    assert Probe(prefix, "1.2", ()).ask() == (
        "--version: expected sealift 1.2, found 'sealift 1.1' (code 0)",
    )


def test_a_supervisor_that_it_does_not_reach_is_a_problem(prefix: Prefix) -> None:
    _command(prefix)
    assert Probe(prefix, "1.1", ("fraud", "risk", "gone")).ask() == (
        "status: the supervisor of risk no longer answers",
        "status: the supervisor of gone no longer answers",
    )


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("echo broken >&2; exit 3", "status: ended with 3: broken"),
        ("exec kill -9 $$", "status: ended with -9: "),
        ("echo half", "status: not readable: "),
        ("echo '{\"services\": [{}]}'", "status: not readable: 'name'"),
    ],
)
def test_a_status_that_does_not_come_is_a_problem(prefix: Prefix, status: str, problem: str) -> None:
    _command(prefix, status=status)
    (found,) = Probe(prefix, "1.1", ()).ask()
    assert found.startswith(problem)


def test_a_command_that_hangs_or_is_not_there_is_a_problem(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.1)
    _command(prefix, version="exec sleep 600", status="exec sleep 600")
    assert Probe(prefix, "1.1", ()).ask()[1] == "status: ended with -1: no answer within 0 s"
    (prefix.bin / "sealift").unlink()
    assert all("does not start: No such file" in problem for problem in Probe(prefix, "1.1", ()).ask())
