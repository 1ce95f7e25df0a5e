"""What the verbs that change a box share: its keeper, its supervisor, its log."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sealift.bundle.read import VerifiedBundle, read_object
from sealift.check.launch import Bounds as CheckBounds
from sealift.check.launch import check_release, require_ok
from sealift.errors import (
    Downgrade,
    Locked,
    NoSpace,
    NotInstalled,
    NotServing,
    SealiftError,
    StoreError,
)
from sealift.host import systemd
from sealift.install.install import Box
from sealift.install.keeper import Keeper, Tell
from sealift.install.watch import Bounds
from sealift.ledger.log import append
from sealift.ledger.record import Event, Facts
from sealift.ledger.who import operator
from sealift.model.settings import Settings, schema_in_bundle, schema_of, settings_of
from sealift.serve import control
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix, system
from sealift.store.releases import InstalledRelease
from sealift.store.site import read_site

log = logging.getLogger("sealift.keeping")
SWITCH_TIMEOUT_S: Final = 300.0
_REFUSALS: Final[dict[int, type[SealiftError]]] = {
    kind.exit_code: kind for kind in (Downgrade, Locked, NoSpace, NotInstalled, StoreError)
}
"""What a supervisor refused before it began; anything else is a worker that could not serve."""


def keeper_of(prefix: Prefix, name: str, who: str | None = None) -> Keeper:
    """The keeper of a service; what it does goes into the box's log, signed by `who` (default: the operator)."""
    return Keeper(prefix, name, tell_to(prefix, who), time.time)


def tell_to(prefix: Prefix, who: str | None = None) -> Tell:
    """Into the log. A log that cannot be written is said, and does not stop a release from being taken back."""

    def tell(event: Event, facts: Facts) -> None:
        try:
            append(prefix.ledger, event, facts, who=who or operator())
        except SealiftError as error:
            log.error("%s is not in the log: %s", event.value, error.message)

    return tell


def is_served(prefix: Prefix) -> Callable[[str], bool]:
    """Whether a supervisor answers for a name."""

    def served(name: str) -> bool:
        try:
            control.ask(prefix.control(name), {"do": "status"})
        except NotServing:
            return False
        return True

    return served


def switch_by(prefix: Prefix) -> Callable[[str, str, bool], None]:
    """Ask the supervisor of a name to serve a tree."""

    def switch(name: str, tree: str, back: bool) -> None:
        request = {"do": "switch", "to": tree, "back": back}
        answer = control.ask(prefix.control(name), request, SWITCH_TIMEOUT_S)
        if not answer["ok"]:
            kind = _REFUSALS.get(answer.get("exit_code", 0), NotServing)
            raise kind(answer["error"], next_step=answer.get("next_step"))

    return switch


def box_of(
    args: argparse.Namespace,
    prefix: Prefix,
    name: str,
    interpreter: Path | None,
    incompatibilities: tuple[str, ...] = (),
) -> Box:
    """This box, for one service."""
    return Box(
        prefix=prefix,
        keeper=keeper_of(prefix, name),
        interpreter=interpreter,
        incompatibilities=incompatibilities,
        require_settings=lambda bundle: bundle_settings(prefix, bundle),
        check=lambda release: _check(prefix, release),
        served=is_served(prefix),
        switch=switch_by(prefix),
        clock=time.time,
        will_start=runs_units(prefix) and not getattr(args, "no_start", False),
    )


def runs_units(prefix: Prefix) -> bool:
    """The system prefix on a machine that systemd runs: services start as units."""
    return prefix == system() and systemd.systemd_at_work()


def settings_for(prefix: Prefix, release: InstalledRelease) -> Settings:
    """What a release runs with on this box. Raises: BadSettings."""
    return settings_of(schema_of(release.tree), read_site(prefix, release.name))


def watch_bounds(prefix: Prefix, release: InstalledRelease) -> Bounds:
    """What the watch of a release demands here."""
    settings = settings_for(prefix, release)
    memory_kb = release.check.get("memory_kb")
    return Bounds(
        window_s=settings.watch.window_s,
        requests=settings.watch.requests,
        quiet_s=settings.watch.quiet_s,
        canary_s=settings.watch.canary_s,
        p99_s=_scaled(settings.slo.latency_p99_ms, 1e-3),
        memory_bytes=_whole(_scaled(settings.limits.max_memory_mb, 1e6)),
        checked_bytes=memory_kb * 1000 if memory_kb else None,
        golden_checked=bool(release.check.get("golden_checked")),
    )


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def bundle_settings(prefix: Prefix, bundle: VerifiedBundle) -> Settings:
    """What a release that is not here yet would run with on this box. Raises: BadSettings."""
    store = store_of(prefix)

    def read(sha256: str) -> bytes | None:
        path = None if sha256 in bundle.bundle.objects else store.base(sha256)
        # What neither travels nor is here is refused there, by the name of what to carry.
        return path.read_bytes() if path is not None else read_object(bundle.bundle, sha256, store.base)

    return settings_of(schema_in_bundle(bundle, read), read_site(prefix, bundle.release.product))


def _check(prefix: Prefix, release: InstalledRelease) -> dict[str, Any]:
    site = prefix.site(release.name)
    given = [f"--site={site}"] if site.is_file() else []
    settings = settings_for(prefix, release)
    report = check_release(
        release.command("_check", str(release.tree), *given),
        CheckBounds(memory_mb=settings.limits.max_memory_mb),
    )
    require_ok(report, f"{release.name} {release.version}", release.tree)
    return report.summary()
