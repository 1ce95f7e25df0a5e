"""Run a check (or the recording of goldens) in a release's own interpreter, bounded in time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sealift.check.report import CheckReport, Finding, decode_report
from sealift.errors import NotActivated, UsageError

CHECK_TIMEOUT_S = 600.0
_TAIL_LINES = 12


def check_release(command: Sequence[str], timeout_s: float = CHECK_TIMEOUT_S) -> CheckReport:
    """Run `command` (the release's `_check`) and read its report.

    A check that crashes, hangs or prints nonsense is a failed check, with the last lines it said.
    """
    try:
        result = _run(command, timeout_s)
    except subprocess.TimeoutExpired:
        return _failed(f"did not end within {timeout_s:.0f} s")
    except OSError as error:
        return _failed(f"cannot start {command[0]}: {error.strerror}")
    if result.returncode != 0:
        return _failed(f"ended with {result.returncode}: {_tail(result.stderr)}")
    return decode_report(result.stdout.strip())


def record_goldens(command: Sequence[str], timeout_s: float = CHECK_TIMEOUT_S) -> tuple[str, ...]:
    """Run `command` (the release's `_record`); returns its notes, one a line.

    Raises: UsageError: the model does not load or a given golden input does not run on it.
    """
    try:
        result = _run(command, timeout_s)
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"recording the golden inputs did not end within {timeout_s:.0f} s") from error
    except OSError as error:
        raise UsageError(f"cannot start {command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        raise UsageError(f"the packed service does not run: {_tail(result.stderr)}")
    return tuple(line for line in result.stdout.splitlines() if line.strip())


def require_ok(report: CheckReport, release: str, tree: Path) -> None:
    """Raises: NotActivated: something does not hold; names every finding and what did not change."""
    if not report.ok:
        raise NotActivated(
            f"{release} was not activated: {len(report.problems)} check(s) failed on this box",
            problems=report.problems,
            next_step=f"nothing was switched; the staged tree was {tree}; ask for a bundle made for this box",
        )


def _run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _failed(detail: str) -> CheckReport:
    return CheckReport((Finding("check process", False, detail),), False, {}, 0.0)


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    return "\n    ".join(lines) or "it said nothing"
