"""Two models' answers to the same items -> Comparison with an interval, and what a gate makes of it.

Every comparison is paired and has a 95 % interval. Where all items behave alike no method can tell how much an unseen
one would differ: then the interval is not empty but as wide as `intervals.unseen_share` permits, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from sealift.errors import ModelFailed
from sealift.optimize.evidence.bootstrap import BCA, Figure, Floats, Indices, bca, resampled
from sealift.optimize.evidence.delong import DELONG, areas
from sealift.optimize.evidence.evaluate import Outcome
from sealift.optimize.evidence.intervals import TAIL, WILSON, Z, newcombe, unseen_share, wilson
from sealift.optimize.evidence.metric import (
    ItemMetric,
    Label,
    LikenessMetric,
    Metric,
    MomentMetric,
    RankMetric,
    WholeMetric,
)
from sealift.optimize.report import Comparison, Interval, Verdict

UNSEEN: Final = "all items alike: bounded by what 0 of n permits (Clopper-Pearson 1934)"
NO_ITEMS: Final = "nothing to compare"
_EXACT: Final = 1e-12


def compare(
    metric: Metric, reference: Sequence[Outcome], variant: Sequence[Outcome], labels: Sequence[Label]
) -> Comparison:
    """Hold a variant against the reference on the same items, in the same order.

    0/1 an item: Newcombe 1998, method 10; agreement: Wilson 1927; AUC: DeLong 1988; anything else: paired bootstrap
    (BCa). Without items, or for AUC with one class of labels only, `n` is 0 and the interval is all there is.

    Raises: ModelFailed: an answer that the metric can make no number of. ProjectError: the user's metric failed.
    """
    if not reference:
        return _nothing(metric)
    if isinstance(metric, LikenessMetric):
        return _likeness(metric, reference, variant)
    if isinstance(metric, RankMetric):
        return _ranked(metric, reference, variant, labels)
    if isinstance(metric, ItemMetric):
        first, second = (_values(metric, outcomes, labels) for outcomes in (reference, variant))
        return _of_items(metric, first, second)
    if isinstance(metric, MomentMetric):
        return _of_moments(metric, reference, variant, labels)
    return _of_whole(metric, reference, variant, labels)


def verdict_of(comparison: Comparison, worst_permitted_drop: float) -> Verdict:
    """Non-inferiority: is the whole interval on one side of what may be lost?

    Args:
        worst_permitted_drop: in the metric's own unit, 0 or more; a loss of exactly this is permitted.
    """
    interval = comparison.interval
    low, high = interval.low, interval.high
    if not comparison.higher_is_better:
        low, high = -high, -low
    if comparison.n == 0:
        return Verdict.NOT_ENOUGH_EVIDENCE
    if low >= -worst_permitted_drop - _EXACT:
        return Verdict.PASSED
    return Verdict.FAILED if high < -worst_permitted_drop else Verdict.NOT_ENOUGH_EVIDENCE


def faster(reference_ms: Sequence[float], variant_ms: Sequence[float]) -> tuple[float, Interval]:
    """How many times as fast, from rounds in which both took turns: the ratio of medians, with its interval.

    One round proves nothing: from 0 to ten times the ratio. Up to 6 rounds the interval is the range of the rounds'
    own ratios, which holds their true median with 1 - 2 ** (1 - rounds); beyond, percentiles of resampled rounds.

    Args:
        reference_ms, variant_ms: one positive time a round, at least one, as many of either.
    """
    times = np.array([reference_ms, variant_ms], np.float64)
    ratios = times[0] / times[1]
    ratio = float(np.median(times[0]) / np.median(times[1]))
    rounds = len(ratios)
    if rounds == 1:
        ends, method = (0.0, 10 * ratio), "one round"
    elif rounds <= 6:
        ends, method = (float(ratios.min()), float(ratios.max())), f"range of {rounds} rounds"
    else:
        drawn = resampled(
            lambda at: np.median(times[0][at], axis=1) / np.median(times[1][at], axis=1), rounds
        )
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
        ends, method = (float(low), float(high)), f"paired bootstrap of {rounds} rounds"
    return ratio, Interval(low=min(ends[0], ratio), high=max(ends[1], ratio), method=method)


def _nothing(metric: Metric) -> Comparison:
    likeness = isinstance(metric, LikenessMetric)
    level = 1.0 if likeness else 0.0
    return _comparison(
        metric, 0, (level, level), Interval(low=-1.0, high=0.0 if likeness else 1.0, method=NO_ITEMS)
    )


def _comparison(metric: Metric, n: int, values: tuple[float, float], interval: Interval) -> Comparison:
    return Comparison(
        metric=metric.name,
        n=n,
        reference=values[0],
        value=values[1],
        difference=values[1] - values[0],
        interval=interval,
        higher_is_better=getattr(metric, "higher_is_better", True),
    )


def _values(metric: ItemMetric, outcomes: Sequence[Outcome], labels: Sequence[Label]) -> Floats:
    values = [metric.value(outcome, label) for outcome, label in zip(outcomes, labels, strict=True)]
    return _finite(metric.name, np.array(values, np.float64))


def _finite(name: str, values: Floats) -> Floats:
    wrong = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if wrong.any():
        count, first = int(wrong.sum()), int(wrong.argmax()) + 1
        text = (
            f"{name} is not a finite number for {count} of {len(values)} items, the first is number {first}"
        )
        raise ModelFailed(text, code="not_finite")
    return values


def _of_items(metric: ItemMetric, first: Floats, second: Floats) -> Comparison:
    n = len(first)
    values = (float(first.mean()), float(second.mean()))
    if np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all():
        one, other = first == 1.0, second == 1.0
        counts = (one & other, other & ~one, one & ~other, ~one & ~other)
        return _comparison(metric, n, values, newcombe(*(int(count.sum()) for count in counts)))
    differences = second - first
    both = np.concatenate([first, second])
    spread = float(np.ptp(both)) or max(1.0, float(np.abs(both).max()))
    reach = unseen_share(n) * spread
    interval = _resampled_interval(lambda at: differences[at].mean(axis=1), n, reach)
    return _comparison(metric, n, values, interval)


def _resampled_interval(figure: Figure, n: int, reach: float) -> Interval:
    """`reach`: how far the items that may be unseen could move the figure; used where resampling says nothing."""
    found = float(figure(np.arange(n)[np.newaxis])[0])
    ends = bca(figure, n)
    if ends is None:
        return Interval(low=found - reach, high=found + reach, method=UNSEEN)
    return Interval(low=ends[0], high=ends[1], method=BCA)


def _likeness(metric: LikenessMetric, reference: Sequence[Outcome], variant: Sequence[Outcome]) -> Comparison:
    values = np.array([metric.value(*pair) for pair in zip(reference, variant, strict=True)], np.float64)
    n, mean = len(values), float(_finite(metric.name, values).mean())
    if metric.is_share:
        low, high = wilson(int(values.sum()), n)
        interval = Interval(low=low - 1, high=high - 1, method=WILSON)
    else:
        spread = max(metric.unseen, float(1 - values.min()))
        wide = _resampled_interval(lambda at: values[at].mean(axis=1), n, unseen_share(n) * spread)
        low, high = max(wide.low, -1.0) - 1, min(wide.high, 1.0) - 1
        interval = Interval(low=low, high=high, method=wide.method)
    return _comparison(metric, n, (1.0, mean), interval)


def _ranked(
    metric: RankMetric, reference: Sequence[Outcome], variant: Sequence[Outcome], labels: Sequence[Label]
) -> Comparison:
    scores = np.array([[metric.score(one) for one in each] for each in (reference, variant)], np.float64)
    _finite(metric.name, scores.T)
    is_positive = np.array([metric.is_positive(label) for label in labels])
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return _nothing(metric)
    found = areas(scores, is_positive)
    difference, method = found.second - found.first, DELONG
    reach = Z * math.sqrt(max(found.variance, 0.0))
    if reach <= _EXACT:  # the unseen share may all be of the smaller class
        reach = min(1.0, unseen_share(len(labels)) * len(labels) / min(positives, negatives))
        method = UNSEEN
    interval = Interval(low=max(-1.0, difference - reach), high=min(1.0, difference + reach), method=method)
    return _comparison(metric, len(labels), (found.first, found.second), interval)


def _of_moments(
    metric: MomentMetric, reference: Sequence[Outcome], variant: Sequence[Outcome], labels: Sequence[Label]
) -> Comparison:
    rows = [
        _finite(
            metric.name, np.array([metric.moments(*pair) for pair in zip(each, labels, strict=True)], np.float64)
        )
        for each in (reference, variant)
    ]  # fmt: skip
    values = tuple(float(metric.total(each.mean(axis=0)[np.newaxis])[0]) for each in rows)

    def difference(at: Indices) -> Floats:
        return metric.total(rows[1][at].mean(axis=1)) - metric.total(rows[0][at].mean(axis=1))

    n = len(labels)
    interval = _resampled_interval(difference, n, _reach_of(metric, rows, n))
    return _comparison(metric, n, (values[0], values[1]), interval)


def _reach_of(metric: MomentMetric, rows: Sequence[Floats], n: int) -> float:
    """How far the metric moves if the share that may be unseen went from one kind of item to another."""
    share, mean = unseen_share(n), rows[1].mean(axis=0)
    kinds = np.array(metric.kinds, np.float64) if metric.kinds else np.concatenate(rows)
    step = share * np.concatenate([kinds - other for other in (kinds.min(axis=0), *np.array(metric.kinds))])
    moved = metric.total(np.maximum(mean + step, 0.0))
    return float(np.abs(moved - metric.total(mean[np.newaxis])).max()) or share


def _of_whole(
    metric: WholeMetric, reference: Sequence[Outcome], variant: Sequence[Outcome], labels: Sequence[Label]
) -> Comparison:
    answers = [[outcome.answer for outcome in each] for each in (reference, variant)]

    def at(which: int, places: Sequence[int]) -> float:
        return metric.value([answers[which][k] for k in places], [labels[k] for k in places])

    def difference(draws: Indices) -> Floats:
        return np.array([at(1, places) - at(0, places) for places in draws.tolist()], np.float64)

    n = len(labels)
    values = (at(0, range(n)), at(1, range(n)))
    _finite(metric.name, np.array(values))
    spread = max(1.0, abs(values[0]), abs(values[1]))
    return _comparison(metric, n, values, _resampled_interval(difference, n, unseen_share(n) * spread))
