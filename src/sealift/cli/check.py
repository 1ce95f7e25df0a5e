"""`sealift _check TREE`: the checks of a staged release; run in its own interpreter, prints JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift.check.run import check_service
from sealift.cli.services import release_service


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_check`."""
    parser.add_argument("tree", type=Path)


def run(args: argparse.Namespace) -> int:
    """Print the report; what does not hold is in it, so the exit code is 0."""
    report = check_service(release_service(args.tree), args.tree / "application" / "goldens")
    print(report.encode())
    return 0
