"""Rows of different lengths -> one length, where the declaration says with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.model.arrays import Arrays


@dataclass(frozen=True, slots=True)
class PadRule:
    """How one input grows along `axis` (0 is the batch): with `value`, after its own values, or `before` them."""

    axis: int
    value: int
    before: bool = False


def pad_to_same(arrays: Sequence[Arrays], pads: Mapping[str, PadRule]) -> list[Arrays]:
    """Every padded input as long as the longest among `arrays`; inputs without a rule as they are.

    Args:
        arrays: requests of one model. None of them is changed; what is long enough is not copied.
        pads: input name -> rule.
    """
    longest = {
        name: max((given[name].shape[rule.axis] for given in arrays), default=0)
        for name, rule in pads.items()
    }
    return [
        {
            name: _padded(array, pads[name], longest[name]) if name in pads else array
            for name, array in given.items()
        }
        for given in arrays
    ]


def shape_key(arrays: Arrays, pads: Mapping[str, PadRule]) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    """Equal for requests that may share a run once `pad_to_same` has met them; the batch axis does not count.

    Along a padded axis lengths meet that have the same next power of two: padding at most doubles a row, so
    that a short text never pays for a long one.
    """
    return tuple(
        (name, array.ndim, _met(array.shape, pads.get(name))) for name, array in sorted(arrays.items())
    )


def _met(shape: tuple[int, ...], rule: PadRule | None) -> tuple[int, ...]:
    return tuple(
        (size - 1).bit_length() if rule is not None and axis == rule.axis else size
        for axis, size in enumerate(shape)
        if axis > 0
    )


def _padded(array: NDArray[Any], rule: PadRule, length: int) -> NDArray[Any]:
    lacking = length - array.shape[rule.axis]
    if not lacking:
        return array
    widths = [(0, 0)] * array.ndim
    widths[rule.axis] = (lacking, 0) if rule.before else (0, lacking)
    return np.pad(array, widths, constant_values=rule.value)
