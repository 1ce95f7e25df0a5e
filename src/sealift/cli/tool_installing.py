"""Bringing sealift itself to a box: staged, asked in its own interpreter, switched, and asked again."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any, Final

from sealift import canonical
from sealift.bundle.read import VerifiedBundle
from sealift.check.launch import Bounds, check_release, require_ok
from sealift.cli.keeping import box_of, is_served, keeper_of, runs_units
from sealift.cli.refusals import recording_refusals
from sealift.cli.screen import megabytes, print_result, progress_of
from sealift.events import Progress
from sealift.host.units import service_unit
from sealift.install.install import Box, InstallReport, Outcome, plan, stage
from sealift.install.recover import recover_prefix
from sealift.install.tool import activate_tool, finish_tool, refuse_older
from sealift.install.trust import confirm_fingerprint, pin, pinned_root
from sealift.ledger.log import append, require_writable
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.store.failures import forgive, require_not_blocked
from sealift.store.lock import exclusive
from sealift.store.prefix import TOOL, Prefix, system
from sealift.store.releases import InstalledRelease, find_release
from sealift.target.compatible import incompatibilities
from sealift.target.host import read_host
from sealift.target.target import Target
from sealift.tool.probe import Probe
from sealift.trust.root import SignedRoot

SELFTEST_S: Final = 120.0
COMMAND: Final = "/usr/local/bin/sealift"


def install_tool(
    args: argparse.Namespace, prefix: Prefix, bundle: VerifiedBundle, offered: SignedRoot | None
) -> int:
    """`install` of a bundle whose product is sealift itself.

    Raises: NotActivated (60): its self-test failed, nothing was switched. FellBack (61): it did not answer after
        the switch, the one before is active. Downgrade: it is older. All that `install` raises.
    """
    box = _box(args, prefix, _misfits(bundle))
    with recording_refusals(prefix, "install", args.bundle, TOOL):
        refuse_older(prefix, bundle)
        if args.dry_run:
            return _dry_run(args, bundle, box)
        if offered is not None and pinned_root(prefix) is None:
            _confirm(args, offered)
        require_writable(prefix.ledger)
        with exclusive(prefix, "install"), progress_of(args) as progress:
            report, pinned = _install(args, bundle, offered, box, progress)
    fingerprint = bundle.root.fingerprint if pinned else None
    print_result(args, _result(report, fingerprint), _text(report, prefix, fingerprint))
    return 0


def activate_staged_tool(args: argparse.Namespace, prefix: Prefix) -> int:
    """`activate sealift VERSION`: as the second half of `install`. Raises: as `install_tool`."""
    box = _box(args, prefix)
    with recording_refusals(prefix, "activate", None, TOOL):
        release = find_release(prefix, TOOL, args.version)
        require_writable(prefix.ledger)
        with exclusive(prefix, "activate"):
            recover_prefix(prefix, lambda name: keeper_of(prefix, name), is_served(prefix))
            finish_tool(box, lambda each: _ask(prefix, each, _served(prefix)))
            if args.retry:
                forgive(prefix, TOOL, release.identity)
            require_not_blocked(prefix, TOOL, release.identity)
            served = _served(prefix)
            report = activate_tool(release, box, lambda each: _ask(prefix, each, served))
    print_result(args, _result(report, None), _text(report, prefix, None))
    return 0


def _install(
    args: argparse.Namespace,
    bundle: VerifiedBundle,
    offered: SignedRoot | None,
    box: Box,
    progress: Progress,
) -> tuple[InstallReport, bool]:
    """What changed, and whether a root was pinned."""
    prefix, served = box.prefix, _served(box.prefix)

    def ask(release: InstalledRelease) -> tuple[str, ...]:
        return _ask(prefix, release, served)

    for sentence in recover_prefix(prefix, lambda name: keeper_of(prefix, name), is_served(prefix)):
        progress.note(sentence)
    if finish_tool(box, ask) is not None:
        progress.note("an earlier switch of sealift was cut off; it answers, and is committed")
    planned = plan(bundle, box, retry=args.retry)
    if planned.is_active and planned.previous is not None:
        return InstallReport(Outcome.NOTHING_TO_DO, planned.previous, planned.previous), False
    if args.retry:
        forgive(prefix, TOOL, bundle.identity)
    release = stage(bundle, planned, box, progress)
    pinned = pin(prefix, offered, bundle.bundle.roots)
    report = InstallReport(Outcome.STAGED, release, planned.previous)
    append(prefix.ledger, Event.INSTALL, _facts(report, bundle), who=operator())
    if not args.stage:
        progress.start("switch, and ask it again")
        report = activate_tool(release, box, ask)
    return report, pinned


def _box(args: argparse.Namespace, prefix: Prefix, problems: tuple[str, ...] = ()) -> Box:
    """This box for the tool: no settings, no supervisor, and a check of its own."""
    box = box_of(args, prefix, TOOL, None, problems)
    return replace(
        box,
        require_settings=lambda _: None,
        check=lambda release: _selftest(prefix, release),
        served=lambda _: False,
        will_start=False,
    )


def _misfits(bundle: VerifiedBundle) -> tuple[str, ...]:
    return incompatibilities(Target.from_json(bundle.release.target), read_host(), None)


def _selftest(prefix: Prefix, release: InstalledRelease) -> dict[str, Any]:
    command = release.command("_selftest", "--prefix", str(prefix.root), "--expect", release.version)
    report = check_release(command, Bounds(timeout_s=SELFTEST_S))
    require_ok(report, f"{release.name} {release.version}", release.tree)
    return report.summary()


def _served(prefix: Prefix) -> tuple[str, ...]:
    return tuple(filter(is_served(prefix), prefix.services()))


def _ask(prefix: Prefix, release: InstalledRelease, served: tuple[str, ...]) -> tuple[str, ...]:
    return Probe(prefix, release.version, served).ask()


def _confirm(args: argparse.Namespace, offered: SignedRoot) -> None:
    if not (args.no_input or args.json) and sys.stdin.isatty():
        confirm_fingerprint(offered.root, input)


def _dry_run(args: argparse.Namespace, bundle: VerifiedBundle, box: Box) -> int:
    planned = plan(bundle, box, retry=args.retry)
    name = f"{TOOL} {bundle.release.version} {canonical.short(bundle.identity)}"
    before = planned.previous.version if planned.previous else "nothing"
    lines = [f"{name}: is active already, nothing to do"]
    if not planned.is_active:
        lines = [
            f"{name}: nothing was changed; an install would",
            f"  write {len(planned.missing.entries)} objects, {megabytes(planned.missing.size)}",
            f"  have it test itself in its own interpreter, for {SELFTEST_S / 60:.0f} minutes at most",
            f"  switch the command {box.prefix.bin / TOOL} from {before}; no service is touched",
        ]
    result = {
        "identity": bundle.identity,
        "is_active": planned.is_active,
        "name": TOOL,
        "objects": len(planned.missing.entries),
        "outcome": "dry_run",
        "previous": planned.previous.version if planned.previous else None,
        "size": planned.missing.size,
        "version": bundle.release.version,
    }
    print_result(args, result, "\n".join(lines))
    return 0


def _facts(report: InstallReport, bundle: VerifiedBundle) -> dict[str, Any]:
    return {
        "before": report.previous.version if report.previous else "",
        "identity": report.release.identity,
        "officers": list(bundle.vouched.officers),
        "outcome": report.outcome.name.lower(),
        "product": TOOL,
        "signers": list(bundle.signers),
        "version": report.release.version,
    }


def _result(report: InstallReport, fingerprint: str | None) -> dict[str, Any]:
    return {
        "identity": report.release.identity,
        "name": TOOL,
        "outcome": report.outcome.name.lower(),
        "pinned_root": fingerprint,
        "previous": report.previous.version if report.previous else None,
        "pruned": list(report.pruned.versions),
        "version": report.release.version,
    }


_WORDS: Final = {Outcome.COMMITTED: "is this box's sealift now"}


def _text(report: InstallReport, prefix: Prefix, fingerprint: str | None) -> str:
    release = report.release
    words = _WORDS.get(report.outcome, report.outcome.value)
    lines = [f"{TOOL} {release.version} {canonical.short(release.identity)}: {words}"]
    if fingerprint is not None:
        lines.append(f"  trust root pinned, compare with the paper: {fingerprint}")
    if report.outcome is Outcome.STAGED:
        return "\n".join([*lines, f"  next: sealift activate {TOOL} {release.version}"])
    if report.outcome is not Outcome.NOTHING_TO_DO:
        lines += [f"  checked: {note}" for note in release.check.get("notes", [])]
    if report.pruned.versions:
        lines.append(
            f"  removed: {', '.join(report.pruned.versions)}, {megabytes(report.pruned.size)} free again"
        )
    return "\n".join([*lines, *_about_services(report, prefix), *_next(report, prefix)])


def _about_services(report: InstallReport, prefix: Prefix) -> list[str]:
    """Supervisors that were started by the tool before serve on with it."""
    if report.previous is None or report.outcome is Outcome.NOTHING_TO_DO:
        return []
    lines = [f"  before: {report.previous.version} (kept: sealift rollback {TOOL})"]
    for name in _served(prefix):
        restart = (
            f"systemctl restart {service_unit(name)}; its socket stays open"
            if runs_units(prefix)
            else f"end its `sealift serve {name}` and start it again"
        )
        lines.append(f"  {name} serves on with the sealift it was started by; at your convenience: {restart}")
    return lines


def _next(report: InstallReport, prefix: Prefix) -> list[str]:
    command = prefix.bin / TOOL
    if report.previous is not None:
        return [f"  next: {command} status"]
    lines = [f"  next: {command} install BUNDLE"]
    if prefix == system():
        lines.insert(0, f"  to have it on everybody's PATH: ln -s {command} {COMMAND}")
    return lines
