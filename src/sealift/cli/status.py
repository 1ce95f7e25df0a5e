"""`sealift status`: what is installed and how it serves; needs no root."""

from __future__ import annotations

import argparse
import calendar
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealift.bundle.documents import decode_release
from sealift.cli.audit import plain
from sealift.cli.keeping import runs_units, settings_for
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result, table
from sealift.errors import BundleError, NotServing, SealiftError
from sealift.host.units import service_unit
from sealift.ledger.tail import latest
from sealift.observe.history import table_of
from sealift.observe.status import BoxStatus, Demands, Left, ServiceStatus, ToolStatus, render, to_json
from sealift.observe.why import explain
from sealift.serve import control
from sealift.store.failures import failures_of
from sealift.store.files import read_document
from sealift.store.journal import read_journal
from sealift.store.prefix import TOOL, Prefix, choose_service
from sealift.store.receiving import read_receiving
from sealift.store.releases import InstalledRelease, active_release, installed_releases
from sealift.store.reserve import reserve_whole
from sealift.store.staging import noted_staging
from sealift.store.stamp import require_known_format


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `status`."""
    add_common(
        parser,
        "What is installed under a prefix and how it serves. Exit code 0: all serve; 50: one does not; "
        "51: one does, degraded.",
        "  sealift status\n"
        "  sealift status fraud --why        how it came to be active, what is watched, what failed\n"
        "  sealift status fraud --history    every install, switch, fall back and rollback\n"
        "  sealift status fraud --json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--why", action="store_true", help="the reasons behind the state, and what comes next")
    more.add_argument("--history", action="store_true", help="what was done, by whom and when, from the log")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `status`."""
    prefix = prefix_of(args)
    require_known_format(prefix)
    status = observe(prefix, args.name)
    text = render(status)
    if args.why:
        text = "\n".join([text, *(line for service in status.services for line in explain(service))])
    if args.history:
        text = _history(prefix, status)
    print_result(args, to_json(status) | _history_json(status, args.history), text)
    return status.exit_code


def observe(prefix: Prefix, name: str | None) -> BoxStatus:
    """The status of one service, or of all."""
    names = (choose_service(prefix, name),) if name else prefix.services()
    staging, coming = noted_staging(prefix), read_receiving(prefix)
    return BoxStatus(
        prefix=str(prefix.root),
        box=socket.gethostname(),
        services=tuple(_service(prefix, found) for found in names),
        free_bytes=shutil.disk_usage(_existing(prefix.root)).free,
        now=time.time(),
        reserve=reserve_whole(prefix),
        staging=f"{staging['name']} {staging['version']}" if staging else None,
        receiving=coming.words if coming else None,
        tool=_tool(prefix),
    )


def _tool(prefix: Prefix) -> ToolStatus | None:
    if not prefix.has_tool:
        return None
    found = active_release(prefix, TOOL)
    others = {other.tree.name: other.version for other in installed_releases(prefix, TOOL)}
    committed = [tree for tree in read_journal(prefix, TOOL).committed if tree != found.tree.name]
    return ToolStatus(found.version, next((others[tree] for tree in committed if tree in others), None))


def _service(prefix: Prefix, name: str) -> ServiceStatus:
    release = active_release(prefix, name)
    others = tuple(other for other in installed_releases(prefix, name) if other.tree != release.tree)
    return ServiceStatus(
        active=release,
        others=others,
        supervisor=_supervisor(prefix, name),
        journal=read_journal(prefix, name),
        left=_left(prefix, name),
        failures=failures_of(prefix, name),
        demands=_demands(prefix, release),
        history=latest(prefix.ledger, name),
        created=_created(release),
        unit=service_unit(name) if runs_units(prefix) else None,
    )


def _supervisor(prefix: Prefix, name: str) -> Mapping[str, Any] | None:
    try:
        return control.ask(prefix.control(name), {"do": "status"})
    except NotServing:
        return None


def _left(prefix: Prefix, name: str) -> Left | None:
    path = prefix.watched(name)
    if not path.is_file():
        return None
    doc = read_document(path)
    left = doc["left"]
    return Left(left["seconds"], left["requests"], tuple(doc["reasons"]))


def _demands(prefix: Prefix, release: InstalledRelease) -> Demands:
    try:
        settings = settings_for(prefix, release)
    except SealiftError:  # `config show` says what is wrong with them; the screen at 3 a.m. must come
        return Demands()
    return Demands(
        p99_ms=settings.slo.latency_p99_ms,
        memory_mb=settings.limits.max_memory_mb,
        threads=settings.threads,
        device=", ".join(settings.device or ("cpu",)),
    )


def _created(release: InstalledRelease) -> float:
    try:
        document = decode_release((release.tree / "release.json").read_bytes())
    except (OSError, BundleError):  # the tree is damaged: its own supervisor says so, the screen must come
        return 0.0
    return calendar.timegm(time.strptime(document.created, "%Y-%m-%dT%H:%M:%SZ"))


def _history(prefix: Prefix, status: BoxStatus) -> str:
    blocks = []
    for service in status.services:
        rows = [tuple(map(plain, row)) for row in table_of(service.history, None)]
        blocks += [service.active.name, table([("  " + row[0], *row[1:]) for row in rows])]
    return "\n".join([*blocks, f"  the whole log: sealift audit show ({prefix.ledger})"])


def _history_json(status: BoxStatus, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    return {
        "history": {
            service.active.name: [record.to_json() for record in service.history]
            for service in status.services
        }
    }


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
