"""How often a release failed on this box: after two failures it is not tried again unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.errors import Blocked, StoreError
from sealift.store.files import read_document, write_document
from sealift.store.prefix import Prefix

FORMAT: Final = "sealift-failures/1"
BLOCKED_AFTER: Final = 2
_MAX_REASONS: Final = 8


@dataclass(frozen=True, slots=True)
class Failures:
    """What one release did here: how often it failed, when last (seconds since the epoch), and why then."""

    version: str
    count: int = 0
    at: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def blocked(self) -> bool:
        """It failed often enough."""
        return self.count >= BLOCKED_AFTER


def failures_of(prefix: Prefix, name: str) -> dict[str, Failures]:
    """Identity -> its failures, for a service. Raises: StoreError: the record is damaged."""
    path = prefix.failures(name)
    if not path.is_file():
        return {}
    doc = read_document(path)
    try:
        return {identity: _decode(entry) for identity, entry in doc["releases"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: not a record of failures ({error})") from error


def count_failure(
    prefix: Prefix, name: str, identity: str, version: str, reasons: Sequence[str], now: float
) -> Failures:
    """One more, durably."""
    known = failures_of(prefix, name)
    before = known.get(identity, Failures(version))
    failed = Failures(version, before.count + 1, int(now), tuple(reasons)[:_MAX_REASONS])
    _write(prefix, name, {**known, identity: failed})
    return failed


def forgive(prefix: Prefix, name: str, identity: str) -> None:
    """Start again at none: the release was committed, or somebody asked for another try."""
    known = failures_of(prefix, name)
    if known.pop(identity, None) is not None:
        _write(prefix, name, known)


def require_not_blocked(prefix: Prefix, name: str, identity: str) -> None:
    """Raises: Blocked: it failed twice here; says why it did."""
    failed = failures_of(prefix, name).get(identity)
    if failed is not None and failed.blocked:
        raise Blocked(
            f"{name} {failed.version} ({canonical.short(identity)}) failed {failed.count} times on this box and is "
            "not tried again by itself; nothing was changed",
            problems=failed.reasons,
            next_step="install a mended version; or, if the cause was this box, the same command with --retry",
        )


def _write(prefix: Prefix, name: str, known: dict[str, Failures]) -> None:
    releases = {
        identity: {
            "at": failed.at,
            "count": failed.count,
            "reasons": list(failed.reasons),
            "version": failed.version,
        }
        for identity, failed in known.items()
    }
    write_document(prefix.failures(name), {"format": FORMAT, "releases": releases})


def _decode(entry: dict[str, Any]) -> Failures:
    return Failures(entry["version"], entry["count"], entry["at"], tuple(entry["reasons"]))
