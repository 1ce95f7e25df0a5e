"""`sealift optimize`: a project's models -> smaller and faster ones that meet every gate, or a measured no."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sealift.cli.options import add_common
from sealift.cli.screen import print_result, progress_of
from sealift.errors import UsageError
from sealift.project.file import load_project
from sealift.project.optimized import FOLDER


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `optimize`."""
    add_common(
        parser,
        "Build smaller and faster variants of the project's models, measure each beside the original, and keep the "
        f"fastest that meets every gate of [optimize]. The result in {FOLDER}/ is what serves and what is packed.",
        "  sealift optimize fraud\n"
        "  sealift optimize fraud --html report.html      (one page with charts, to look at and to print)\n"
        "  sealift optimize fraud --quick                 (while trying things out)\n"
        "  sealift optimize . --model detector --json\n"
        "  sealift optimize fraud                         (again, after Ctrl-C: calibration goes on where it was)",
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--model", metavar="NAME", help="only this one of several models")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure speed for a quarter of the time: wider intervals, the same gates",
    )
    parser.add_argument("--html", type=Path, metavar="F", help="also write one self-contained page")


def run(args: argparse.Namespace) -> int:
    """Run `optimize`."""
    project = load_project(args.project)
    entries = [entry for entry in project.models if args.model in (None, entry.name)]
    if not entries:
        known = ", ".join(entry.name for entry in project.models)
        raise UsageError(f"--model {args.model}: no such model (those of the project: {known})")
    pages = _places(args.html, [entry.name for entry in entries])
    # What measures takes a while to import: a wrong flag is told at once.
    from sealift.optimize import page, text
    from sealift.optimize.run import optimize_model
    from sealift.optimize.speed import QUICK, THOROUGH

    reports = []
    for entry, place in zip(entries, pages, strict=True):
        with progress_of(args) as progress:
            found = optimize_model(project, entry, progress, QUICK if args.quick else THOROUGH)
        reports.append(found)
        if place is not None:
            _write(place, page.draw(found))
    shown = "\n\n".join(text.summary(report, str(args.project)) for report in reports)
    written = "".join(f"\n  {place}" for place in pages if place is not None)
    result = {
        "models": [msgspec.to_builtins(report) for report in reports],
        "pages": [str(p) for p in pages if p],
    }
    print_result(args, result, f"{shown}{written}")
    return 0


def _places(html: Path | None, models: Sequence[str]) -> list[Path | None]:
    """One page a model: of several `report.html` becomes `report-NAME.html`.

    Raises: UsageError: a page could not be written there; nothing was measured yet.
    """
    if html is None:
        return [None] * len(models)
    if html.is_dir() or not html.absolute().parent.is_dir():
        raise UsageError(f"--html {html}: is a folder, or would lie in none")
    if len(models) == 1:
        return [html]
    return [html.with_name(f"{html.stem}-{name}{html.suffix}") for name in models]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {path}: {error.strerror}") from error
