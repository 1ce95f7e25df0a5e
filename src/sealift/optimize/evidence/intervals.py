"""Counts -> intervals of shares, and of the difference of two shares that were seen on the same items."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from sealift.optimize.report import Interval

LEVEL: Final = 0.95
TAIL: Final = (1 - LEVEL) / 2
Z: Final = NormalDist().inv_cdf(1 - TAIL)
WILSON: Final = "Wilson 1927"
NEWCOMBE: Final = "Newcombe 1998, method 10"


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Both ends of the 95 % interval of `hits / n`; (0, 1) where n is 0. Source: Wilson, JASA 22 (1927) 209."""
    if n == 0:
        return 0.0, 1.0
    share, square = hits / n, Z * Z
    middle = share + square / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = (middle - half) / (1 + square / n), (middle + half) / (1 + square / n)
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def newcombe(both: int, first: int, second: int, neither: int) -> Interval:
    """The difference of two shares, first minus second, of items that both were asked.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635, method 10: Wilson intervals joined with the
    correlation of the pairs, which is corrected for continuity.

    Args:
        both, first, second, neither: how many items were right in both, only in one of them, in neither.
    """
    n = both + first + second + neither
    share_1, share_2 = (both + first) / n, (both + second) / n
    low_1, high_1 = wilson(both + first, n)
    low_2, high_2 = wilson(both + second, n)
    phi = _correlation(both, first, second, neither)
    down = _joined(share_1 - low_1, high_2 - share_2, phi)
    up = _joined(high_1 - share_1, share_2 - low_2, phi)
    difference = share_1 - share_2
    return Interval(low=max(-1.0, difference - down), high=min(1.0, difference + up), method=NEWCOMBE)


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    half = (both + first + second + neither) / 2
    product = both * neither - first * second
    corrected = max(product - half, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def unseen_share(n: int) -> float:
    """The largest share of all items that may behave otherwise than every one of `n` did; 1 where n is 0.

    The upper end of the exact interval of 0 of n (Clopper and Pearson 1934): 1 - 0.025 ** (1 / n).
    """
    return 1 - math.pow(TAIL, 1 / n) if n else 1.0


def student(tail: float, freedom: int) -> float:
    """The upper quantile of Student's t, to 1 % from 3 degrees of freedom on.

    Source: Abramowitz and Stegun 26.7.5.
    """
    z = NormalDist().inv_cdf(1 - tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def chance_of_at_least(hits: int, n: int, share: float) -> float:
    """How likely guessing at `share` (0..1, exclusive) gets `hits` or more of `n`: the exact binomial tail."""
    if hits <= 0:
        return 1.0
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * math.log(share) + (n - k) * math.log1p(-share)
        for k in range(hits, n + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))
