"""Scores against what happened: AUC with its interval, and the threshold that costs least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ACCEPTED_BAD: Final = 5
REFUSED_GOOD: Final = 1
"""The cost matrix that the table was published with: a bad case accepted costs five times a good one refused."""
_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Auc:
    """The share of (bad, good) pairs in which the bad one scores higher; `low` and `high`: 95 % interval."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, n = {self.count})"


def auc(scores: NDArray[np.float64], bad: Sequence[bool]) -> Auc:
    """Mann-Whitney: ties count half."""
    truth = np.array(bad)
    high, low = scores[truth], scores[~truth]
    value = float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2)
    reach = _NORMAL_95 * standard_error(value, len(high), len(low))
    return Auc(value, max(0.0, value - reach), min(1.0, value + reach), len(scores))


def standard_error(value: float, bad: int, good: int) -> float:
    """Of an AUC from so many bad and good cases. Hanley and McNeil 1982, eq. 1 and 2."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (bad - 1) * (q1 - value**2) + (good - 1) * (q2 - value**2)
    return float(np.sqrt(spread / (bad * good)))


def cost(scores: NDArray[np.float64], bad: Sequence[bool], threshold: float) -> float:
    """Per 100 cases, in units of a good case refused; a case is refused when its score reaches the threshold."""
    truth, refused = np.array(bad), scores >= threshold
    total = ACCEPTED_BAD * (truth & ~refused).sum() + REFUSED_GOOD * (~truth & refused).sum()
    return float(100 * total / len(scores))


def cheapest_threshold(scores: NDArray[np.float64], bad: Sequence[bool]) -> float:
    """Of the hundredths between 0 and 1 the one that costs least; of several the middle one."""
    hundredths = np.arange(1, 100) / 100
    costs = np.array([cost(scores, bad, threshold) for threshold in hundredths])
    best = hundredths[costs == costs.min()]
    return float(best[len(best) // 2])
