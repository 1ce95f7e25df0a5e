"""`sealift activate`: switch to a release that is installed and checked already."""

from __future__ import annotations

import argparse
from typing import Any

from sealift import canonical
from sealift.cli.keeping import box_of, is_served, keeper_of, runs_units
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.outcome import start_units, wait_for_verdict, what_next
from sealift.cli.refusals import recording_refusals
from sealift.cli.screen import print_result
from sealift.cli.tool_installing import activate_staged_tool
from sealift.errors import NotActivated
from sealift.install.install import InstallReport, Outcome, activate, active
from sealift.install.recover import recover_prefix
from sealift.ledger.log import require_writable
from sealift.store.failures import forgive, require_not_blocked
from sealift.store.lock import exclusive
from sealift.store.prefix import TOOL, Prefix
from sealift.store.releases import InstalledRelease, find_release


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `activate`."""
    add_common(
        parser,
        "Switch to an installed release, without a pause where it is served: one that `install --stage` brought "
        "in is watched as after an install; one that was committed before comes back as with `rollback`.",
        "  sudo sealift install /media/usb --stage     (in the afternoon)\n"
        "  sudo sealift activate fraud 2026.12.0       (in the change window)\n"
        "  sudo sealift activate fraud 2026.12.0 --wait",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("version", metavar="VERSION", help="as `sealift status` shows it")
    parser.add_argument(
        "--wait", action="store_true", help="stay until it is committed (0) or fell back (61)"
    )
    parser.add_argument(
        "--no-start", action="store_true", help="write the systemd units, enable and start none"
    )
    parser.add_argument(
        "--retry", action="store_true", help="try a release again that failed twice on this box"
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `activate`."""
    prefix = prefix_of(args)
    if args.name == TOOL:
        return activate_staged_tool(args, prefix)
    with recording_refusals(prefix, "activate", None, args.name):
        release = find_release(prefix, args.name, args.version)
        require_writable(prefix.ledger)
        with exclusive(prefix, "activate"):
            report = _activate(args, prefix, release)
    started = start_units(args, prefix, report)
    lines = [f"{release.name} {release.version} {canonical.short(release.identity)}: {report.outcome.value}"]
    lines += [f"  {sentence}" for sentence in started]
    lines += what_next(report, prefix, is_unit=runs_units(prefix))
    if args.wait and report.outcome in (Outcome.WATCHED, Outcome.STARTED):
        lines.append(wait_for_verdict(args, prefix, release))
    print_result(args, result_of(report), "\n".join(lines))
    return 0


def _activate(args: argparse.Namespace, prefix: Prefix, release: InstalledRelease) -> InstallReport:
    recover_prefix(prefix, lambda name: keeper_of(prefix, name), is_served(prefix))
    _require_interpreter(release)
    box = box_of(args, prefix, release.name, release.interpreter)
    previous = active(prefix, release.name)
    if previous is not None and previous.tree == release.tree:
        return InstallReport(Outcome.NOTHING_TO_DO, release, previous)
    if args.retry:
        forgive(prefix, release.name, release.identity)
    require_not_blocked(prefix, release.name, release.identity)
    return activate(release, box)


def _require_interpreter(release: InstalledRelease) -> None:
    if not release.interpreter.is_file():
        raise NotActivated(
            f"{release.name} {release.version} runs with {release.interpreter}, which is no longer there; "
            "nothing was changed",
            next_step="install that interpreter again, or the bundle again",
        )


def result_of(report: InstallReport) -> dict[str, Any]:
    """For programs."""
    release = report.release
    return {
        "identity": release.identity,
        "name": release.name,
        "outcome": report.outcome.name.lower(),
        "previous": report.previous.version if report.previous else None,
        "pruned": list(report.pruned.versions),
        "version": release.version,
    }
