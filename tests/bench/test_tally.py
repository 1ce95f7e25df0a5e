"""Percentiles and counts."""

from __future__ import annotations

import pytest

from sealift.bench.answer import Answer
from sealift.bench.ladder import rounded
from sealift.bench.tally import Tally, percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([number / 1000 for number in range(1, 101)], share) == pytest.approx(expected)


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.5) is None


def test_only_200_counts_as_answered_and_refusals_are_no_errors() -> None:
    tally = Tally()
    began = tally.begin(60.0)
    for status in (200, 200, 429, 503, 500):
        tally.answer(0, Answer(status, b"", b"", keeps=True), began)
    tally.fail()
    step = tally.finish(1, offered_rps=10.0, waiting=[began])
    assert (step.on_time, step.rejected, step.errors) == (2, 2, 3)
    assert step.ok_share == pytest.approx(2 / 7)
    assert step.as_json()["statuses"] == {"200": 2, "429": 1, "500": 1, "503": 1}


def test_an_answer_after_the_end_is_no_throughput_but_its_wait_counts() -> None:
    tally = Tally()
    began = tally.begin(0.0)
    tally.answer(0, Answer(200, b"", b"", keeps=True), began)
    step = tally.finish(1, offered_rps=10.0)
    assert step.on_time == 0
    assert step.p50_ms is not None


def test_rates_are_numbers_that_a_person_would_name() -> None:
    assert [rounded(rate) for rate in (0.2, 4.44, 87.3, 123.4, 17843.0)] == [1.0, 4.4, 87.0, 123.0, 17800.0]
