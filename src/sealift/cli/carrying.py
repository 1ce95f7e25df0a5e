"""Packing onto a medium: into an existing folder go the bundle or its volumes, papers, and what was named along."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealift.cli.screen import megabytes
from sealift.errors import UsageError
from sealift.events import Progress

if TYPE_CHECKING:
    from sealift.carry.medium import MediumReport
    from sealift.pack.pack import Packed


def add_medium(parser: argparse.ArgumentParser) -> None:
    """`--volumes` and `--bootstrap`."""
    parser.add_argument(
        "--volumes",
        metavar="SIZE",
        help="cut the bundle where it is larger: fat32, dvd, or a size (700MB, 2GiB)",
    )
    parser.add_argument(
        "--bootstrap",
        type=Path,
        metavar="FILE.run",
        help="carry this along, for a box without sealift (what `sealift export bootstrap` wrote)",
    )


def require_medium(args: argparse.Namespace) -> None:
    """Before anything takes long. Raises: UsageError: a flag that asks for a medium, and no existing folder; a size
    that is none; volumes of what is not signed yet."""
    wanted = [flag for flag, value in (("--volumes", args.volumes), ("--bootstrap", args.bootstrap)) if value]
    if wanted and not is_medium(args):
        raise UsageError(
            f"{' and '.join(wanted)}: -o must be an existing folder, the medium's",
            next_step="mkdir it, or mount the medium, then again with -o FOLDER",
        )
    if wanted and args.unsigned:
        raise UsageError(
            f"{' and '.join(wanted)} with --unsigned: a signature would come too late for the papers",
            next_step="pack -o FILE.sealift --unsigned, sealift sign FILE.sealift, then sealift export medium",
        )
    _volumes_of(args)
    if args.bootstrap is not None and not args.bootstrap.is_file():
        raise UsageError(f"--bootstrap {args.bootstrap}: no such file")


def is_medium(args: argparse.Namespace) -> bool:
    """Claims that -o names an existing folder that is no bundle itself."""
    from sealift.bundle.layout import RELEASE

    place: Path | None = args.output
    return place is not None and place.is_dir() and not (place / RELEASE).is_file()


def staged_at(args: argparse.Namespace, destination: Path, workspace: Path) -> Path:
    """Where to pack: `destination`, or beside it on this machine's disk where it comes onto a medium."""
    return workspace / destination.name if is_medium(args) and not args.unsigned else destination


def carry(
    args: argparse.Namespace, packed: Packed, destination: Path, progress: Progress
) -> tuple[Packed, list[str]]:
    """What was packed, onto its medium where it is to come onto one; and the sentences that say so.

    Raises: NoSpace, HostError: the medium; nothing on it has its name then.
    """
    if packed.path == destination:
        return packed, []
    from sealift.carry.medium import Load, write_medium

    load = Load(packed.path, destination.name, _volumes_of(args), args.bootstrap)
    report = write_medium(destination.parent, load, progress)
    return replace(packed, path=report.folder / report.bundle[0].name), said(report)


def _volumes_of(args: argparse.Namespace) -> int | None:
    from sealift.carry.capacity import volume_bytes

    return volume_bytes(args.volumes) if args.volumes else None


def said(report: MediumReport) -> list[str]:
    """What lies on the medium, and that it may be pulled."""
    count = len(report.bundle)
    what = report.bundle[0].name if count == 1 else f"{count} volumes, {report.bundle[0].name} and on"
    others = ", ".join(item.name for item in report.files[count:])
    lines = [
        f"{report.folder}: {what}, {others}; {megabytes(report.size)}, read back and the same. It is safe to remove"
    ]
    if report.left_alone:
        lines.append(
            f"{report.folder} also holds {', '.join(report.left_alone)}: left alone, name the file at install"
        )
    return lines


def as_json(report: MediumReport) -> dict[str, Any]:
    """The same for programs."""
    return {
        "files": [{"name": item.name, "sha256": item.sha256, "size": item.size} for item in report.files],
        "folder": str(report.folder),
        "left_alone": list(report.left_alone),
    }
