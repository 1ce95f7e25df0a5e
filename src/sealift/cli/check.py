"""`sealift _check TREE`: the checks of a staged release; run in its own interpreter, prints JSON."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
from pathlib import Path

from sealift.check.run import check_service
from sealift.cli.services import release_service, release_settings

_PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_check`."""
    parser.add_argument("tree", type=Path)
    parser.add_argument("--site", type=Path, help="the box's own settings of that service")


def run(args: argparse.Namespace) -> int:
    """Print the report; what does not hold is in it, so the exit code is 0."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would read the report
    answer = _stdout_aside()
    settings = release_settings(args.tree, args.site)
    service = release_service(args.tree, args.site)
    report = check_service(service, args.tree / "application" / "goldens", settings)
    with os.fdopen(answer, "w") as stream:
        stream.write(report.encode() + "\n")
    return 0


def _stdout_aside() -> int:
    """A descriptor for the report alone: whatever model or handler print goes to stderr from now on."""
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer
