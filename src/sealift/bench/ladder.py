"""The whole measurement: first answers, clients in a closed loop, then rates up to beyond saturation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealift.bench.knee import Knee, find_knee
from sealift.bench.load import Generator
from sealift.bench.tally import Step

CONNECTIONS: Final = (1, 2, 4, 8, 16, 32)
SHARES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
"""Of the best closed-loop rate: the ladder when no rates are named."""
WARM_UP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`rates`: None: `SHARES` of what the closed loop reached; empty: no ladder. `seconds`: of each step."""

    connections: Sequence[int] = CONNECTIONS
    rates: Sequence[float] | None = None
    seconds: float = 3.0
    slo_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured.

    `wrong`: golden inputs that were not answered as recorded, before the load. `ended_at`: when the last step was
    over, seconds since the epoch.
    """

    closed: tuple[Step, ...]
    ladder: tuple[Step, ...]
    knee: Knee
    slo_ms: float | None
    wrong: tuple[str, ...]
    cores: int
    ended_at: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Every answer that was not as recorded, in the order found."""
        return (*self.wrong, *(step.wrong for step in (*self.closed, *self.ladder) if step.wrong))

    @property
    def generator_was_the_limit(self) -> bool:
        """Claims that some figure may tell of the generator rather than of the server."""
        return any(step.generator_was_the_limit for step in (*self.closed, *self.ladder))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        knee = self.knee.step
        return {
            "closed": [step.as_json() for step in self.closed],
            "cores": self.cores,
            "ended_at": round(self.ended_at, 3),
            "generator_was_the_limit": self.generator_was_the_limit,
            "knee": {
                "bound_ms": None if self.knee.bound_ms is None else round(self.knee.bound_ms, 3),
                "p99_ms": None if knee is None or knee.p99_ms is None else round(knee.p99_ms, 3),
                "rps": None if knee is None else knee.offered_rps,
                "rule": self.knee.rule,
            },
            "ladder": [step.as_json() for step in self.ladder],
            "slo_ms": self.slo_ms,
            "wrong": list(self.problems),
        }


async def measure(generator: Generator, plan: Plan, tell: Callable[[str, int, int], None]) -> Curve:
    """Run the plan.

    Args:
        tell: called before every step with what it is, its number and how many there will be.
    Raises: NotServing, UsageError: the first answers are not there or not 200.
    """
    shares = SHARES if plan.rates is None else plan.rates
    count, number = len(plan.connections) + len(shares), 0
    wrong = await generator.first_answers()
    await generator.closed(min(4, max(plan.connections, default=1)), min(WARM_UP_S, plan.seconds))
    closed = []
    for connections in plan.connections:
        number += 1
        tell("1 client" if connections == 1 else f"{connections} clients", number, count)
        closed.append(await generator.closed(connections, plan.seconds))
    best = max((step.achieved_rps for step in closed), default=0.0)
    rates = plan.rates if plan.rates is not None else [rounded(best * share) for share in SHARES]
    ladder = []
    for rate in dict.fromkeys(rate for rate in rates if rate > 0):
        number += 1
        tell(f"{rate:g} requests/s", number, count)
        ladder.append(await generator.constant(rate, plan.seconds))
    found = find_knee(ladder, plan.slo_ms)
    cores, ended_at = len(os.sched_getaffinity(0)), time.time()
    return Curve(tuple(closed), tuple(ladder), found, plan.slo_ms, tuple(wrong), cores, ended_at)


def rounded(rate: float) -> float:
    """Two significant digits, three above 100: a rate that a person would name; at least 1."""
    digits = 2 if rate < 100 else 3
    return max(1.0, float(f"{rate:.{digits}g}"))
