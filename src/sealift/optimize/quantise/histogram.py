"""Values of one tensor, however many -> lowest, highest and counts in a fixed number of bins.

The range is symmetric and a power of two, so that growing is exact: two bins become one. What comes out depends on
the values alone, not on their order nor on when the range grew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 8192
"""Even; a tensor without negative values uses at least a quarter of them."""

SMALLEST_EXPONENT: Final = -64
"""What lies below 2^-64 is counted as if the range went that far."""

_STEP: Final = 1 << 16
"""Values at a time: what lies between stays in the processor's cache."""


class NotFinite(ValueError):
    """A NaN or an infinity among the values."""


@dataclass(slots=True)
class Histogram:
    """Bin `i` counts the values in `[i - BINS/2, i + 1 - BINS/2) * 2^exponent / (BINS/2)`.

    `low` and `high` are exact; without values they are +inf and -inf. `counts` is int64 [BINS].
    """

    low: float
    high: float
    exponent: int
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Histogram:
        """No value yet."""
        return cls(math.inf, -math.inf, SMALLEST_EXPONENT, np.zeros(BINS, np.int64))

    @property
    def width(self) -> float:
        """Of one bin."""
        return math.ldexp(1.0, self.exponent + 1) / BINS

    def add(self, values: NDArray[Any]) -> None:
        """Count them.

        Args:
            values: float16 or float32, any shape.
        Raises: NotFinite: one is NaN or infinite; nothing was counted.
        """
        flat = np.ravel(values)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise NotFinite
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.grow(exponent_of(max(-low, high)))
        inverse = 1.0 / self.width
        for start in range(0, flat.size, _STEP):
            # In float64, where a product with a power of two is exact for every float32.
            scaled = np.multiply(flat[start : start + _STEP], inverse, dtype=np.float64)
            bins = np.floor(scaled, out=scaled).astype(np.int64)
            bins += BINS // 2
            self.counts += np.bincount(bins, minlength=BINS)

    def grow(self, exponent: int) -> None:
        """Let the range reach `2^exponent`; it never shrinks."""
        if not self.counts.any():
            self.exponent = max(self.exponent, exponent)
        while self.exponent < exponent:
            middle = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : 3 * BINS // 4] = middle
            self.exponent += 1


def exponent_of(magnitude: float) -> int:
    """The smallest whole number, `SMALLEST_EXPONENT` at least, whose power of two lies above `magnitude`."""
    return max(math.frexp(magnitude)[1], SMALLEST_EXPONENT) if magnitude > 0 else SMALLEST_EXPONENT
