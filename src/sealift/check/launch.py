"""Run a check (or the recording of goldens) in a release's own interpreter, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sealift.check.bounded import TIMEOUT_S, Bounds, Ended, run_bounded
from sealift.check.report import CheckReport, Finding, decode_report
from sealift.errors import NotActivated, StoreError, UsageError

__all__ = ["CHECK_TIMEOUT_S", "Bounds", "check_release", "record_goldens", "require_ok"]

CHECK_TIMEOUT_S = TIMEOUT_S
_TAIL_LINES = 12


def check_release(command: Sequence[str], bounds: Bounds | None = None) -> CheckReport:
    """Run `command` (the release's `_check`) and read its report.

    A check that crashes, hangs, takes too much memory or prints nonsense is a failed check, with the last
    lines it said. The memory in the report is that of all its processes.
    """
    try:
        ended = run_bounded(command, bounds or Bounds())
    except OSError as error:
        return _failed(f"cannot start {command[0]}: {error.strerror}", 0.0)
    if ended.why or ended.code != 0:
        return _failed(_said(ended), ended.peak_mb)
    try:
        report = decode_report(ended.stdout.strip())
    except StoreError as error:
        return _failed(error.message, ended.peak_mb)
    return replace(report, memory_mb=max(report.memory_mb, ended.peak_mb - report.trials_mb))


def record_goldens(command: Sequence[str], timeout_s: float = CHECK_TIMEOUT_S) -> tuple[str, ...]:
    """Run `command` (the release's `_record`); returns its notes, one a line.

    Raises: UsageError: the model does not load or a given golden input does not run on it.
    """
    try:
        ended = run_bounded(command, Bounds(timeout_s))
    except OSError as error:
        raise UsageError(f"cannot start {command[0]}: {error.strerror}") from error
    if ended.why:
        raise UsageError(f"recording the golden inputs {ended.why}")
    if ended.code < 0:
        raise UsageError(f"recording the golden inputs {_said(ended)}")
    if ended.code != 0:
        raise UsageError(f"the packed service does not run: {_tail(ended.stderr)}")
    return tuple(line for line in ended.stdout.splitlines() if line.strip())


def require_ok(report: CheckReport, release: str, tree: Path) -> None:
    """Raises: NotActivated: something does not hold; names every finding and what did not change."""
    if not report.ok:
        raise NotActivated(
            f"{release} was not activated: {len(report.problems)} check(s) failed on this box",
            problems=report.problems,
            next_step=f"nothing was switched; the staged tree was {tree}; ask for a bundle made for this box",
        )


def _said(ended: Ended) -> str:
    """`ended by SIGSEGV: the last lines`. SIGKILL from nobody we know of is mostly the kernel's."""
    hint = " (by the kernel, if memory ran out: see dmesg)" if ended.code == -9 and not ended.why else ""
    return f"{ended.words}{hint}: {_tail(ended.stderr)}"


def _failed(detail: str, memory_mb: float) -> CheckReport:
    return CheckReport((Finding("check process", False, detail),), False, {}, memory_mb)


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    return "\n    ".join(lines) or "it said nothing"
