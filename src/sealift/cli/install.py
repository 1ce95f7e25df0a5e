"""`sealift install`: verify, stage, check on this box, switch."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.read import VerifiedBundle
from sealift.check.launch import check_release, require_ok
from sealift.cli.opening import open_for_install
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.refusals import recording_refusals
from sealift.cli.screen import print_result, progress_of
from sealift.errors import NotServing
from sealift.install.install import Box, InstallReport, Outcome, install
from sealift.install.trust import confirm_fingerprint, pin, pinned_root
from sealift.ledger.log import append, require_writable
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.serve import control
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix
from sealift.store.releases import InstalledRelease
from sealift.target.compatible import incompatibilities
from sealift.target.host import read_host
from sealift.target.interpreter import find_interpreter, own_base
from sealift.target.target import Target
from sealift.trust.root import SignedRoot

SWITCH_TIMEOUT_S = 180.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `install`."""
    add_common(
        parser,
        "Bring a bundle to this box: verify its signatures and bytes, stage it beside the old release, "
        "check it here in its own interpreter, then switch. Until the switch nothing that serves is touched.",
        "  sudo sealift install /media/usb --trust root.json   (the first time)\n"
        "  sudo sealift install /media/usb\n"
        "  sealift install bundle/ --prefix ~/sealift --trust root.json",
    )
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="the bundle, or the medium's folder with it"
    )
    parser.add_argument(
        "--trust", type=Path, metavar="ROOT.json", help="the trust root to pin at the first install"
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `install`."""
    prefix = prefix_of(args)
    with recording_refusals(prefix, "install", args.bundle):
        bundle, offered = open_for_install(args.bundle, args.trust, prefix)
        box = _box(prefix, bundle)
        if offered is not None and pinned_root(prefix) is None:
            _confirm(args, offered)
        require_writable(prefix.ledger)
        with exclusive(prefix, "install"), progress_of(args) as progress:
            report = install(bundle, box, progress)
            is_first = pin(prefix, offered, bundle.bundle.roots)
            append(prefix.ledger, Event.INSTALL, _facts(report, bundle), who=operator())
    fingerprint = bundle.root.fingerprint if is_first else None
    print_result(args, _result(report, fingerprint), _text(report, prefix, fingerprint))
    return 0


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


def _box(prefix: Prefix, bundle: VerifiedBundle) -> Box:
    target = Target.from_json(bundle.release.target)
    interpreter = find_interpreter(target, environ=os.environ, own_base=own_base())

    def check(release: InstalledRelease) -> dict[str, Any]:
        report = check_release(release.command("_check", str(release.tree)))
        require_ok(report, f"{release.name} {release.version}", release.tree)
        return report.summary()

    def serving(name: str) -> bool:
        try:
            control.ask(prefix.control(name), "status")
        except NotServing:
            return False
        return True

    def switch(name: str) -> None:
        answer = control.ask(prefix.control(name), "switch", SWITCH_TIMEOUT_S)
        if not answer["ok"]:
            raise NotServing(answer["error"])

    return Box(
        prefix=prefix,
        interpreter=interpreter,
        incompatibilities=incompatibilities(target, read_host(), interpreter),
        check=check,
        serving=serving,
        switch=switch,
        clock=time.time,
    )


def _result(report: InstallReport, fingerprint: str | None) -> dict[str, Any]:
    release = report.release
    return {
        "identity": release.identity,
        "name": release.name,
        "outcome": report.outcome.name.lower(),
        "pinned_root": fingerprint,
        "previous": report.previous.version if report.previous else None,
        "version": release.version,
    }


def _text(report: InstallReport, prefix: Prefix, fingerprint: str | None) -> str:
    release = report.release
    name = f"{release.name} {release.version} {canonical.short(release.identity)}"
    lines = [f"{name}: {report.outcome.value}"]
    if fingerprint is not None:
        lines.append(f"  trust root pinned, compare with the paper: {fingerprint}")
    if report.outcome is not Outcome.NOTHING_TO_DO:
        lines += [f"  checked: {note}" for note in release.check.get("notes", [])]
        if report.previous is not None:
            lines.append(f"  before: {report.previous.version}")
    if report.outcome is Outcome.ACTIVATED:
        lines.append(f"  next: {prefix.bin / 'sealift'} serve {release.name}")
    else:
        lines.append("  next: sealift status")
    return "\n".join(lines)
