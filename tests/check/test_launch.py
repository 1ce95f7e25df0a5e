"""A check that crashes, hangs or prints nonsense is a failed check."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealift.check.launch import check_release, record_goldens, require_ok
from sealift.check.report import CheckReport, Finding, decode_report
from sealift.errors import NotActivated, StoreError, UsageError

REPORT = CheckReport((Finding("model m", True, "loads"),), True, {"m": 1.5}, 80.25)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_report_reads_back_and_is_kept_in_whole_numbers() -> None:
    assert decode_report(REPORT.encode()) == REPORT
    assert REPORT.summary() == {
        "golden_checked": True, "latency_us": {"m": 1500}, "memory_kb": 80250, "notes": ["model m: loads"],
    }  # fmt: skip


def test_a_check_process_that_prints_its_report_is_believed() -> None:
    assert check_release(python(f"print({REPORT.encode()!r})")) == REPORT


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; print('no module named x', file=sys.stderr); sys.exit(1)",
            "ended with 1: no module named x",
        ),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9: it said nothing"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_a_check_process_that_fails_is_a_finding(code: str, said: str) -> None:
    report = check_release(python(code), timeout_s=1)
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
    with pytest.raises(StoreError, match="printed something else"):
        check_release(python("print('hello')"))


def test_notes_of_the_recorder_come_back_and_its_failure_is_the_users() -> None:
    assert record_goldens(python("print('one'); print('two')")) == ("one", "two")
    with pytest.raises(UsageError, match="the packed service does not run: boom"):
        record_goldens(python("import sys; sys.exit('boom')"))
