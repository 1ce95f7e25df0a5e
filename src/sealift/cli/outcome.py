"""After a switch: what was done, what comes next, and waiting for the verdict."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from sealift.cli.keeping import keeper_of, runs_units, settings_for
from sealift.cli.screen import megabytes
from sealift.errors import FellBack, NotServing
from sealift.host import systemd
from sealift.host.units import service_unit
from sealift.install.install import InstallReport, Outcome
from sealift.serve import control
from sealift.store.journal import Phase
from sealift.store.prefix import Prefix
from sealift.store.releases import InstalledRelease

_LOOK_S: Final = 0.5
_SILENT_S: Final = 60.0
"""Nobody serves for so long: then nobody will give a verdict either."""


def what_next(report: InstallReport, prefix: Prefix, *, is_unit: bool) -> list[str]:
    """The lines that end the output: what was pruned, and the next command."""
    name, version = report.release.name, report.release.version
    lines = []
    if report.pruned.versions:
        gone = ", ".join(report.pruned.versions)
        lines.append(
            f"  removed: {gone}, {megabytes(report.pruned.size)} free again (the two before it are kept)"
        )
    match report.outcome:
        case Outcome.STAGED:
            lines.append(f"  next: sealift activate {name} {version}")
        case Outcome.COMMITTED if not is_unit:
            lines.append(f"  next: {prefix.bin / 'sealift'} serve {name}")
        case Outcome.COMMITTED:
            lines.append(f"  next: systemctl enable --now {service_unit(name)}")
        case Outcome.WATCHED | Outcome.STARTED:
            back = f"sealift rollback {name}" if report.previous else f"sealift status {name} --why"
            lines.append(f"  next: sealift status {name}   (not good? {back})")
        case _:
            lines.append("  next: sealift status")
    return lines


def start_units(args: argparse.Namespace, prefix: Prefix, report: InstallReport) -> tuple[str, ...]:
    """Write, enable and start the units of the system prefix; says what changed.

    Raises: HostError: systemd refused; the release is active, only its service does not run.
    """
    wanted = (Outcome.STARTED, Outcome.WATCHED, Outcome.COMMITTED, Outcome.NOTHING_TO_DO)
    if not runs_units(prefix) or report.outcome not in wanted:
        return ()
    settings = settings_for(prefix, report.release)
    start = not args.no_start
    applied = systemd.apply(
        report.release.name, settings.host, settings.port, settings.grpc_port, start=start
    )
    advice = [f"a new address waits for: {applied.advice}"] if applied.advice else []
    return (*applied.changed, *advice)


def wait_for_verdict(args: argparse.Namespace, prefix: Prefix, release: InstalledRelease) -> str:
    """Stay until the watch has ended; the sentence that says how.

    Raises: FellBack: it was taken back. NotServing: nobody serves it, so nobody will judge it.
    """
    keeper = keeper_of(prefix, release.name)
    silent_since: float | None = None
    while True:
        turn = keeper.journal.turn
        if turn is None or turn.tree != release.tree.name or turn.phase is Phase.RETURNED:
            return f"  another switch came between; sealift status {release.name}"
        if turn.phase is Phase.COMMITTED:
            return f"  committed: {'; '.join(turn.reasons) or 'nothing bad was seen'}"
        if turn.phase is Phase.FELL_BACK:
            raise fell_back(prefix, release)
        silent_since = _still_silent(prefix, release, silent_since)
        if not args.quiet and sys.stderr.isatty():
            print("  watching, Ctrl-C leaves it to the supervisor \r", end="", file=sys.stderr, flush=True)
        time.sleep(_LOOK_S)


def _still_silent(prefix: Prefix, release: InstalledRelease, since: float | None) -> float | None:
    try:
        control.ask(prefix.control(release.name), {"do": "status"})
    except NotServing as error:
        now = time.monotonic()
        if since is not None and now - since > _SILENT_S:
            raise NotServing(
                f"{release.name} {release.version} is active, but nobody has served it for {_SILENT_S:.0f} s, so "
                "nobody can commit it",
                next_step=f"{prefix.bin / 'sealift'} serve {release.name}",
            ) from error
        return since or now
    return None


def fell_back(prefix: Prefix, release: InstalledRelease) -> FellBack:
    """The error of a release that was taken back."""
    keeper = keeper_of(prefix, release.name)
    turn = keeper.journal.turn
    reasons = turn.reasons if turn is not None else ()
    safe = keeper.release(turn.safe).version if turn is not None and turn.safe else "the release before"
    return FellBack(
        f"{release.name} {release.version} was active, was bad, and was taken back; {safe} serves again",
        problems=reasons,
        next_step=f"sealift status {release.name} --why; then have it mended",
    )
