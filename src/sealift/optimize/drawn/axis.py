"""Values -> places on a line, with round figures to label it; total for any finite values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

LARGEST: Final = 1e12
"""What is larger is no measurement, and has no place on an axis."""
_MOST_TICKS: Final = 8


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, `low < high`; both above zero where it is logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis, 0..1; values beyond an end are put on it."""
        if self.is_log:
            value = max(value, self.low)
            part = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, part))


def is_drawable(*values: float) -> bool:
    """Claims that every value has a place on an axis."""
    return all(math.isfinite(value) and abs(value) <= LARGEST for value in values)


def linear(values: Sequence[float], *, from_zero: bool = False) -> Axis:
    """Round ends around drawable values, with some room at both; one value stands in the middle."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = min(0.0, low) if from_zero else low
    spread = max(high - low, abs(high) * 1e-3, 1e-9)
    low, high = (low if from_zero and low >= 0 else low - spread * 0.12), high + spread * 0.12
    step = _step((high - low) / 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(step * number for number in range(first, last + 1))
    inside = tuple(tick for tick in ticks if low <= tick <= high)
    return Axis(low, high, inside or (low, high))


def logarithmic(values: Sequence[float]) -> Axis:
    """For drawable values above zero; ticks at 1, 2, 5 of each power, or at powers where those are many."""
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    low, high = max(low, 1e-12) / 2.2, max(high, 1e-12) * 1.5
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for wanted in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in powers for digit in wanted]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(ticks) <= _MOST_TICKS:
            break
    every = max(1, math.ceil(len(ticks) / _MOST_TICKS))
    return Axis(low, high, tuple(ticks[::every]), is_log=True)


def apart(ticks: Sequence[float], axis: Axis, length: float, room: float) -> list[float]:
    """The ticks whose labels fit when each needs `room` of the axis' `length`."""
    every = 1
    while every < len(ticks):
        places = [axis.share(tick) * length for tick in ticks[::every]]
        if all(abs(right - left) >= room for left, right in pairwise(places)):
            break
        every += 1
    return list(ticks[::every])


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= rough * 0.999)
