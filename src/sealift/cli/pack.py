"""`sealift pack`: project -> one signed bundle, full or a delta."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.transport import bases_json
from sealift.bundle.write import Endorse
from sealift.cli import explaining
from sealift.cli.assembling import assemble
from sealift.cli.carrying import add_medium, carry, require_medium, staged_at
from sealift.cli.opening import told_plainly
from sealift.cli.options import add_common, add_passphrase
from sealift.cli.screen import megabytes, print_result, progress_of, table
from sealift.cli.signing import Signing, signing_of
from sealift.collect.index_settings import index_settings
from sealift.collect.pip_download import CollectOptions
from sealift.events import Progress
from sealift.inspect.heaviest import Part, heaviest, heaviest_json
from sealift.pack.delta import check_base, require_bases
from sealift.pack.gates import check_size
from sealift.pack.pack import Packed, Parts, pack
from sealift.project.file import load_project
from sealift.project.project import Project
from sealift.target.host import own_python, read_host
from sealift.target.wish import target_for

SHOWN_PARTS: Final = 6


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pack`."""
    add_common(
        parser,
        "Lock and collect everything the service needs, record golden inputs, sign, and write one bundle. "
        "Packing the same content twice gives the same bytes. --from leaves out what the box has already.",
        "  sealift pack fraud -o /media/usb/ --keys keys\n"
        "  sealift pack . --keys keys --passphrase-file /run/secrets/phrase\n"
        "  sealift pack fraud -o fraud-1.0.sealift --unsigned      (sealift sign it on another machine)\n"
        "  sealift pack fraud -o /media/usb/ --keys keys --from fraud-1.0.sealift --explain      (a delta)\n"
        "  sealift pack fraud -o /media/usb/ --keys keys --volumes fat32 --bootstrap sealift-1.0.run\n"
        "  SOURCE_DATE_EPOCH=0 sealift pack fraud -o fraud-1.0 --keys keys      (a folder)",
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PLACE",
        help="the bundle: a file if it ends in .sealift, else a folder; into an existing folder, as onto a medium: "
        "NAME-VERSION.sealift or its volumes, SHA256SUMS, START-HERE.txt and a carry sheet (default: here, no papers)",
    )
    parser.add_argument("--keys", type=Path, metavar="KEYS", help="what `sealift keys init` wrote")
    parser.add_argument(
        "--unsigned", action="store_true", help="leave signing to `sealift sign` on another machine"
    )
    _add_delta(parser)
    add_medium(parser)
    add_wheel_sources(parser)
    add_passphrase(parser)


def _add_delta(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="olds",
        action="append",
        default=[],
        type=Path,
        metavar="OLD",
        help="a delta for boxes that have the release of this full bundle; may be repeated: for a box that has "
        "any of them. The new release comes after all of them",
    )
    parser.add_argument("--explain", action="store_true", help="say what each part costs, and why")


def add_wheel_sources(parser: argparse.ArgumentParser) -> None:
    """`--find-links` and `--no-index`, for machines without an index of their own."""
    parser.add_argument(
        "--find-links", action="append", default=[], metavar="DIR", help="a folder with more wheels"
    )
    parser.add_argument("--no-index", action="store_true", help="take wheels from --find-links only")


def run(args: argparse.Namespace) -> int:
    """Run `pack`."""
    require_medium(args)
    project = load_project(args.project)
    signing = signing_of(args)
    with tempfile.TemporaryDirectory(prefix="sealift-pack-") as workspace, progress_of(args) as progress:
        olds = _open_olds(args, project.name, progress)
        packed, notes = _pack(args, project, signing, Path(workspace), progress, olds)
    print_result(args, _result(args, packed, notes), _text(args, packed, notes))
    return 0


def _open_olds(args: argparse.Namespace, product: str, progress: Progress) -> tuple[UnverifiedBundle, ...]:
    """The bundles of `--from`, every byte checked: before anything else, for what follows takes long."""
    opened = []
    for path in args.olds:
        with told_plainly(f"--from {path}: "):
            opened.append((path, read_bundle(open_source(path), may_lack=True)))
    olds = require_bases(opened, product) if opened else ()
    for old in olds:
        with told_plainly(f"--from {old.source.name}: "):
            check_base(old, progress)
    return olds


def _pack(
    args: argparse.Namespace,
    project: Project,
    signing: Signing,
    workspace: Path,
    progress: Progress,
    olds: Sequence[UnverifiedBundle],
) -> tuple[Packed, list[str]]:
    target = target_for(project.target, read_host(), own_python())
    made = assemble(project, target, workspace / "tree", _collect_options(args, workspace, progress))
    parts = Parts(
        product=project.name,
        version=project.version,
        tree=made.tree,
        target=made.target.to_json(),
        checks=made.checks,
        provenance=made.provenance,
        bill=made.bill,
    )
    endorse = Endorse(
        signing.sign, signing.roots, lambda size: check_size(project.gates, size).require_passed()
    )
    sequence = signing.sequence_for(project.name, max((old.release.seq for old in olds), default=None))
    destination = _destination(args, project, olds)
    at = staged_at(args, destination, workspace)
    packed = pack(parts, at, endorse, sequence, progress, olds)
    packed, carried = carry(args, packed, destination, progress)
    signing.record(packed)
    return packed, [*signing.notes, *made.notes, *explaining.delta_notes(packed), *carried]


def _collect_options(args: argparse.Namespace, workspace: Path, progress: Progress) -> CollectOptions:
    return CollectOptions(
        folder=workspace / "wheels",
        cache=wheel_cache(),
        find_links=tuple(args.find_links),
        no_index=args.no_index,
        index_arguments=index_settings(args.project).arguments,
        progress=progress,
    )


def wheel_cache() -> Path:
    """Where locked wheels are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sealift" / "wheels"


def _destination(args: argparse.Namespace, project: Project, olds: Sequence[UnverifiedBundle]) -> Path:
    place: Path = args.output or Path()
    is_bundle = (place / layout.RELEASE).is_file()
    if place.is_dir() and not is_bundle:
        names = "-or-".join(old.release.version for old in olds)
        since = f"-from-{names}" if len(olds) in (1, 2) else "-delta" if olds else ""
        return place / f"{project.name}-{project.version}{since}{layout.SUFFIX}"
    return place


def _result(args: argparse.Namespace, packed: Packed, notes: list[str]) -> dict[str, Any]:
    release = packed.release
    result = {
        "bases": bases_json(packed.bases),
        "full_size": packed.explanation.full_size,
        "heaviest": heaviest_json(_heaviest(packed)),
        "identity": release.identity,
        "layers": {name: ref.size for name, ref in release.layers.items()},
        "name": release.product,
        "notes": notes,
        "path": str(packed.path),
        "python": platform.python_version(),
        "seq": release.seq,
        "stored_size": packed.stored_size,
        "version": release.version,
    }
    return result | ({"explanation": explaining.as_json(packed.explanation)} if args.explain else {})


def _heaviest(packed: Packed) -> tuple[Part, ...]:
    return heaviest({name: layer.files for name, layer in packed.layers.items()})


def _heaviest_rows(packed: Packed) -> list[tuple[str, str, str]]:
    return [
        (f"    {part.name}", part.layer, megabytes(part.size)) for part in _heaviest(packed)[:SHOWN_PARTS]
    ]


def _text(args: argparse.Namespace, packed: Packed, notes: list[str]) -> str:
    release = packed.release
    rows = [(f"  {name}", f"{ref.files} files", megabytes(ref.size)) for name, ref in release.layers.items()]
    lines = [
        f"packed {release.product} {release.version} {canonical.short(release.identity)} (sequence {release.seq})",
        table(rows, right=(1, 2)),
        "  the heaviest of it",
        table(_heaviest_rows(packed), right=(2,)),
        *(f"  note: {note}" for note in notes),
        *(["", explaining.as_text(packed.explanation), ""] if args.explain else []),
        f"  {packed.path}, {explaining.carried(packed)}",
        f"  next: sealift inspect {packed.path}   then carry it, and sealift install it on the box",
    ]
    return "\n".join(lines)
