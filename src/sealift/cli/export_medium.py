"""`sealift export medium`: a bundle that exists -> a medium with its papers, whole or in volumes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sealift.cli.options import add_common
from sealift.cli.screen import print_result, progress_of
from sealift.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export medium`."""
    add_common(
        parser,
        "Write a bundle onto a medium as `pack -o FOLDER` does: whole or in volumes, with SHA256SUMS, START-HERE.txt "
        "and a carry sheet, synced and read back. For a bundle that was signed or approved after it was packed.",
        "  sealift export medium fraud-1.0.sealift -o /media/usb\n"
        "  sealift export medium fraud-1.0.sealift -o discs --volumes dvd\n"
        "  sealift export medium fraud-1.0.sealift -o /media/usb --bootstrap sealift-1.0.run",
    )
    from sealift.cli.carrying import add_medium

    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_medium(parser)


def run(args: argparse.Namespace) -> int:
    """Run `export medium`."""
    from sealift.carry.capacity import volume_bytes
    from sealift.carry.medium import Load, write_medium
    from sealift.cli.carrying import as_json, said
    from sealift.cli.opening import told_plainly

    if not args.output.is_dir():
        raise UsageError(
            f"-o {args.output}: not an existing folder", next_step="mkdir it, or mount the medium"
        )
    volumes = volume_bytes(args.volumes) if args.volumes else None
    with told_plainly(), progress_of(args) as progress:
        load = Load(args.bundle, _name(args.bundle), volumes, args.bootstrap)
        report = write_medium(args.output, load, progress)
    print_result(args, _result(as_json(report)), "\n".join(said(report)))
    return 0


def _name(bundle: Path) -> str:
    from sealift.bundle.layout import SUFFIX
    from sealift.bundle.read import read_bundle
    from sealift.bundle.source import open_source
    from sealift.bundle.volume_sets import is_volume

    if bundle.is_file() and not is_volume(bundle):
        return bundle.name
    release = read_bundle(open_source(bundle), may_lack=True).release
    return f"{release.product}-{release.version}{SUFFIX}"


def _result(medium: dict[str, Any]) -> dict[str, Any]:
    return {"medium": medium}
