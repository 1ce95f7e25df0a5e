"""The knee is the highest rate up to which everything was answered well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.bench.steps import step

from sealift.bench.knee import find_knee


def rate_of(*steps: object, slo_ms: float | None = 50.0) -> float | None:
    found = find_knee(steps, slo_ms).step  # type: ignore[arg-type]
    return None if found is None else found.offered_rps


def test_the_highest_rate_within_the_slo_is_the_knee() -> None:
    assert rate_of(step(100, 5), step(200, 20), step(400, 49.9), step(800, 51)) == 400


def test_the_order_in_which_rates_were_tried_does_not_matter() -> None:
    assert rate_of(step(800, 51), step(100, 5), step(400, 49.9)) == 400


def test_a_rate_above_a_bad_one_does_not_count() -> None:
    assert rate_of(step(100, 5), step(200, 70), step(400, 10)) == 100


def test_no_rate_is_good() -> None:
    knee = find_knee([step(100, 60)], 50.0)
    assert knee.step is None
    assert "(the SLO)" in knee.rule


@pytest.mark.parametrize(
    "changed",
    [
        {"statuses": {200: 399, 500: 1}},
        {"statuses": {200: 399, 429: 1}},
        {"on_time": 380},
        {"failures": 1},
        {"unanswered": 1},
        {"p99_ms": None},
    ],
    ids=["500", "429", "behind", "broken", "unanswered", "nothing"],
)
def test_a_rate_that_is_not_kept_is_above_the_knee(changed: dict[str, object]) -> None:
    assert rate_of(step(200, 5), replace(step(400, 5), **changed)) == 200  # type: ignore[arg-type]


def test_without_an_slo_three_times_the_lowest_p99_is_the_bound() -> None:
    knee = find_knee([step(100, 6), step(200, 4), step(300, 11), step(400, 13)], None)
    assert knee.step is not None
    assert (knee.step.offered_rps, knee.bound_ms) == (300, 12)
    assert knee.rule.startswith("no SLO")


def test_clients_that_wait_for_their_answers_are_no_rate() -> None:
    assert rate_of(step(None, 5)) is None
