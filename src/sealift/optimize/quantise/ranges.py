"""Histogram -> the range that eight bits are spent on: all of it, nearly all of it, or where least is lost."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import UsageError
from sealift.optimize.quantise.histogram import BINS, Histogram

MINMAX: Final = "minmax"
ENTROPY: Final = "entropy"
PERCENTILES: Final = {"percentile 99.9": 1e-3, "percentile 99.99": 1e-4, "percentile 99.999": 1e-5}
"""Name -> the share of the values that may be clipped, both ends together."""

METHODS: Final = (MINMAX, *PERCENTILES, ENTROPY)

_LEVELS: Final = 128
"""Of a magnitude, where both signs share a byte; else there are twice as many."""

_COARSE: Final = 2048
"""Bins of magnitude that entropy looks at, as TensorRT does."""

_STRIDE: Final = 16

_UNSEEN: Final = 1e-6
"""The share of a bin that holds nothing but what was clipped: without one the divergence would be infinite."""


def range_of(histogram: Histogram, method: str) -> tuple[float, float]:
    """`(low, high)` with `low <= 0 <= high`; `(0, 0)` where nothing but zeros was seen.

    Raises: UsageError: no such method.
    """
    if method not in METHODS:
        raise UsageError(f"no calibration method {method!r}; expected one of: {', '.join(METHODS)}")
    if histogram.low > histogram.high:
        return 0.0, 0.0
    low, high = histogram.low, histogram.high
    if method == ENTROPY:
        threshold = _least_divergence(histogram)
        low, high = max(low, -threshold), min(high, threshold)
    elif method != MINMAX:
        below, above = _tails(histogram, PERCENTILES[method] / 2)
        low, high = max(low, below), min(high, above)
    return min(low, 0.0), max(high, 0.0)


def _tails(histogram: Histogram, share: float) -> tuple[float, float]:
    """The ends of the bins that hold at least 1 - share of the values, counted from either side."""
    total = int(histogram.counts.sum())
    needed = total - int(total * share)
    from_left, from_right = np.cumsum(histogram.counts), np.cumsum(histogram.counts[::-1])
    top = int(np.searchsorted(from_left, needed)) + 1
    bottom = BINS - 1 - int(np.searchsorted(from_right, needed))
    return (bottom - BINS // 2) * histogram.width, (top - BINS // 2) * histogram.width


def _least_divergence(histogram: Histogram) -> float:
    """The magnitude to clip at: least KL divergence of the clipped values from what the levels keep of them.

    Zero is a level of its own, however wide they are: a spike there (Relu) must not decide.

    Source: S. Migacz, 8-bit Inference with TensorRT, GTC 2017, pages 29 to 40.
    """
    magnitudes, width = _magnitudes(histogram)
    levels = _LEVELS if histogram.low < 0 < histogram.high else 2 * _LEVELS
    used = int(np.flatnonzero(magnitudes)[-1]) + 1
    magnitudes[0] = min(magnitudes[0], magnitudes[1])
    tried = [*range(levels, used, _STRIDE), max(used, levels)]
    divergences = [_divergence(magnitudes, end, levels) for end in tried]
    # Of equal ones the widest: nothing is clipped without a gain.
    best = len(tried) - 1 - int(np.argmin(divergences[::-1]))
    return float(tried[best] * width)


def _magnitudes(histogram: Histogram) -> tuple[NDArray[np.int64], float]:
    """Counts of |x| in `_COARSE` bins, and the width of one."""
    half = BINS // 2
    folded = histogram.counts[half:] + histogram.counts[:half][::-1]
    merged = half // _COARSE
    return folded.reshape(-1, merged).sum(axis=1), histogram.width * merged


def _divergence(magnitudes: NDArray[np.int64], end: int, levels: int) -> float:
    """KL(P || Q): P the first `end` bins with what lies beyond added to the last, Q what the levels keep of them."""
    inside = magnitudes[:end].astype(np.float64)
    clipped = inside.copy()
    clipped[-1] += float(magnitudes[end:].sum())
    filled = clipped > 0
    edges = np.arange(levels) * end // levels
    counted = np.add.reduceat(inside, edges)
    bins = np.add.reduceat(filled.astype(np.float64), edges)
    sizes = np.diff(np.append(edges, end))
    spread = np.repeat(np.divide(counted, bins, out=np.zeros_like(counted), where=bins > 0), sizes)
    p, q = clipped[filled], spread[filled]
    if not q.any():
        return math.inf
    p, q = p / p.sum(), np.maximum(q / q.sum(), _UNSEEN)
    return float(np.sum(p * np.log(p / q)))
