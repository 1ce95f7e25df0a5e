"""What is installed and how it serves: the screen at 3 a.m. (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sealift import __version__, canonical
from sealift.store.releases import InstalledRelease


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: its active release, the ones to go back to, and what its supervisor says."""

    active: InstalledRelease
    others: tuple[InstalledRelease, ...]
    supervisor: Mapping[str, Any] | None

    @property
    def state(self) -> str:
        """The supervisor's state, or NOT SERVING."""
        return str(self.supervisor["state"]) if self.supervisor else "NOT SERVING"


@dataclass(frozen=True, slots=True)
class BoxStatus:
    """One prefix. `free_bytes` is what an ordinary user may still write; `now` is the box's clock."""

    prefix: str
    box: str
    services: tuple[ServiceStatus, ...]
    free_bytes: int
    now: float

    @property
    def exit_code(self) -> int:
        """0 when every service serves what is active, else 50."""
        return 0 if all(_serves_active(service) for service in self.services) else 50


def render(status: BoxStatus, zone: tzinfo | None = None) -> str:
    """At most four lines a service and 100 columns, the state in capitals."""
    head = f"prefix {status.prefix}   box {status.box}   sealift {__version__}"
    if not status.services:
        return f"{head}\n  nothing is installed\n  next: sealift install BUNDLE --trust ROOT.json"
    blocks = [_block(service, status, zone) for service in status.services]
    return "\n".join([head, *blocks])


def to_json(status: BoxStatus) -> dict[str, Any]:
    """The same facts for programs."""
    return {
        "box": status.box,
        "free_bytes": status.free_bytes,
        "prefix": status.prefix,
        "services": [_service_json(service) for service in status.services],
    }


def _block(service: ServiceStatus, status: BoxStatus, zone: tzinfo | None) -> str:
    release = service.active
    lines = [f"{release.name}  {service.state}  {release.version}  {canonical.short(release.identity)}"]
    lines.append(f"  {_since(release, status.now, zone)}{_mark(release)}{_back(service)}")
    lines.append(f"  {_traffic(service)} | disk {status.free_bytes / 1e9:.0f} GB free")
    if not _serves_active(service):
        lines.append(f"  next: {_remedy(service)}")
    return "\n".join(lines)


def _since(release: InstalledRelease, now: float, zone: tzinfo | None) -> str:
    at = datetime.fromtimestamp(release.installed_at, zone)
    if now < release.installed_at:
        return f"installed {at:%Y-%m-%d %H:%M} (in the future: check this box's clock)"
    return f"installed {at:%Y-%m-%d %H:%M}"


def _mark(release: InstalledRelease) -> str:
    return "" if release.check.get("golden_checked") else ", not golden-checked"


def _back(service: ServiceStatus) -> str:
    if not service.others:
        return ", no older release to go back to"
    return f", also installed: {', '.join(release.version for release in service.others)}"


def _traffic(service: ServiceStatus) -> str:
    found = service.supervisor
    if found is None:
        return "nobody listens"
    restarts = f", worker restarted {found['restarts']} times" if found["restarts"] else ""
    return f"http://{found['host']}:{found['port']}, worker {found['worker']}{restarts}"


def _serves_active(service: ServiceStatus) -> bool:
    found = service.supervisor
    return found is not None and found["state"] == "SERVING" and found["identity"] == service.active.identity


def _remedy(service: ServiceStatus) -> str:
    if service.supervisor is None:
        return f"sealift serve {service.active.name}"
    if service.supervisor["identity"] != service.active.identity:
        return f"it still serves {service.supervisor['release']}: stop it and sealift serve {service.active.name}"
    return "wait, then sealift status again"


def _service_json(service: ServiceStatus) -> dict[str, Any]:
    release = service.active
    return {
        "check": release.check,
        "identity": release.identity,
        "installed_at": release.installed_at,
        "name": release.name,
        "others": [other.version for other in service.others],
        "serving": dict(service.supervisor) if service.supervisor else None,
        "state": service.state,
        "version": release.version,
    }


Ask = Callable[[str], Mapping[str, Any] | None]
"""Service name -> what its supervisor says, or None when nobody answers."""


def observe_service(
    name: str, installed: tuple[InstalledRelease, ...], active: InstalledRelease, ask: Ask
) -> ServiceStatus:
    """Join what is recorded with what the supervisor says."""
    others = tuple(release for release in installed if release.tree != active.tree)
    return ServiceStatus(active, others, ask(name))
