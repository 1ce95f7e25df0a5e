"""`sealift pack`: project -> one signed bundle, full or a delta."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sealift import __version__, canonical
from sealift.bundle import layout
from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.transport import bases_json
from sealift.bundle.write import Endorse
from sealift.check.launch import record_goldens
from sealift.cli import explaining
from sealift.cli.opening import told_plainly
from sealift.cli.options import add_common, add_passphrase
from sealift.cli.screen import megabytes, print_result, progress_of, table
from sealift.cli.signing import Signing, signing_of
from sealift.collect.layers import write_layers
from sealift.collect.lock import Collected, collect_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import box_side_for
from sealift.collect.sbom import BilledModel, software_bill
from sealift.collect.wheel import sha256_of
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.inspect.quality import CHECK
from sealift.model.service import ServedModel
from sealift.pack.application import write_application
from sealift.pack.delta import check_base, require_bases
from sealift.pack.gates import Package, check_gates, check_size
from sealift.pack.pack import Packed, Parts, pack
from sealift.project.file import load_project
from sealift.project.project import Project
from sealift.store.releases import release_command
from sealift.target.host import own_python, read_host
from sealift.target.interpreter import Interpreter, find_interpreter, own_base
from sealift.target.target import Target
from sealift.target.wish import target_for


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
        "  SOURCE_DATE_EPOCH=0 sealift pack fraud -o fraud-1.0 --keys keys      (a folder)",
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PLACE",
        help="the bundle: a file if it ends in .sealift, else a folder; in an existing folder: "
        "NAME-VERSION.sealift (default: here)",
    )
    parser.add_argument("--keys", type=Path, metavar="KEYS", help="what `sealift keys init` wrote")
    parser.add_argument(
        "--unsigned", action="store_true", help="leave signing to `sealift sign` on another machine"
    )
    _add_delta(parser)
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
    project = load_project(args.project)
    signing = signing_of(args)
    target = target_for(project.target, read_host(), own_python())
    with tempfile.TemporaryDirectory(prefix="sealift-pack-") as workspace, progress_of(args) as progress:
        olds = _open_olds(args, project.name, progress)
        packed, notes = _pack(args, project, signing, target, Path(workspace), progress, olds)
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
    target: Target,
    workspace: Path,
    progress: Progress,
    olds: Sequence[UnverifiedBundle],
) -> tuple[Packed, list[str]]:
    interpreter = _packing_interpreter(target)
    tree = workspace / "tree"
    (tree / "application").mkdir(parents=True)
    progress.start("read the models")
    application = write_application(project, tree / "application")
    models, notes = application.models, application.notes
    options = _collect_options(args, workspace, progress)
    collected = collect_wheels(project.python, target, options, box=box_side_for(models))
    _refuse_missing_engines(models, collected)
    gates = check_gates(project.gates, _packages(project, collected), None)
    gates.require_passed()
    target = _narrowed(target, project, collected)
    left_out = write_layers(collected, tree, interpreter.path, progress)
    progress.start("record golden inputs")
    payloads = [f"--payloads={project.golden}"] if project.golden else []
    golden_notes = record_goldens(release_command(interpreter.path, tree, "_record", str(tree), *payloads))
    checks = {
        "golden_checked": not any("not golden-checked" in note for note in golden_notes),
        "golden_notes": list(golden_notes),
        "gates": dict(gates.results),
        "model_notes": list(notes),
        **({CHECK: dict(application.quality)} if application.quality else {}),
    }
    provenance = {"packer": f"sealift {__version__}", "python": interpreter.version}
    parts = Parts(
        product=project.name,
        version=project.version,
        tree=tree,
        target=target.to_json(),
        checks=checks,
        provenance=provenance,
        bill=_bill(project, models, collected),
    )
    endorse = Endorse(
        signing.sign, signing.roots, lambda size: check_size(project.gates, size).require_passed()
    )
    sequence = signing.sequence_for(project.name, max((old.release.seq for old in olds), default=None))
    packed = pack(parts, _destination(args, project, olds), endorse, sequence, progress, olds)
    signing.record(packed)
    more = explaining.delta_notes(packed)
    return packed, [*signing.notes, *notes, *golden_notes, *collected.notes, *left_out, *more]


def _refuse_missing_engines(models: Sequence[ServedModel], collected: Collected) -> None:
    """Raises: UsageError: a variant needs an engine that no wheel brings; said before an hour of packing is over."""
    carried = {wheel.name for wheel in (*collected.runtime, *collected.dependencies)}
    needed = {each.engine for model in models for each in model.variants if each.engine} - carried
    if needed:
        raise UsageError(
            f"what sealift optimize chose runs on {', '.join(sorted(needed))}, which the release would lack",
            next_step=f"add {' and '.join(sorted(needed))} to [python] requirements, or leave its candidates out",
        )


def _packages(project: Project, collected: Collected) -> list[Package]:
    """Everything with a licence: wheels, sealift itself, and models that state one (one's own need not)."""
    parts = (("runtime", collected.runtime), ("dependencies", collected.dependencies))
    found = [
        Package(wheel.name, wheel.version, wheel.licence, layer)
        for layer, wheels in parts
        for wheel in wheels
    ]
    found.append(Package("sealift", __version__, "Apache-2.0", "runtime"))
    found += [
        Package(model.name, project.version, model.license, "application")
        for model in project.models
        if model.license
    ]
    return found


def _bill(project: Project, models: Sequence[ServedModel], collected: Collected) -> Callable[[str], bytes]:
    licences = {entry.name: entry.license for entry in project.models}
    billed = [
        BilledModel(
            name=model.name,
            sha256=sha256_of(model.path),
            size=model.path.stat().st_size,
            licence=licences[model.name],
            signature=model.signature,
        )
        for model in models
    ]

    def bill(created: str) -> bytes:
        return software_bill(
            project.name, project.version, collected, billed, datetime.fromisoformat(created)
        )

    return bill


def _packing_interpreter(target: Target) -> Interpreter:
    """The target's Python version on this machine: compiles and records (the box may have it elsewhere).

    Raises: UsageError: the target is another platform than this machine's. IncompatibleHost: no such Python.
    """
    host = read_host()
    if host.platform != target.platform:
        raise UsageError(
            f"[target] platform is {target.platform}, this machine is {host.platform}; golden inputs can only be "
            "recorded where the release runs",
            next_step=f"pack on a {target.platform} machine",
        )
    return find_interpreter(replace(target, interpreter="system"), environ=os.environ, own_base=own_base())


def _narrowed(target: Target, project: Project, collected: Collected) -> Target:
    """The oldest C library that the wheels run with, where the project states none."""
    stated = project.target.glibc or project.target.preset
    return target if stated else replace(target, glibc=collected.glibc)


def _collect_options(args: argparse.Namespace, workspace: Path, progress: Progress) -> CollectOptions:
    return CollectOptions(
        folder=workspace / "wheels",
        cache=wheel_cache(),
        find_links=tuple(args.find_links),
        no_index=args.no_index,
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


def _text(args: argparse.Namespace, packed: Packed, notes: list[str]) -> str:
    release = packed.release
    rows = [(f"  {name}", f"{ref.files} files", megabytes(ref.size)) for name, ref in release.layers.items()]
    lines = [
        f"packed {release.product} {release.version} {canonical.short(release.identity)} (sequence {release.seq})",
        table(rows, right=(1, 2)),
        *(f"  note: {note}" for note in notes),
        *(["", explaining.as_text(packed.explanation), ""] if args.explain else []),
        f"  {packed.path}, {explaining.carried(packed)}",
        f"  next: sealift inspect {packed.path}   then carry it, and sealift install it on the box",
    ]
    return "\n".join(lines)
