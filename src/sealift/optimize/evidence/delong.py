"""Scores of two models on the same items -> both areas under the ROC curve, and the variance of their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DELONG: Final = "DeLong 1988, paired"


@dataclass(frozen=True, slots=True)
class Areas:
    """`variance` is that of `second - first`; 0 where all items are ranked alike, which proves nothing."""

    first: float
    second: float
    variance: float


def areas(scores: Floats, is_positive: NDArray[np.bool_]) -> Areas:
    """Compare two rankings.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, eq. 5; by midranks as in Sun and Xu,
    IEEE Signal Processing Letters 21 (2014) 1389, algorithm 2.

    Args:
        scores: float64 [2, items], higher means more likely positive.
        is_positive: [items]; at least one of each.
    """
    positive, negative = scores[:, is_positive], scores[:, ~is_positive]
    m, n = positive.shape[1], negative.shape[1]
    together = np.array([midranks(np.concatenate(pair)) for pair in zip(positive, negative, strict=True)])
    above = (together[:, :m] - np.array([midranks(row) for row in positive])) / n
    below = 1 - (together[:, m:] - np.array([midranks(row) for row in negative])) / m
    area = above.mean(axis=1)
    variance = _variance(above[1] - above[0]) / m + _variance(below[1] - below[0]) / n
    return Areas(float(area[0]), float(area[1]), variance)


def _variance(differences: Floats) -> float:
    """Of a single item none can be known: the largest that differences of shares can have."""
    return float(differences.var(ddof=1)) if len(differences) > 1 else 1.0


def midranks(values: Floats) -> Floats:
    """Ranks from 1 on; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)], np.float64)
