"""What is installed and how it serves: the screen at 3 a.m. (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final

from sealift import __version__, canonical
from sealift.errors import Degraded, NotServing
from sealift.ledger.record import Record
from sealift.observe.history import told
from sealift.store.failures import Failures
from sealift.store.journal import Journal, Phase
from sealift.store.releases import InstalledRelease

SOUND_YEARS: Final = 10
"""A clock so far behind or ahead of the day a release was made is not believed."""
_YEAR_S: Final = 365.25 * 86400
_TAKEN_BACK: Final = (Phase.FALLING_BACK, Phase.FELL_BACK)


@dataclass(frozen=True, slots=True)
class Demands:
    """What the active release must keep here: milliseconds, 10^6 bytes; None: not declared."""

    p99_ms: float | None = None
    memory_mb: float | None = None
    threads: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Left:
    """What a watch still asks for before it commits."""

    seconds: int
    requests: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: its active release, the others by what can be done with them, and what its supervisor says.

    `created` is when the active release was packed, seconds since the epoch. `update_bytes` is what staging a
    release of this size takes at most.
    """

    active: InstalledRelease
    others: tuple[InstalledRelease, ...]
    supervisor: Mapping[str, Any] | None
    journal: Journal = field(default_factory=Journal)
    left: Left | None = None
    failures: Mapping[str, Failures] = field(default_factory=dict)
    demands: Demands = field(default_factory=Demands)
    history: tuple[Record, ...] = ()
    created: float = 0.0
    unit: str | None = None

    @property
    def state(self) -> str:
        """The supervisor's state, or NOT SERVING."""
        return str(self.supervisor["state"]) if self.supervisor else "NOT SERVING"

    @property
    def degraded(self) -> str:
        """Which of its models do not run on their first device, and why; empty when all do."""
        return str((self.supervisor or {}).get("degraded") or "")

    @property
    def is_watched(self) -> bool:
        """Its latest turn is on probation."""
        return self.journal.phase is Phase.WATCHED

    @property
    def back_to(self) -> InstalledRelease | None:
        """Where `rollback` would go."""
        turn = self.journal.turn
        first = [turn.safe] if self.is_watched and turn is not None else []
        by_tree = {release.tree.name: release for release in self.others}
        return next((by_tree[tree] for tree in (*first, *self.journal.committed) if tree in by_tree), None)

    @property
    def staged(self) -> tuple[InstalledRelease, ...]:
        """Installed and checked, newer than the active one, never committed, not blocked and not taken back."""
        turn = self.journal.turn
        bad = {turn.tree} if turn is not None and turn.phase in _TAKEN_BACK else set()
        return tuple(
            release
            for release in self.others
            if release.seq > self.active.seq
            and release.tree.name not in {*self.journal.committed, *bad}
            and not self.failures.get(release.identity, Failures("")).blocked
        )


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """The sealift that is installed as a product of its own, and the version that `rollback sealift` returns to."""

    version: str
    back_to: str | None = None


@dataclass(frozen=True, slots=True)
class BoxStatus:
    """One prefix. `free_bytes` is what an ordinary user may still write; `now` is the box's clock.

    `reserve` claims that a rollback on a full disk has its space. `staging` is the version whose files were
    coming in when a command was cut off, or still runs. `tool` is None where the command is part of a service's
    release. `receiving` says how much of a bundle in volumes is here.
    """

    prefix: str
    box: str
    services: tuple[ServiceStatus, ...]
    free_bytes: int
    now: float
    reserve: bool = True
    staging: str | None = None
    receiving: str | None = None
    tool: ToolStatus | None = None

    @property
    def exit_code(self) -> int:
        """50 when a service does not serve what is active; else 51 when one is degraded; else 0."""
        if not all(_serves_active(service) for service in self.services):
            return NotServing.exit_code
        return Degraded.exit_code if any(service.degraded for service in self.services) else 0


def render(status: BoxStatus, zone: tzinfo | None = None) -> str:
    """About five lines a service and 110 columns, the state in capitals."""
    head = f"prefix {status.prefix}   box {status.box}   sealift {__version__}{_tool(status.tool)}"
    coming = _coming(status)
    if not status.services:
        lines = [head, "  nothing is installed", *coming]
        return "\n".join([*lines, "  next: sealift install BUNDLE --trust ROOT.json"])
    blocks = [_block(service, status, zone) for service in status.services]
    return "\n".join([head, *blocks, *coming])


def _coming(status: BoxStatus) -> list[str]:
    lines = []
    if status.staging:
        lines.append(f"  files of {status.staging} are coming in (or were cut off: install it again)")
    if status.receiving:
        lines.append(
            f"  receiving {status.receiving} (bring the next medium: sealift install PLACE; or give it up: --forget)"
        )
    return lines


def to_json(status: BoxStatus) -> dict[str, Any]:
    """The same facts for programs."""
    return {
        "box": status.box,
        "clock_ok": all(_clock(service, status.now) == "clock ok" for service in status.services),
        "free_bytes": status.free_bytes,
        "prefix": status.prefix,
        "receiving": status.receiving,
        "reserve": status.reserve,
        "services": [_service_json(service) for service in status.services],
        "staging": status.staging,
        "tool": {"back_to": status.tool.back_to, "version": status.tool.version} if status.tool else None,
    }


def _tool(tool: ToolStatus | None) -> str:
    if tool is None:
        return ""
    if tool.version != __version__:  # asked through another sealift than the box's own
        return f" (this box's own: {tool.version})"
    return f" (back to {tool.back_to}: sealift rollback sealift)" if tool.back_to else ""


def _block(service: ServiceStatus, status: BoxStatus, zone: tzinfo | None) -> str:
    release = service.active
    lines = [
        f"{release.name}  {service.state}  {release.version}  {canonical.short(release.identity)}"
        f"{'' if release.check.get('golden_checked') else '  not golden-checked'}",
        f"  {_standing(service, zone)} | {_back(service)}",
        f"  {_traffic(service)}",
        f"  {_load(service)} | {_disk(status, release)} | {_clock(service, status.now)}",
    ]
    lines += [f"  {line}" for line in _remarks(service)]
    if service.history:
        log = f" | log: journalctl -u {service.unit}" if service.unit else ""
        lines.append(f"  last: {told(service.history, zone)}{log}")
    if not _serves_active(service):
        lines.append(f"  next: {_remedy(service)}")
    return "\n".join(lines)


def _standing(service: ServiceStatus, zone: tzinfo | None) -> str:
    turn = service.journal.turn
    at = turn.at if turn is not None else service.active.installed_at
    since = f"since {datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"
    if turn is None:
        return since
    match turn.phase:
        case Phase.WATCHED:
            return f"{since}, watched {_left(service.left)}, then committed"
        case Phase.COMMITTED:
            return f"{since}, committed"
        case Phase.FELL_BACK:
            return f"{since}, fell back to it ({_version(service, turn.tree)} was bad)"
        case Phase.RETURNED:
            return f"{since}, by rollback"
        case Phase.NOT_ACTIVATED:
            return f"{_version(service, turn.tree)} was not activated {since[6:]}, so it serves on"
        case _:
            return f"{turn.phase.value} since {since[6:]}"


def _left(left: Left | None) -> str:
    if left is None:
        return "until it is judged"
    minutes = f"{left.seconds} more s" if left.seconds < 120 else f"{-(-left.seconds // 60)} more minutes"
    return f"{minutes} and {left.requests} more requests"


def _version(service: ServiceStatus, tree: str) -> str:
    known = (service.active, *service.others)
    return next((release.version for release in known if release.tree.name == tree), tree)


def _back(service: ServiceStatus) -> str:
    back = service.back_to
    if back is None:
        return "no older release to go back to"
    return f"back to {back.version}: sealift rollback {service.active.name}"


def _traffic(service: ServiceStatus) -> str:
    found = service.supervisor
    if found is None:
        return "nobody listens"
    scheme = "https" if found.get("certificate") else "http"
    also = f", gRPC {found['grpc_port']}" if found.get("grpc_port") else ""
    shown = f"{scheme}://{found['host']}:{found['port']}{also}, worker {found['worker']}"
    numbers = [f"traffic {_rate(found.get('rate', 0.0))}/s", f"5xx {found.get('errors_5xx', 0)}"]
    p99, limit = found.get("p99_ms"), service.demands.p99_ms
    if p99 is not None:
        numbers.append(f"p99 {p99:.3g}{'' if limit is None else f' of {limit:g}'} ms")
    if found.get("restarts"):
        numbers.append(f"worker restarted {found['restarts']} times")
    return f"{'  '.join(numbers)} | {shown}"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or not value else f"{value:.1f}"


def _load(service: ServiceStatus) -> str:
    demands, found = service.demands, service.supervisor or {}
    threads = f", {demands.threads} threads" if demands.threads else ""
    resident = found.get("resident_bytes")
    of = f" of {demands.memory_mb:g}" if demands.memory_mb is not None else ""
    memory = f", {resident / 1e6:.0f}{of} MB" if resident else ""
    return f"{demands.device}{threads}{memory}"


def _disk(status: BoxStatus, release: InstalledRelease) -> str:
    needed = release.total_size / 1e9
    spent = "" if status.reserve else ", the rollback reserve is spent"
    return f"disk {status.free_bytes / 1e9:.0f} GB free, an update needs {needed:.1f}{spent}"


def _clock(service: ServiceStatus, now: float) -> str:
    if now < service.created - 86400 or now < service.active.installed_at - 86400:
        return "CLOCK BEHIND (the release is from the future): set it"
    if service.created and now > service.created + SOUND_YEARS * _YEAR_S:
        return f"CLOCK AHEAD (the release would be over {SOUND_YEARS} years old): set it"
    return "clock ok"


def _remarks(service: ServiceStatus) -> list[str]:
    accept = f"to accept it: sealift config set {service.active.name} device=cpu"
    found = [f"DEGRADED: {service.degraded} ({accept})"] if service.degraded else []
    if service.staged:
        versions = ", ".join(release.version for release in service.staged)
        found.append(f"staged: {versions} (sealift activate {service.active.name} VERSION)")
    if service.left is not None and service.left.reasons:
        found.append(f"bad, and nothing to go back to: {'; '.join(service.left.reasons)}")
    blocked = [failed.version for failed in service.failures.values() if failed.blocked]
    if blocked:
        found.append(f"blocked after two failures: {', '.join(blocked)} (sealift status --why)")
    note = (service.supervisor or {}).get("note")
    return [*found, *([str(note)] if note else [])]


def _serves_active(service: ServiceStatus) -> bool:
    found = service.supervisor
    return found is not None and found["state"] == "SERVING" and found["identity"] == service.active.identity


def _remedy(service: ServiceStatus) -> str:
    name = service.active.name
    if service.supervisor is None:
        return f"systemctl start {service.unit}" if service.unit else f"sealift serve {name}"
    if service.supervisor["state"] == "SERVING":
        return f"it still serves {service.supervisor['release']}: stop it and sealift serve {name}"
    return "wait, then sealift status again"


def _service_json(service: ServiceStatus) -> dict[str, Any]:
    release, turn = service.active, service.journal.turn
    left = service.left
    return {
        "back_to": service.back_to.version if service.back_to else None,
        "blocked": sorted(failed.version for failed in service.failures.values() if failed.blocked),
        "check": release.check,
        "committed": [_version(service, tree) for tree in service.journal.committed],
        "degraded": service.degraded,
        "identity": release.identity,
        "installed_at": release.installed_at,
        "left": None if left is None else {"requests": left.requests, "seconds": left.seconds},
        "name": release.name,
        "others": [other.version for other in service.others],
        "phase": turn.phase.value if turn else None,
        "reasons": list(turn.reasons) if turn else [],
        "serving": dict(service.supervisor) if service.supervisor else None,
        "staged": [other.version for other in service.staged],
        "state": service.state,
        "version": release.version,
    }
