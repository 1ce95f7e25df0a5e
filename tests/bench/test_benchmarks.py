"""benchmarks/serving: its parts fit together, and the promises are held against the right figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

SERVING = ROOT / "benchmarks" / "serving"
MACHINE = {
    "date": "2026-11-23",
    "cores": 2,
    "cpu": "a processor",
    "system": "Linux",
    "python": "3.11",
    "rounds": 3,
    "seconds": 2,
    "served": "release",
}


def python(code: str, *words: str) -> str:
    """What a program says that has the benchmarks' modules beside it."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SERVING)!r}); {code}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rounds(*rates: float, p50_ms: float = 1.0, errors: int = 0) -> list[dict[str, float]]:
    figures = {"p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "max_ms": 9.0, "errors": errors, "foreign": 0.0}
    return [{"rps": rate, "server_cores": 1.0, "client_cores": 0.5, **figures} for rate in rates]


def results() -> dict[str, Any]:
    """Three rounds, the second on a slow machine: ratios hold, rates do not."""
    tab = {
        "sealift": {"1": rounds(10, 5, 10, p50_ms=1.5), "8": rounds(80, 40, 80), "32": rounds(90, 45, 90)},
        "bare loop": {"1": rounds(10, 5, 10), "8": rounds(100, 50, 100), "32": rounds(100, 50, 100)},
        "mosec": {"1": rounds(2, 1, 2), "8": rounds(10, 5, 10), "32": rounds(40, 20, 40)},
        "liar": {"1": rounds(99, 99, 99), "8": rounds(99, 99, 99), "32": rounds(99, 99, 99, errors=50)},
    }
    kinds = {"sealift": "ours", "bare loop": "control", "mosec": "peer", "liar": "peer"}
    return {
        "schema": 1,
        "machine": MACHINE,
        "kinds": kinds,
        "limits": {"tab": {"one thread": [50.0, 25.0, 50.0]}},
        "runs": {"tab": tab},
        "footprints": {"tab": {"sealift": [{"ready_s": 0.5, "pss_mb": 100.0, "processes": 2}]}},
        "problems": {"ray-serve": "not installed"},
    }


def test_every_part_can_be_imported_and_every_peer_has_its_adapter() -> None:
    code = (
        "import run, overload, startup, report, models, limit, install_peers, contenders; "
        "print(*[word for peer in contenders.ALL_PEERS.values() for word in peer.command if word.endswith('.py')]); "
        "print(*{peer.environment for peer in contenders.ALL_PEERS.values()} - set(install_peers.ENVIRONMENTS))"
    )
    files, unknown = python(code).split("\n")[:2]
    assert len(set(files.split())) > 7
    assert [name for name in files.split() if not Path(name).is_file()] == []
    assert unknown == ""


def test_ratios_are_taken_within_a_round_and_a_peer_that_errs_is_not_the_best(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results()))
    done = subprocess.run(
        [sys.executable, str(SERVING / "report.py"), str(tmp_path / "results.json"), "--print"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "| table, 32 connections, over the bare loop | >= 0.75 | 0.90 | holds |" in lines
    assert "| table, 32 connections, over the best peer | >= 3 | 2.25 | **does not hold** |" in lines
    assert "| table, 1 connection, p50 over the bare loop's | <= 1.6 | 1.50 | holds |" in lines
    assert "| photos, 8 connections, over the bare loop | >= 1.2 | - | not measured |" in lines
    assert any(line.startswith("| **sealift** | 10 | 1.50 / 3.00 | 80 |") for line in lines)
    assert "- ray-serve: not installed" in lines
    assert "an installed release" in done.stdout


def test_the_page_has_one_place_for_the_figures() -> None:
    text = (ROOT / "docs" / "explanation" / "serving-speed.md").read_text(encoding="utf-8")
    assert text.count("<!-- measured -->") == text.count("<!-- end -->") == 1


def test_an_answer_is_right_when_it_holds_what_the_model_says() -> None:
    expected = {"probs": [0.25, 0.75], "class": 111, "logits": [0.5] * 4}
    answers = [
        ("tab", b'{"probs": [[0.25001, 0.74999]]}', True),
        ("tab", b'{"probs": [[0.3, 0.7]]}', False),
        ("img", b'{"class": 111}', True),
        ("img", b'{"class": 112, "error": "111"}', False),
        ("raw", b'{"outputs": []}\0\0\0\x3f\0\0\0\x3f\0\0\0\x3f\0\0\0\x3f', True),
        ("raw", b'{"outputs": []}\0\0\0\x3f\0\0\0\x3f\0\0\0\x3f\0\0\x80\x3f', False),
        ("img", b"<html>111</html>", False),
    ]
    code = (
        "import json, load; expected = json.loads(sys.argv[1]); "
        "right = [load.is_right(a.encode('latin-1'), c, expected) for c, a in json.loads(sys.argv[2])]; "
        "print(json.dumps(right))"
    )
    given = json.dumps([(case, answer.decode("latin-1")) for case, answer, _ in answers])
    assert json.loads(python(code, json.dumps(expected), given)) == [right for _, _, right in answers]
