"""What one step of load counts: latencies, statuses, failures, and how busy the generator itself was."""

from __future__ import annotations

import math
import os
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sealift.bench.answer import Answer

GENERATOR_LIMIT: Final = 0.85
"""More than this of its one core: the generator may have been the limit, not the server."""
SAMPLES: Final = 16
MOST_LATENCIES: Final = 20_000_000
REJECTED: Final = (429, 503)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of load, finished. Latencies in ms over the answers with status 200; None: there was none.

    `offered_rps`: the rate of a constant-rate step, None for a closed loop. `connections`: of a closed loop, else
    the most that were open. `on_time`: answers with status 200 before the step's end. `failures`: connections that
    broke. `unanswered`: intended within the step, and without an answer when the patience after it was over; they
    count into the percentiles with the time they had waited. `lag_ms`: 99th percentile of how late the generator
    sent although a connection was free. `wrong`: a sampled answer that was not as recorded.
    """

    offered_rps: float | None
    connections: int
    seconds: float
    on_time: int
    statuses: dict[int, int]
    failures: int
    unanswered: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    generator_cores: float
    lag_ms: float
    wrong: str = ""

    @property
    def achieved_rps(self) -> float:
        """Answers with status 200 per second."""
        return self.on_time / self.seconds

    @property
    def rejected(self) -> int:
        """Refused by admission control: 429 and 503."""
        return sum(self.statuses.get(status, 0) for status in REJECTED)

    @property
    def errors(self) -> int:
        """Neither answered with 200 nor refused."""
        others = sum(n for status, n in self.statuses.items() if status not in (200, *REJECTED))
        return others + self.failures + self.unanswered

    @property
    def ok_share(self) -> float:
        """Of all that were asked, those answered with 200."""
        asked = sum(self.statuses.values()) + self.failures + self.unanswered
        return self.statuses.get(200, 0) / asked if asked else 0.0

    @property
    def generator_was_the_limit(self) -> bool:
        """Claims that these figures may tell of the generator rather than of the server."""
        slow = self.offered_rps is not None and self.lag_ms > max(1.0, (self.p99_ms or 0.0) / 4)
        return self.generator_cores > GENERATOR_LIMIT or slow

    def as_json(self) -> dict[str, Any]:
        """Plain values; statuses by number as text."""
        latencies = {
            name: None if value is None else round(value, 3)
            for name, value in (
                ("p50_ms", self.p50_ms), ("p90_ms", self.p90_ms), ("p99_ms", self.p99_ms),
                ("p999_ms", self.p999_ms), ("max_ms", self.max_ms),
            )
        }  # fmt: skip
        return {
            "achieved_rps": round(self.achieved_rps, 1),
            "connections": self.connections,
            "errors": self.errors,
            "failures": self.failures,
            "generator_cores": round(self.generator_cores, 2),
            "generator_was_the_limit": self.generator_was_the_limit,
            "lag_ms": round(self.lag_ms, 3),
            "offered_rps": self.offered_rps,
            "on_time": self.on_time,
            "rejected": self.rejected,
            "seconds": round(self.seconds, 3),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "unanswered": self.unanswered,
            "wrong": self.wrong,
            **latencies,
        }


@dataclass(slots=True)
class Tally:
    """Counts while a step runs; in the event loop's thread."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    lags: array[float] = field(default_factory=lambda: array("d"))
    samples: list[tuple[int, Answer]] = field(default_factory=list)
    on_time: int = 0
    _began: float = 0.0
    _until: float = math.inf
    _cpu_s: float = 0.0

    def begin(self, seconds: float) -> float:
        """The step begins now and lasts so long; returns the clock (`time.perf_counter`)."""
        self.latencies, self.lags, self.samples = array("d"), array("d"), []
        self.statuses, self.failures = Counter(), 0
        self._began, self._cpu_s, self.on_time = time.perf_counter(), _cpu_s(), 0
        self._until = self._began + seconds
        return self._began

    def answer(self, index: int, answer: Answer, intended: float) -> None:
        """One whole answer, now, to the request of that index that was due at `intended`."""
        now = time.perf_counter()
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.on_time += now <= self._until
            if len(self.latencies) < MOST_LATENCIES:
                self.latencies.append(now - intended)
            if len(self.samples) < SAMPLES:
                self.samples.append((index, answer))

    def fail(self) -> None:
        """A connection broke under a request."""
        self.failures += 1

    def finish(
        self, connections: int, *, offered_rps: float | None = None, waiting: Sequence[float] = ()
    ) -> Step:
        """The step is over. `waiting`: intended times of the requests that nobody answered."""
        now = time.perf_counter()
        times = sorted([*self.latencies, *(now - intended for intended in waiting)])
        p50, p90, p99, p999, longest = (percentile(times, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0))
        return Step(
            offered_rps, connections, self._until - self._began, self.on_time, dict(self.statuses), self.failures,
            len(waiting), p50, p90, p99, p999, longest, (_cpu_s() - self._cpu_s) / max(now - self._began, 1e-9),
            percentile(sorted(self.lags), 0.99) or 0.0,
        )  # fmt: skip


def percentile(times: Sequence[float], share: float) -> float | None:
    """Milliseconds below which `share` of the sorted `times` (seconds) lie, nearest rank; None of none."""
    if not times:
        return None
    return times[max(0, math.ceil(share * len(times)) - 1)] * 1e3


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system
