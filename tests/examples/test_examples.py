"""Each example, by the one command that its README shows, in a work folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(example: str, work: Path) -> str:
    """What the command printed, its lines joined: the screen wraps at 100 columns."""
    done = subprocess.run(
        ["sh", ROOT / "examples" / example / "run.sh", "--work", work],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def reports(work: Path) -> dict[str, dict[str, Any]]:
    """Model -> the report that `optimize` kept."""
    found = (work / "project" / "optimized").glob("*/report.json")
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def assert_told_to_the_end(said: str) -> None:
    """It was served where there is no network, stopped, and nothing was left running."""
    assert "loopback is the only interface" in said
    assert "SERVING 1.0.0" in said
    assert "asked the server to stop; it ended with exit code 0" in said
    assert "Look at next" in said
    assert "Traceback" not in said


def test_the_factory_camera_reads_parts_and_ships_what_was_measured(tmp_path: Path) -> None:
    said = run("inspection", tmp_path / "work")
    assert_told_to_the_end(said)
    [right] = re.findall(r"([\d.]+)% of the 800 photos that it never saw are read right", said)
    assert float(right) >= 97
    [report] = reports(tmp_path / "work").values()
    chosen = next(variant for variant in report["variants"] if variant["name"] == report["chosen"])
    [reference] = [variant for variant in report["variants"] if variant["name"] == "fp32"]
    assert report["data"]["labelled"] == 800
    assert all(gate["verdict"] == "passed" for gate in chosen["gates"])
    top1 = next(each for each in report["variants"][1]["comparisons"] if each["metric"] == "top1")
    assert top1["reference"] == pytest.approx(float(right) / 100, abs=5e-4)
    assert chosen is reference or chosen["speed"]["speedup"] > 1
    assert "4 of 4 answers are those of the project in process" in said
    assert "damaged or cut short" in said
    assert "<html" in (tmp_path / "work" / "report.html").read_text()


def test_the_bank_scores_named_fields_and_keeps_a_small_network_as_it_is(tmp_path: Path) -> None:
    said = run("credit-risk", tmp_path / "work")
    assert_told_to_the_end(said)
    found = re.findall(r"(network|trees) ([\d.]+) \(95 % interval ([\d.]+) to ([\d.]+), n = 300\)", said)
    assert [name for name, *_ in found] == ["network", "trees"]
    assert all(float(low) > 0.6 and 0.68 < float(auc) < 0.85 for _, auc, low, _ in found)
    kept = reports(tmp_path / "work")
    assert kept.keys() == {"network", "trees"}
    assert [report["chosen"] for report in kept.values()] == ["fp32", "fp32"]
    assert said.count("scikit-learn's own scores") == 2
    assert said.count("3 of 3 answers are those of the project in process") == 2
    assert "age" not in json.loads((tmp_path / "work" / "blank.json").read_text())
    assert 'amount: expected a number, got "12.500,00"; months: missing (HTTP 400)' in said
