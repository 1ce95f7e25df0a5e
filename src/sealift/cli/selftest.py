"""`sealift _selftest`: a staged sealift asks itself, in its own interpreter; prints JSON."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal

from sealift import __version__
from sealift.check.report import CheckReport, Finding
from sealift.cli.options import add_prefix, prefix_of
from sealift.cli.status import observe
from sealift.install.trust import pinned_root
from sealift.store.journal import read_journal
from sealift.store.prefix import TOOL, Prefix
from sealift.store.stamp import require_known_format
from sealift.tool.selftest import Question, ask, own_questions

_PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_selftest`."""
    parser.add_argument("--expect", help="the version that its release.json states")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report; what does not hold is in it, so the exit code is 0."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would read the report
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a module prints while it is imported is no part of the report
    questions = {
        "version": lambda: _version(args.expect),
        **own_questions(),
        **_of_this_box(prefix_of(args)),
    }
    told = [ask(name, question) for name, question in questions.items()]
    findings = tuple(Finding(each.name, each.ok, each.detail) for each in told)
    report = CheckReport(findings, golden_checked=False, latency_ms={}, memory_mb=0.0)
    with os.fdopen(answer, "w") as stream:
        stream.write(report.encode() + "\n")
    return 0


def _version(expected: str | None) -> str:
    if expected not in (None, __version__):
        raise ValueError(f"expected {expected}, found {__version__}")
    return f"sealift {__version__}"


def _of_this_box(prefix: Prefix) -> dict[str, Question]:
    """It must read what an older sealift has written here."""

    def services() -> str:
        require_known_format(prefix)
        found = observe(prefix, None).services
        return ", ".join(f"{each.active.name} {each.state}" for each in found) or "none is installed"

    def journals() -> str:
        names = (*prefix.services(), TOOL)
        turns = [(name, read_journal(prefix, name).turn) for name in names]
        return ", ".join(f"{name} {turn.phase.value}" for name, turn in turns if turn) or "there is none"

    def trust() -> str:
        root = pinned_root(prefix)
        return f"root version {root.version} is pinned" if root is not None else "nobody is trusted yet"

    return {"services": services, "journals": journals, "trust": trust}
