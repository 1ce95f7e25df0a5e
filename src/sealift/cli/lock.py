"""`sealift lock`: resolve the project's dependencies for its target and write them with hashes."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from sealift.cli.options import add_common
from sealift.cli.pack import add_wheel_sources, wheel_cache
from sealift.cli.screen import megabytes, print_result, progress_of
from sealift.collect.import_test import Imports, try_locked
from sealift.collect.index_settings import index_settings
from sealift.collect.lock import Locked, lock_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import box_side_for
from sealift.collect.write_pylock import PYLOCK, size_of, write_pylock
from sealift.errors import UsageError
from sealift.model.engine_limits import check_models
from sealift.project.file import load_project
from sealift.project.project import PythonSources
from sealift.store.files import write_file
from sealift.target.host import own_python, read_host
from sealift.target.target import Target
from sealift.target.wish import target_for

_SMALL = 400_000_000
"""Bytes of wheels that are fetched to be imported without being asked to."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `lock`."""
    add_common(
        parser,
        "Resolve the project's [python] requirements for its target, whatever machine this is, and write "
        f'{PYLOCK} with hashes. Name it as `lock = "{PYLOCK}"` beside them to pack exactly these again.',
        "  sealift lock\n  sealift lock fraud",
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="DIR")
    add_wheel_sources(parser)
    parser.add_argument(
        "--import-test",
        action=argparse.BooleanOptionalAction,
        help="fetch the wheels and import what was asked for, where this machine can run them (default: if "
        f"they have up to {megabytes(_SMALL)})",
    )


def run(args: argparse.Namespace) -> int:
    """Run `lock`."""
    project = load_project(args.project)
    target = target_for(project.target, read_host(), own_python())
    with tempfile.TemporaryDirectory(prefix="sealift-lock-") as workspace, progress_of(args) as progress:
        options = CollectOptions(
            folder=Path(workspace),
            cache=wheel_cache(),
            find_links=tuple(args.find_links),
            no_index=args.no_index,
            index_arguments=index_settings(args.project).arguments,
            progress=progress,
        )
        sources = _wanted(project.python)
        box = box_side_for(project.models, target)
        locked = lock_wheels(sources, target, options, box=box)
        check_models(project.models, _versions(locked))
        near = replace(options, find_links=(*sources.find_links, *options.find_links))
        imports = _imports(args, locked, target, near)
    path = project.root / PYLOCK
    write_file(path, write_pylock(locked, target).encode())
    notes = (*box.notes(target), *locked.notes, *imports.notes)
    result = {
        "imported": list(imports.tested),
        "notes": list(notes),
        "packages": [package.name for package in locked.packages],
        "path": str(path),
        "size": size_of(locked.packages),
        "target": target.to_json(),
    }
    print_result(args, result, _text(replace(locked, notes=notes), target, path, project.python))
    return 0


def _versions(locked: Locked) -> dict[str, str]:
    """Of everything that the release gets, by normalised name."""
    own = {pin.name: pin.version for pin in locked.own}
    return own | {package.name: package.version for package in locked.packages}


def _imports(args: argparse.Namespace, locked: Locked, target: Target, options: CollectOptions) -> Imports:
    """Raises: UsageError: something that was asked for cannot be imported; nothing was written."""
    size = size_of(locked.packages)
    if not locked.packages or args.import_test is False:
        return Imports()
    if args.import_test is None and (size is None or size > _SMALL):
        weight = "wheels of unknown size" if size is None else f"{megabytes(size)} of wheels"
        return Imports(notes=(f"not import-tested: {weight} (--import-test fetches them)",))
    imports = try_locked(locked, target, options)
    if imports.failures:
        raise UsageError(
            f"The chosen wheels install on {target}, and fail there.",
            next_step="ask for other versions of these packages, or lock with --no-import-test",
            problems=imports.failures,
        )
    return imports


def _wanted(sources: PythonSources) -> PythonSources:
    """What to resolve: the requirements, where a lock stands beside them."""
    return replace(sources, lock=None) if sources.requirements or sources.freeze else sources


def _text(locked: Locked, target: Target, path: Path, sources: PythonSources) -> str:
    size = size_of(locked.packages)
    weight = f", {megabytes(size)} of wheels" if size else ""
    following = (
        "sealift pack" if sources.lock == path else f'put lock = "{PYLOCK}" under [python] in sealift.toml'
    )
    return "\n".join(
        [
            f"wrote {path}: {len(locked.packages)} package(s) for {target}{weight}",
            *(f"  note: {note}" for note in locked.notes),
            f"  next: {following}",
        ]
    )
