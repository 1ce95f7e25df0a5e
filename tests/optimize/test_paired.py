"""Intervals against published tables, direct implementations and simulation; verdicts that know when not to judge."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sealift.errors import ModelFailed
from sealift.optimize.evidence.bootstrap import BCA, bca
from sealift.optimize.evidence.delong import DELONG, areas, midranks
from sealift.optimize.evidence.evaluate import Outcome
from sealift.optimize.evidence.intervals import (
    NEWCOMBE,
    WILSON,
    chance_of_at_least,
    newcombe,
    student,
    unseen_share,
    wilson,
)
from sealift.optimize.evidence.metric import ItemMetric, LikenessMetric, RankMetric, WholeMetric
from sealift.optimize.evidence.paired import UNSEEN, compare, faster, verdict_of
from sealift.optimize.report import Comparison, Interval, Verdict

Floats = NDArray[np.float64]

SHARE = ItemMetric(name="top1", value=lambda outcome, label: float(outcome.answer["prediction"] == label))
MEAN = ItemMetric(name="points", value=lambda outcome, label: float(outcome.answer["prediction"]))
LOSS = ItemMetric(name="loss", value=MEAN.value, higher_is_better=False)
AUC = RankMetric(name="auc", score=lambda outcome: float(outcome.answer["prediction"]), is_positive=bool)
SAME = LikenessMetric(
    name="agreement", value=lambda one, other: float(one.answer == other.answer), is_share=True
)
WHOLE = WholeMetric(name="own", value=lambda answers, labels: max(each["prediction"] for each in answers))


def outcomes(values: Sequence[float] | Floats) -> list[Outcome]:
    vector = np.zeros(1, np.float32)
    return [Outcome({"prediction": float(value)}, vector, 1) for value in values]


def compared(low: float, high: float, *, n: int = 100, better: bool = True) -> Comparison:
    middle = (low + high) / 2
    return Comparison(
        metric="m",
        n=n,
        reference=0.5,
        value=0.5 + middle,
        difference=middle,
        interval=Interval(low=low, high=high),
        higher_is_better=better,
    )


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998 (Stat. Med. 17:2635), table II, method 10
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness
    ],
)
def test_newcombes_interval_is_the_published_one(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = newcombe(*table)
    digits = 4 if abs(low) < 0.1 else 3
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)
    assert found.method == NEWCOMBE


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda table: sum(table) > 0))
def test_newcombes_interval_turns_with_its_table_and_is_never_empty(table: tuple[int, int, int, int]) -> None:
    both, first, second, neither = table
    found, turned = newcombe(*table), newcombe(both, second, first, neither)
    assert found.low == pytest.approx(-turned.high)
    assert -1 <= found.low < found.high <= 1
    assert found.low <= (first - second) / sum(table) <= found.high


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe, Stat. Med. 17 (1998) 857, table I, method 3."""
    assert [round(end, 4) for end in wilson(81, 263)] == [0.2553, 0.3662]
    assert [round(end, 4) for end in wilson(0, 20)] == [0.0, 0.1611]
    assert wilson(0, 0) == (0.0, 1.0)


def test_quantiles_and_tails_are_those_of_the_tables() -> None:
    for freedom, quantile in ((3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)):
        assert student(0.025, freedom) == pytest.approx(quantile, rel=0.01)
    assert chance_of_at_least(8, 10, 0.5) == pytest.approx(56 / 1024)
    assert chance_of_at_least(0, 10, 0.5) == 1.0
    assert unseen_share(30) == pytest.approx(0.1157, abs=1e-4)


def slow_areas(scores: Floats, is_positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """DeLong 1988, eq. 4 to 6, as they are written."""
    kernel = [
        [[float(x > y) + (x == y) / 2 for y in row[~is_positive]] for x in row[is_positive]] for row in scores
    ]
    placed = np.array(kernel)
    above, below = placed.mean(axis=2), placed.mean(axis=1)
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(axis=1), covariance


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_quick_way_of_delong_is_the_direct_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    is_positive = np.arange(24) < random.integers(2, 22)
    scores = np.round(random.normal(size=(2, 24)) + is_positive, 1)  # rounded: with ties
    area, covariance = slow_areas(scores, is_positive)
    found = areas(scores, is_positive)
    assert [found.first, found.second] == pytest.approx(area.tolist())
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert found.variance == pytest.approx(variance, abs=1e-12)


def test_equal_values_share_their_rank() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_shares_are_compared_by_newcombe_agreement_by_wilson_ranks_by_delong() -> None:
    truth = [1.0] * 50
    reference, variant = outcomes([1] * 32 + [0] * 18), outcomes([1] * 20 + [0] * 12 + [1] * 2 + [0] * 16)
    share = compare(SHARE, variant, reference, truth)
    assert (share.n, share.reference, share.value) == (50, 0.44, 0.64)
    assert (round(share.interval.low, 4), round(share.interval.high, 4)) == (0.0562, 0.3292)
    agreement = compare(SAME, reference, variant, [None] * 50)
    low, high = wilson(36, 50)
    assert (agreement.reference, agreement.value) == (1.0, 0.72)
    assert (agreement.interval.low, agreement.interval.high) == (low - 1, high - 1)
    assert agreement.interval.method == WILSON
    random = np.random.default_rng(1)
    labels = [k % 2 for k in range(80)]
    scores = random.normal(size=80) + np.array(labels)
    ranked = compare(AUC, outcomes(scores), outcomes(scores + random.normal(size=80) / 5), labels)
    assert ranked.interval.method == DELONG
    assert ranked.interval.low < ranked.difference < ranked.interval.high


def test_other_figures_get_a_bootstrap_that_is_the_same_every_time() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=60)
    pair = outcomes(values), outcomes(values - 0.1 + random.normal(size=60) / 10)
    first = compare(MEAN, *pair, [None] * 60)
    assert first == compare(MEAN, *pair, [None] * 60)
    assert first.interval.method == BCA
    assert first.interval.low < -0.1 < first.interval.high < 0
    own = compare(WHOLE, *pair, [None] * 60)
    assert own.value == max(each.answer["prediction"] for each in pair[1])
    assert own.interval.low <= own.difference <= own.interval.high


@pytest.mark.parametrize("n", [1, 3, 5, 40])
@pytest.mark.parametrize("metric", [SHARE, MEAN, AUC, SAME, WHOLE], ids=lambda metric: metric.name)
def test_items_that_are_all_alike_prove_less_the_fewer_they_are(
    metric: ItemMetric | LikenessMetric | RankMetric | WholeMetric, n: int
) -> None:
    same = outcomes([k % 2 for k in range(n)])
    found = compare(metric, same, same, [k % 2 for k in range(n)])
    assert found.difference == 0
    reach = found.interval.high - found.interval.low
    assert reach >= 0.7 * unseen_share(n)
    if found.interval.method == UNSEEN:
        assert reach == pytest.approx(2 * min(1.0, unseen_share(n) * (2 if metric is AUC else 1)))
    assert verdict_of(found, 0.01) is Verdict.NOT_ENOUGH_EVIDENCE


def test_a_constant_shift_of_a_few_items_is_not_taken_for_certain() -> None:
    before = [0.5, 0.6, 0.7, 0.8, 0.9]
    found = compare(MEAN, outcomes(before), outcomes([value - 0.2 for value in before]), [None] * 5)
    assert found.interval.method == UNSEEN
    assert found.interval.low < -0.2 < 0 < found.interval.high


def test_nothing_to_compare_is_no_evidence_and_can_be_written() -> None:
    for metric in (SHARE, SAME, AUC):
        found = compare(metric, [], [], [])
        assert (found.n, verdict_of(found, 1.0)) == (0, Verdict.NOT_ENOUGH_EVIDENCE)
    one_class = compare(AUC, outcomes([0.1, 0.2]), outcomes([0.1, 0.3]), [1, 1])
    assert verdict_of(one_class, 1.0) is Verdict.NOT_ENOUGH_EVIDENCE
    assert msgspec.json.decode(msgspec.json.encode(one_class), type=Comparison) == one_class


def test_an_answer_that_is_no_number_is_told_by_its_place() -> None:
    with pytest.raises(
        ModelFailed, match="points is not a finite number for 1 of 3 items, the first is number 2"
    ):
        compare(MEAN, outcomes([1, 2, 3]), outcomes([1, float("nan"), 3]), [None] * 3)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.02, Verdict.PASSED),
        (-0.009, -0.001, Verdict.PASSED),  # worse for sure, but by less than what is permitted
        (-0.03, -0.011, Verdict.FAILED),
        (-0.03, -0.01, Verdict.NOT_ENOUGH_EVIDENCE),
        (-0.011, 0.5, Verdict.NOT_ENOUGH_EVIDENCE),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low: float, high: float, verdict: Verdict) -> None:
    assert verdict_of(compared(low, high), 0.01) is verdict
    assert verdict_of(compared(-high, -low, better=False), 0.01) is verdict


def test_a_lower_loss_is_better() -> None:
    pair = outcomes([1, 2, 3, 4, 5, 6]), outcomes([2, 3, 4.5, 5, 6, 7.5])
    assert verdict_of(compare(LOSS, *pair, [None] * 6), 0.1) is Verdict.FAILED
    assert verdict_of(compare(MEAN, *pair, [None] * 6), 0.1) is Verdict.PASSED


def test_speed_is_a_ratio_of_rounds_side_by_side() -> None:
    random = np.random.default_rng(3)
    load = random.uniform(1, 3, size=25)  # whatever else the machine does meets both alike
    reference, variant = 10 * load, 4 * load * random.normal(1, 0.02, size=25)
    ratio, interval = faster(reference.tolist(), variant.tolist())
    assert ratio == pytest.approx(2.5, rel=0.15)
    assert interval.low <= ratio <= interval.high
    assert interval.low > 1.5
    assert (ratio, interval) == faster(reference.tolist(), variant.tolist())
    few = faster([10, 12, 11], [5, 5, 5])[1]
    assert (few.low, few.high, few.method) == (2.0, 2.4, "range of 3 rounds")
    assert faster([10], [5])[1].low == 0.0


@pytest.mark.parametrize(("drop", "n"), [(0.0, 60), (0.05, 100)])
def test_newcombes_interval_covers_what_it_says(drop: float, n: int) -> None:
    """Of 2,000 simulated evaluations; 95 % with the error of the simulation."""
    chances = [0.80, 0.05, 0.05 + drop, 0.10 - drop]
    tables = np.random.default_rng(4).multinomial(n, chances, size=2000)
    found = [newcombe(*(int(count) for count in table)) for table in tables]
    covered = np.mean([each.low <= -drop <= each.high for each in found])
    assert 0.935 <= covered <= 0.995


@pytest.mark.slow
def test_the_bootstrap_and_delong_cover_what_they_say() -> None:
    random = np.random.default_rng(5)
    means, ranks = 0, 0
    is_positive = np.arange(60) % 2 == 0
    for _ in range(150):
        skewed = random.exponential(size=30) - 1
        ends = bca(lambda at, skewed=skewed: skewed[at].mean(axis=1), 30)  # type: ignore[misc]
        assert ends is not None
        means += ends[0] <= 0 <= ends[1]
        signal = is_positive + random.normal(size=60)
        found = areas(signal + random.normal(size=(2, 60)) / 2, is_positive)
        ranks += abs(found.second - found.first) <= 1.96 * found.variance**0.5
    assert means / 150 >= 0.90
    assert ranks / 150 >= 0.90


def test_a_bootstrap_that_says_nothing_says_so() -> None:
    assert bca(lambda at: at.mean(axis=1) * 0.0, 50) is None
    assert bca(lambda at: at.mean(axis=1), 3) is None
    assert list(itertools.islice(bca(lambda at: at.mean(axis=1), 9) or (), 2)) != []
