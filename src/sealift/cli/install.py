"""`sealift install`: verify, stage, check on this box, switch."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.read import VerifiedBundle
from sealift.cli.equipping import add_equipment, equipment_steps, equipped
from sealift.cli.keeping import box_of, bundle_settings, is_served, keeper_of, runs_units
from sealift.cli.opening import open_for_install
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.outcome import start_units, wait_for_verdict, what_next
from sealift.cli.receiving import for_planning, received
from sealift.cli.refusals import recording_refusals
from sealift.cli.screen import megabytes, print_result, progress_of
from sealift.cli.tool_installing import install_tool
from sealift.events import Progress
from sealift.host import systemd
from sealift.install.install import Box, InstallReport, Outcome, Plan, activate, plan, stage
from sealift.install.recover import recover_prefix
from sealift.install.trust import confirm_fingerprint, pin, pinned_root
from sealift.ledger.log import append, require_writable
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.store.failures import forgive
from sealift.store.lock import exclusive
from sealift.store.prefix import TOOL, Prefix
from sealift.store.receiving import end_receiving
from sealift.store.stamp import require_known_format
from sealift.target.compatible import incompatibilities
from sealift.target.host import read_host
from sealift.target.interpreter import find_interpreter, own_base
from sealift.target.target import Target
from sealift.trust.root import SignedRoot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `install`."""
    add_common(
        parser,
        "Bring a bundle to this box: verify its signatures and bytes, stage it beside the old release, check it "
        "here in its own interpreter, then switch without a pause. Until the switch nothing that serves is "
        "touched; after it the release is watched, and taken back by itself if it turns out bad. Running it "
        "again after a cut is always safe.",
        "  sudo sealift install /media/usb --trust root.json   (the first time)\n"
        "  sudo sealift install /media/usb\n"
        "  sudo sealift install /media/usb --dry-run           (what it would do; changes nothing)\n"
        "  sudo sealift install /media/usb --stage             (now; in the change window: sealift activate)\n"
        "  sudo sealift install /media/usb --no-input          (one medium of several: exit 12 names the next)\n"
        "  sudo sealift install /media/usb --wait              (until it is committed, or fell back: exit 61)\n"
        "  sealift install bundle/ --prefix ~/sealift --trust root.json",
    )
    parser.add_argument(
        "bundle",
        type=Path,
        metavar="BUNDLE",
        help="the bundle, or the medium's folder with it or some volumes of it",
    )
    parser.add_argument(
        "--trust", type=Path, metavar="ROOT.json", help="the trust root to pin at the first install"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    how.add_argument(
        "--stage", action="store_true", help="bring it in and check it; `activate` switches later"
    )
    how.add_argument("--wait", action="store_true", help="stay until it is committed (0) or fell back (61)")
    parser.add_argument(
        "--no-start", action="store_true", help="write the systemd units, enable and start none"
    )
    parser.add_argument(
        "--forget", action="store_true", help="give up what came in of another bundle in volumes"
    )
    parser.add_argument(
        "--retry", action="store_true", help="try a release again that failed twice on this box"
    )
    add_equipment(parser)
    add_prefix(parser)


@dataclass(frozen=True, slots=True)
class _Done:
    """What one run of `install` did; `fingerprint` is that of a root that was pinned."""

    report: InstallReport
    found: tuple[str, ...]
    fingerprint: str | None


def run(args: argparse.Namespace) -> int:
    """Run `install`."""
    prefix = prefix_of(args)
    require_known_format(prefix)
    with recording_refusals(prefix, "install", args.bundle):
        bundle, offered = open_for_install(args.bundle, args.trust, prefix, may_lack=True)
    if bundle.release.product == TOOL:
        with recording_refusals(
            prefix, "install", args.bundle, TOOL
        ):  # small: it is not taken medium by medium
            bundle, offered = open_for_install(args.bundle, args.trust, prefix)
        return install_tool(args, prefix, bundle, offered)
    with recording_refusals(prefix, "install", args.bundle, bundle.release.product):
        box = _box(args, prefix, bundle)
        if args.dry_run:
            return _dry_run(args, bundle, for_planning(box, bundle))
        if offered is not None and pinned_root(prefix) is None:
            _confirm(args, offered)
        require_writable(prefix.ledger)
        here = received(args, bundle, offered, box)
        if here is not bundle:  # what the box must offer beside is known only now
            bundle, box = here, _box(args, prefix, here)
        with exclusive(prefix, "install"), progress_of(args) as progress:
            done = _install(args, bundle, offered, box, progress)
    started = start_units(args, prefix, done.report)
    result, text = _result(done), _text(done, prefix, started)
    if args.wait and done.report.outcome in (Outcome.WATCHED, Outcome.STARTED):
        text += "\n" + wait_for_verdict(args, prefix, done.report.release)
    print_result(args, result, text)
    return 0


def _install(
    args: argparse.Namespace,
    bundle: VerifiedBundle,
    offered: SignedRoot | None,
    box: Box,
    progress: Progress,
) -> _Done:
    prefix = box.prefix
    found = recover_prefix(prefix, lambda name: keeper_of(prefix, name), is_served(prefix))
    for sentence in found:
        progress.note(sentence)
    planned = plan(bundle, box, retry=args.retry)
    report = _staged(args, bundle, planned, box, progress)
    is_first = pin(prefix, offered, bundle.bundle.roots)
    append(prefix.ledger, Event.INSTALL, _facts(report, bundle), who=operator())
    if report.outcome is Outcome.STAGED and not args.stage:
        progress.start("switch")
        report = activate(report.release, box)
    return _Done(report, found, bundle.root.fingerprint if is_first else None)


def _staged(
    args: argparse.Namespace, bundle: VerifiedBundle, planned: Plan, box: Box, progress: Progress
) -> InstallReport:
    if planned.is_active and planned.previous is not None:
        end_receiving(box.prefix, bundle.release.product)
        return InstallReport(Outcome.NOTHING_TO_DO, planned.previous, planned.previous)
    if args.retry:
        forgive(box.prefix, bundle.release.product, bundle.identity)
    return InstallReport(Outcome.STAGED, stage(bundle, planned, box, progress), planned.previous)


def _dry_run(args: argparse.Namespace, bundle: VerifiedBundle, box: Box) -> int:
    planned = plan(bundle, box, retry=args.retry)
    release = bundle.release
    name = f"{release.product} {release.version} {canonical.short(bundle.identity)}"
    served = box.served(release.product)
    lines = [f"{name}: nothing was changed; an install would"]
    if planned.is_active:
        lines = [f"{name}: is active already, nothing to do"]
    else:
        lines.append(f"  write {len(planned.missing.entries)} objects, {megabytes(planned.missing.size)}")
        lines.append(f"  check it with {box.interpreter or 'its own interpreter'}, for {_minutes()} at most")
        before = planned.previous.version if planned.previous else "nothing"
        lines.append(f"  switch from {before}{' without a pause' if served else ', which nobody serves now'}")
        lines += [f"  {step}" for step in equipment_steps(args, bundle, box)]
        lines += [f"  {step}" for step in _unit_steps(args, bundle, box)]
    result = {
        "identity": bundle.identity,
        "is_active": planned.is_active,
        "name": release.product,
        "objects": len(planned.missing.entries),
        "outcome": "dry_run",
        "previous": planned.previous.version if planned.previous else None,
        "served": served,
        "size": planned.missing.size,
        "version": release.version,
    }
    print_result(args, result, "\n".join(lines))
    return 0


def _unit_steps(args: argparse.Namespace, bundle: VerifiedBundle, box: Box) -> tuple[str, ...]:
    if not runs_units(box.prefix):
        return ()
    settings = bundle_settings(box.prefix, bundle)
    return systemd.describe(
        bundle.release.product, settings.host, settings.port, settings.grpc_port, start=not args.no_start
    )


def _minutes() -> str:
    from sealift.check.launch import CHECK_TIMEOUT_S

    return f"{CHECK_TIMEOUT_S / 60:.0f} minutes"


def _confirm(args: argparse.Namespace, offered: SignedRoot) -> None:
    """On a terminal the paper decides; an unattended install trusts who wrote its command line."""
    if not (args.no_input or args.json) and sys.stdin.isatty():
        confirm_fingerprint(offered.root, input)


def _facts(report: InstallReport, bundle: VerifiedBundle) -> dict[str, Any]:
    return {
        "before": report.previous.version if report.previous else "",
        "identity": report.release.identity,
        "officers": list(bundle.vouched.officers),
        "outcome": report.outcome.name.lower(),
        "product": report.release.name,
        "signers": list(bundle.signers),
        "version": report.release.version,
    }


def _box(args: argparse.Namespace, prefix: Prefix, bundle: VerifiedBundle) -> Box:
    target = Target.from_json(bundle.release.target)
    found = None
    if not target.brings_interpreter:
        found = find_interpreter(target, environ=os.environ, own_base=own_base())
    problems = incompatibilities(target, read_host(), found)
    box = box_of(args, prefix, bundle.release.product, found.path if found else None, problems)
    return equipped(args, bundle, box)


def _result(done: _Done) -> dict[str, Any]:
    release, report = done.report.release, done.report
    return {
        "identity": release.identity,
        "name": release.name,
        "outcome": report.outcome.name.lower(),
        "pinned_root": done.fingerprint,
        "previous": report.previous.version if report.previous else None,
        "pruned": list(report.pruned.versions),
        "recovered": list(done.found),
        "version": release.version,
    }


def _text(done: _Done, prefix: Prefix, started: tuple[str, ...]) -> str:
    report = done.report
    release = report.release
    lines = [f"{release.name} {release.version} {canonical.short(release.identity)}: {report.outcome.value}"]
    if done.fingerprint is not None:
        lines.append(f"  trust root pinned, compare with the paper: {done.fingerprint}")
    if report.outcome is not Outcome.NOTHING_TO_DO:
        lines += [f"  checked: {note}" for note in release.check.get("notes", [])]
        if report.previous is not None:
            lines.append(f"  before: {report.previous.version}")
    lines += [f"  {sentence}" for sentence in started]
    return "\n".join([*lines, *what_next(report, prefix, is_unit=runs_units(prefix))])
