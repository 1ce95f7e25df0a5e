"""How long an answer takes on this box: warmed runs of the whole pipeline, and the figure at their end."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RUNS: Final = 100
"""So many make a p99; fewer give their longest instead."""
MEASURING_S: Final = 3.0
WARM_RUNS: Final = 3
WARMING_S: Final = 1.0

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Latency:
    """Measured runs, in milliseconds, the quickest first; never empty."""

    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Half of the runs are quicker."""
        return statistics.median(self.times_ms)

    @property
    def tail_ms(self) -> float:
        """The p99 (nearest rank) of at least 100 runs; of fewer, the longest."""
        return self.times_ms[math.ceil(0.99 * len(self.times_ms)) - 1] if self.is_p99 else self.times_ms[-1]

    @property
    def is_p99(self) -> bool:
        """Whether there were enough runs for a p99."""
        return len(self.times_ms) >= RUNS

    @property
    def words(self) -> str:
        """`p99 12.30 ms of 100 runs`, `at most 45.00 ms in 31 runs (too few for a p99)`."""
        count = len(self.times_ms)
        if self.is_p99:
            return f"p99 {self.tail_ms:.2f} ms of {count} runs"
        return f"at most {self.tail_ms:.2f} ms in {count} run{'s' if count > 1 else ''} (too few for a p99)"


def measure(run: Callable[[int], object], clock: Clock = time.perf_counter) -> Latency:
    """Warm up, then run 100 times or for 3 s, whichever ends first; `run` gets the number of the run."""
    began = clock()
    for number in range(WARM_RUNS):
        run(number)
        if clock() - began >= WARMING_S:
            break
    times_ms: list[float] = []
    until = clock() + MEASURING_S
    while len(times_ms) < RUNS and (not times_ms or clock() < until):
        start = clock()
        run(len(times_ms))
        times_ms.append((clock() - start) * 1000)
    return Latency(tuple(sorted(times_ms)))
