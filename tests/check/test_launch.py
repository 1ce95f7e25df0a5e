"""A check that crashes, hangs or prints nonsense is a failed check."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.check.launch import Bounds, check_release, record_goldens, require_ok
from sealift.check.report import CheckReport, Finding, decode_report
from sealift.errors import NotActivated, UsageError

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

REPORT = CheckReport(
    (Finding("model m", True, "loads"),), True, {"m": 1.5}, 80.25, {"m": 2.25}, {"m": 16}, 0.0, {"m": "fp32"}
)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_report_reads_back_and_is_kept_in_whole_numbers() -> None:
    assert decode_report(REPORT.encode()) == REPORT
    assert REPORT.summary() == {
        "golden_checked": True, "latency_p99_us": {"m": 2250}, "latency_us": {"m": 1500}, "max_rows": {"m": 16},
        "memory_kb": 80250, "notes": ["model m: loads"], "variants": {"m": "fp32"},
    }  # fmt: skip


def test_a_report_of_an_older_or_newer_sealift_reads_back() -> None:
    doc = json.loads(REPORT.encode())
    del doc["latency_p99_ms"], doc["max_rows"], doc["variants"]
    assert decode_report(json.dumps(doc)) == replace(REPORT, latency_p99_ms={}, max_rows={}, variants={})
    doc["findings"][0]["colour"] = doc["news"] = 1
    assert decode_report(json.dumps(doc)).findings == REPORT.findings


def test_a_check_process_that_prints_its_report_is_believed() -> None:
    assert check_release(python(f"print({REPORT.encode()!r})")) == REPORT


def test_the_memory_of_all_processes_of_a_check_counts() -> None:
    """A handler may start processes of its own."""
    child = "import time; x = bytearray(150_000_000); print(1, flush=True); time.sleep(60)"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.read(1)\n"
        "time.sleep(0.3)\n"
        f"print({REPORT.encode()!r})\n"
    )
    assert check_release(python(code)).memory_mb > 150


def test_memory_that_was_only_held_to_try_batches_does_not_count() -> None:
    tried = replace(REPORT, trials_mb=10_000.0)
    held = "import time; x = bytearray(150_000_000); time.sleep(0.3)"
    assert check_release(python(f"{held}; print({REPORT.encode()!r})")).memory_mb > 150
    assert check_release(python(f"{held}; print({tried.encode()!r})")) == tried


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; print('no module named x', file=sys.stderr); sys.exit(1)",
            "ended with 1: no module named x",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "ended by SIGKILL (by the kernel, if memory ran out: see dmesg): it said nothing",
        ),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV: it said nothing"),
        ("import time; print('at work'); time.sleep(60)", "did not end within 1 s: it said nothing"),
    ],
)
def test_a_check_process_that_fails_is_a_finding(code: str, said: str) -> None:
    report = check_release(python(code), Bounds(timeout_s=1))
    assert report.problems == (f"check process: {said}",)
    with pytest.raises(NotActivated) as caught:
        require_ok(report, "fraud 1.0", Path("/x"))
    assert caught.value.exit_code == 60
    assert caught.value.problems == report.problems


def test_a_missing_interpreter_is_a_finding() -> None:
    assert check_release(["/nowhere/python"]).problems == (
        "check process: cannot start /nowhere/python: No such file or directory",
    )


def test_nonsense_is_not_taken_for_a_report() -> None:
    found = check_release(python("print('hello')")).problems
    assert found == ("check process: the check printed something else than a report: 'hello'",)


@pytest.mark.slow
def test_notes_of_the_recorder_come_back_and_its_failure_is_the_users() -> None:
    assert record_goldens(python("print('one'); print('two')")) == ("one", "two")
    with pytest.raises(UsageError, match="the packed service does not run: boom"):
        record_goldens(python("import sys; sys.exit('boom')"))
    with pytest.raises(UsageError, match="recording the golden inputs ended by SIGABRT: it said nothing"):
        record_goldens(python("import os; os.kill(os.getpid(), 6)"))
    with pytest.raises(UsageError, match="recording the golden inputs did not end within 1 s"):
        record_goldens(python("import time; time.sleep(60)"), 1)
