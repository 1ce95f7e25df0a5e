"""`sealift lock`: resolve the project's dependencies and write them with hashes."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from sealift.cli.options import add_common
from sealift.cli.pack import add_wheel_sources, wheel_cache
from sealift.cli.screen import print_result, progress_of
from sealift.collect.lock import collect_wheels, write_lock
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import box_side_for
from sealift.project.file import load_project
from sealift.store.files import write_file
from sealift.target.host import own_python, read_host
from sealift.target.wish import target_for

LOCK = "requirements.lock"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `lock`."""
    add_common(
        parser,
        f"Resolve the project's [python] dependencies for its target and write {LOCK} with hashes. "
        f'Name it as `lock = "{LOCK}"` to pack exactly these again.',
        "  sealift lock\n  sealift lock fraud",
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="DIR")
    add_wheel_sources(parser)


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
            progress=progress,
        )
        collected = collect_wheels(project.python, target, options, box=box_side_for(project.models))
    path = project.root / LOCK
    write_file(path, write_lock(collected, target).encode())
    count = len(collected.application)
    text = f'wrote {path}: {count} package(s)\n  next: put lock = "{LOCK}" under [python] in sealift.toml'
    print_result(args, {"packages": sorted(collected.application), "path": str(path)}, text)
    return 0
