"""`sealift rollback`: back to the release before, in a second, also on a full disk."""

from __future__ import annotations

import argparse
import time

from sealift import canonical
from sealift.cli.activate import result_of
from sealift.cli.keeping import box_of, is_served, keeper_of, runs_units
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.outcome import what_next
from sealift.cli.refusals import recording_refusals
from sealift.cli.screen import print_result
from sealift.install.install import InstallReport, release_to_return_to, return_to
from sealift.install.recover import finish_turn
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix, choose_product
from sealift.store.reserve import reserve_spent
from sealift.store.stamp import require_known_format


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rollback`."""
    add_common(
        parser,
        "Go back to the release before the active one: its files are still here and were checked, so this takes "
        "about a second and no pause, works on a full disk, and waits for no other command. Again: forward again.",
        "  sudo sealift rollback\n  sudo sealift rollback fraud\n  sudo sealift rollback fraud --json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `rollback`."""
    began = time.monotonic()
    prefix = prefix_of(args)
    require_known_format(prefix)
    name = choose_product(prefix, args.name)
    with recording_refusals(prefix, "rollback", None, name), reserve_spent(prefix):
        report = _back(args, prefix, name)
    took_s = time.monotonic() - began
    release, before = report.release, report.previous
    away = f" instead of {before.version}" if before is not None else ""
    shown = f"{name} {release.version} {canonical.short(release.identity)}"
    lines = [f"{shown}: {report.outcome.value}{away}, after {took_s:.2f} s"]
    lines += what_next(report, prefix, is_unit=runs_units(prefix))
    print_result(args, {**result_of(report), "seconds": round(took_s, 3)}, "\n".join(lines))
    return 0


def _back(args: argparse.Namespace, prefix: Prefix, name: str) -> InstallReport:
    keeper = keeper_of(prefix, name)
    if not is_served(prefix)(name):
        with exclusive(prefix, "rollback"):  # nobody else finishes what was cut off
            finish_turn(keeper)
    release = release_to_return_to(keeper)
    return return_to(release, box_of(args, prefix, name, release.interpreter))
