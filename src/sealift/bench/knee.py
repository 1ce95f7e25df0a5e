"""Where a server's knee is: the highest rate that it still answers well. A pure decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sealift.bench.tally import Step

OK_SHARE: Final = 0.999
KEPT_UP: Final = 0.97
"""Achieved of offered: below this the server does not keep up, whatever its latencies."""
TIMES_LOWEST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Knee:
    """`step`: None when not even the lowest rate was answered well. `rule`: how it was decided, in words."""

    step: Step | None
    bound_ms: float | None
    rule: str


def find_knee(steps: Sequence[Step], slo_ms: float | None) -> Knee:
    """The highest constant rate up to which every step keeps up, answers 99.9 % with 200 and stays in bounds.

    The bound of a step's p99 is the SLO; without one, three times the lowest p99 of the ladder's lower half
    (a stated rule, not a promise: a server without an SLO has no right or wrong).

    Args:
        steps: of the ladder; closed-loop ones are left out.
        slo_ms: 99 of 100 answers within.
    """
    ladder = sorted((step for step in steps if step.offered_rps), key=lambda step: step.offered_rps or 0.0)
    bound = slo_ms if slo_ms is not None else _own_bound(ladder)
    if slo_ms is not None:
        rule = f"the highest rate with p99 <= {slo_ms:g} ms (the SLO), 99.9 % answered with 200"
    else:
        rule = (
            f"no SLO: the highest rate with p99 <= {TIMES_LOWEST:g} times the lowest p99 of the lower half, "
            "99.9 % answered with 200"
        )
    last = None
    for step in ladder:
        if bound is None or not is_good(step, bound):
            break
        last = step
    return Knee(last, bound, rule)


def is_good(step: Step, bound_ms: float) -> bool:
    """Claims that a constant-rate step was answered as it should be."""
    keeps_up = step.achieved_rps >= KEPT_UP * (step.offered_rps or 0.0)
    return keeps_up and step.ok_share >= OK_SHARE and step.p99_ms is not None and step.p99_ms <= bound_ms


def _own_bound(ladder: Sequence[Step]) -> float | None:
    lower = ladder[: (len(ladder) + 1) // 2]
    return min((TIMES_LOWEST * step.p99_ms for step in lower if step.p99_ms is not None), default=None)
