"""A worker's heartbeat: what it has answered since it started, and what may be concluded from it.

Standard library only: the supervisor reads it, and outlives every release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from math import ceil, inf
from typing import Any, Final


def _bounds(first_s: float, last_s: float, factor: float) -> tuple[float, ...]:
    bounds = [first_s]
    while bounds[-1] * factor < last_s:
        bounds.append(bounds[-1] * factor)
    return (*bounds, last_s, inf)


LATENCY_BOUNDS_S: Final = _bounds(0.0001, 60.0, 1.25)
"""Upper bounds in seconds, ends included: a p99 read from them is at most 25 % too high."""

_NO_LATENCIES: Final = (0,) * len(LATENCY_BOUNDS_S)
_NOW: Final = frozenset({"resident_bytes", "canary_problem", "degraded", "in_flight", "oldest_s"})
"""Fields that are a state, not a total: a window shows the later one's."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Totals since the worker's start, and its state now. Canaries are in none of the request totals.

    `requests`: inference requests answered (the client still there); of them `errors`: 5xx except 503 and
    504, `refused`: 503, `timeouts`: 504, `client_errors`: 4xx. `latency`: answers that reached the model, per
    bucket of `LATENCY_BOUNDS_S`, from a request's last byte to its answer. `canary_problem`: what the last
    canary found, empty when it was fine. `oldest_s`: age of the oldest request that waits or runs.
    `degraded`: which models do not run on their first device, and why; empty when all do.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    timeouts: int = 0
    client_errors: int = 0
    latency: tuple[int, ...] = _NO_LATENCIES
    resident_bytes: int = 0
    canaries: int = 0
    canary_failures: int = 0
    canary_problem: str = ""
    in_flight: int = 0
    oldest_s: float = 0.0
    degraded: str = ""

    def encode(self) -> dict[str, Any]:
        """As JSON; what is zero is left out, and of the latencies only used buckets travel."""
        found = {name: getattr(self, name) for name in _NAMES if name != "latency" and getattr(self, name)}
        used = {str(number): count for number, count in enumerate(self.latency) if count}
        return {**found, "latency": used} if used else found

    @classmethod
    def decode(cls, doc: Mapping[str, Any]) -> Beat:
        """From JSON; unknown keys are ignored, missing ones are zero.

        Raises: ValueError: a value of another type than the field has.
        """
        beat = cls()
        found: dict[str, Any] = {}
        for name in _NAMES:
            if name in doc:
                found[name] = _latency(doc[name]) if name == "latency" else _plain(beat, name, doc[name])
        return replace(beat, **found)

    def minus(self, earlier: Beat) -> Beat:
        """What happened between `earlier` and this one, two beats of the same worker."""
        return self._combine(earlier, -1)

    def plus(self, other: Beat) -> Beat:
        """Both together, with this one's state."""
        return self._combine(other, 1)

    def p99_s(self) -> float | None:
        """The 99th percentile, as `quantile_s`."""
        return self.quantile_s(0.99)

    def quantile_s(self, share: float) -> float | None:
        """The upper bound of the bucket that holds this quantile, 0 < share <= 1; None without any answer.

        Above the last finite bound: infinite.
        """
        total = sum(self.latency)
        if not total:
            return None
        rank, running = ceil(total * share), 0
        for bound, count in zip(LATENCY_BOUNDS_S, self.latency, strict=True):
            running += count
            if running >= rank:
                return bound
        return inf

    def _combine(self, other: Beat, sign: int) -> Beat:
        totals = {
            name: getattr(self, name) + sign * getattr(other, name)
            for name in _NAMES
            if name not in _NOW and name != "latency"
        }
        latency = tuple(a + sign * b for a, b in zip(self.latency, other.latency, strict=True))
        return replace(self, latency=latency, **totals)


_NAMES: Final = tuple(field.name for field in fields(Beat))


def total(beats: Iterable[Beat]) -> Beat:
    """All together; the state is the last one's."""
    result = Beat()
    for beat in beats:
        result = beat.plus(result)
    return result


def _latency(value: object) -> tuple[int, ...]:
    if not isinstance(value, Mapping):
        raise ValueError(f"latency: expected counts by bucket, got {value!r}")
    counts = list(_NO_LATENCIES)
    for number, count in value.items():
        # A bucket that this version does not have counts as the last: rather too slow than not at all.
        counts[min(int(number), len(counts) - 1)] += int(count)
    return tuple(counts)


def _plain(beat: Beat, name: str, value: object) -> object:
    expected = type(getattr(beat, name))
    if expected is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, expected):
        raise ValueError(f"{name}: expected {expected.__name__}, got {value!r}")
    return value


@dataclass(frozen=True, slots=True)
class WatchWish:
    """What a watch asks of the worker: a canary every `canary_s` seconds (0: none)."""

    canary_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the watched release at `now_s` (seconds, monotonic).

    `beat`: the last one of process `worker`, None before its first. `crashes`: how often its workers ended
    unexpectedly, did not get ready or hung, since it was switched to; `hung`: those that hung.
    """

    beat: Beat | None
    worker: int
    crashes: int
    hung: int
    now_s: float


class Advice(Enum):
    """What to do with a watched release."""

    WATCH = "watch on"
    COMMIT = "commit it"
    FALL_BACK = "go back to the release before it"
