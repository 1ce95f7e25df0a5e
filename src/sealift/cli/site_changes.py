"""Changing the site file: what was asked for -> a file that the release permits -> a service that runs with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealift.cli.keeping import SWITCH_TIMEOUT_S, runs_units
from sealift.errors import NotActivated, NotServing, SealiftError, UsageError
from sealift.host import systemd
from sealift.host.units import address_file, service_unit
from sealift.ledger.log import append
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.model.schema import leaves, refusal
from sealift.model.setting import Value, in_words
from sealift.model.settings import Schema, Settings, parsed, schema_of, settings_of
from sealift.serve import control
from sealift.store.prefix import Prefix
from sealift.store.releases import InstalledRelease, installed_releases
from sealift.store.site import SiteFile, changed, put_back, write_site

_ADDRESS: Final = ("host", "port", "grpc_port")
_TLS: Final = ("certificate", "key")
_AT_RESTART: Final = (*_ADDRESS, "drain_s", *_TLS)
_BY_WORKERS: Final = ("threads", "device", "threshold", "batch_max", "batch_wait_ms")
"""The last part of the names that a worker reads when it starts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value of the site file; None: it is not set there. `path` is where it stands."""

    name: str
    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def words(self) -> str:
        """`threads: 4 -> 2`."""
        return f"{self.name}: {_shown(self.before)} -> {_shown(self.after)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    simple: Value = tuple(map(str, value)) if isinstance(value, list) else value
    return in_words(simple) if isinstance(simple, str | int | float | tuple) else str(value)


def read_changes(schema: Schema, site: SiteFile, pairs: Sequence[str]) -> tuple[Change, ...]:
    """What `KEY=VALUE ...` changes in a site file; nothing that is so already.

    A key that the release does not know can only be taken out (`KEY=`).

    Raises: UsageError: a key twice. BadSettings: the file that would come out of it is not permitted; all problems.
    """
    standing = dict(leaves(parsed(site).table))
    changes: dict[str, Change] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        name = name.strip()
        if not pair.isprintable():
            raise UsageError(f"{pair!r}: expected KEY=VALUE in plain characters")
        if name in changes:
            raise UsageError(f"{name} is set twice in one command")
        setting = schema.settings.get(name)
        path = setting.path if setting is not None else tuple(name.split("."))
        after = None if not text.strip() else setting.parse(text.strip()) if setting is not None else text
        changes[name] = Change(name, path, standing.get(name), after)
    wanted = parsed(_with(site, site.path.stem, tuple(changes.values()))).table
    problems = list(schema.problems(wanted))
    if problems:
        raise refusal(f"{site.path} is unchanged", problems)
    return tuple(change for change in changes.values() if change.after != change.before)


def _with(site: SiteFile, name: str, changes: Sequence[Change]) -> SiteFile:
    """The file as it would be."""
    return SiteFile(site.path, changed(site, name, {change.path: change.after for change in changes}))


def apply_changes(
    prefix: Prefix, release: InstalledRelease, site: SiteFile, changes: Sequence[Change]
) -> tuple[str, ...]:
    """Log, write, and have a running service take it up; the caller holds the prefix's lock.

    Returns: sentences about what happened and what is still to do.
    Raises:
        NotActivated: no worker got ready with the new settings; the file is as before, the old one serves on.
        BadSettings: no worker could speak TLS with these files; nothing changed.
        StoreError: the log or the file cannot be written; nothing changed.
    """
    after = _with(site, release.name, changes)
    settings = settings_of(schema_of(release.tree), after)
    names = {change.name.rpartition(".")[2] for change in changes}
    notes = _about_tls(prefix, settings) if names & set(_TLS) else []
    _log(prefix, release, "set", [change.words for change in changes])
    write_site(site.path, after.data)
    if names & set(_BY_WORKERS):
        notes.append(_reload(prefix, release, site))
    if names & set(_AT_RESTART):
        notes += _at_restart(prefix, release.name, settings, moves=bool(names & set(_ADDRESS)))
    if names - {*_BY_WORKERS, *_AT_RESTART}:
        notes.append("slo, limits and watch count from the next check and watch on")
    return (*notes, *_warnings(prefix, release, after))


def _about_tls(prefix: Prefix, settings: Settings) -> list[str]:
    """What clients will complain about. A service that cannot start again is worse than a refusal now."""
    from sealift.cli.serve import worker_user  # asyncio and all: most changes are not about this
    from sealift.serve.http.tls import check_tls, tls_files

    files = tls_files(settings.tls.certificate, settings.tls.key)
    return [] if files is None else [f"warning: {each}" for each in check_tls(files, worker_user(prefix))]


def _reload(prefix: Prefix, release: InstalledRelease, before: SiteFile) -> str:
    control_path = prefix.control(release.name)
    try:
        control.ask(control_path, "status")
    except NotServing:
        return f"nobody serves {release.name} now; it starts with these settings"
    try:
        answer = control.ask(control_path, "reload", SWITCH_TIMEOUT_S)
    except NotServing as error:
        answer = {"error": error.message, "ok": False}
    if answer.get("ok"):
        return "a new worker serves with these settings; no request was lost"
    reason = str(answer.get("error") or "the supervisor gave no reason")
    put_back(before)
    _log(prefix, release, "put back", [reason])
    raise NotActivated(
        f"{before.path} is as before: no worker of {release.name} got ready with these settings, the old one serves on",
        problems=[reason],
        next_step=f"sealift status {release.name}; the worker's own words are in the log of the service",
    )


def _at_restart(prefix: Prefix, name: str, settings: Settings, *, moves: bool) -> list[str]:
    """What address and drain time wait for; the socket unit gets its new address at once."""
    if not runs_units(prefix) or not (Path("/") / address_file(name)).exists():
        return [f"host, ports, drain_s and tls count from the next start of sealift serve {name}"]
    advice = f"systemctl restart {service_unit(name)}"
    if moves:
        try:
            advice = (
                systemd.apply(name, settings.host, settings.port, settings.grpc_port, start=False).advice
                or advice
            )
        except SealiftError as error:
            return [f"the unit still has the old address: {error.message}; sealift install writes it anew"]
    return [f"host, ports, drain_s and tls wait for: sudo {advice}"]


def _warnings(prefix: Prefix, release: InstalledRelease, site: SiteFile) -> list[str]:
    """Other releases that are here and would refuse these settings: they could be switched to at any time."""
    found = []
    table = parsed(site).table
    for other in installed_releases(prefix, release.name):
        problems = list(schema_of(other.tree).problems(table)) if other.tree != release.tree else []
        if problems:
            found.append(
                f"warning: {other.version}, which is installed too, would refuse: {'; '.join(problems)}"
            )
    return found


def _log(prefix: Prefix, release: InstalledRelease, action: str, lines: Sequence[str]) -> None:
    facts = {
        "action": action,
        "changes" if action == "set" else "reason": list(lines),
        "file": str(prefix.site(release.name)),
        "product": release.name,
        "version": release.version,
    }
    append(prefix.ledger, Event.CONFIG, facts, who=operator())
