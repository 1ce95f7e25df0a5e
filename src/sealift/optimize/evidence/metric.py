"""What a metric is: five ways in which figures of items become one figure, each with its own kind of interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.optimize.evidence.evaluate import Outcome

Floats = NDArray[np.float64]
Label = object


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMetric:
    """The mean of one figure an item; a share where every figure is 0 or 1."""

    name: str
    value: Callable[[Outcome, Label], float]
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LikenessMetric:
    """The mean of one figure an item that compares a model with the reference; 1 where they are the same.

    `unseen`: how far an item that nobody looked at may fall short, at least.
    """

    name: str
    value: Callable[[Outcome, Outcome], float]
    is_share: bool
    unseen: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankMetric:
    """The area under the ROC curve."""

    name: str
    score: Callable[[Outcome], float]
    is_positive: Callable[[Label], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentMetric:
    """A function of the means of a few figures an item.

    `moments`: figures of one item. `total`: float64 [..., figures] means -> [...] the metric; vectorised.
    `kinds`: the figures that single items can have, where they are few.
    """

    name: str
    moments: Callable[[Outcome, Label], tuple[float, ...]]
    total: Callable[[Floats], Floats]
    kinds: tuple[tuple[float, ...], ...] = ()
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMetric:
    """A function of all answers and labels, as a user writes it."""

    name: str
    value: Callable[[Sequence[dict[str, Any]], Sequence[Label]], float]
    higher_is_better: bool = True


Metric = ItemMetric | LikenessMetric | RankMetric | MomentMetric | WholeMetric
