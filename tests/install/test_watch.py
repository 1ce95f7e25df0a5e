"""The watch: pure, so every verdict is a line of numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.install.watch import Bounds, Watch, Watched, judge
from sealift.meter.beat import LATENCY_BOUNDS_S, Advice, Beat, Seen

BOUNDS = Bounds(window_s=600, requests=200, quiet_s=86400)


def beat(requests: int = 0, latency_s: float = 0.005, **totals: Any) -> Beat:
    counts = [0] * len(LATENCY_BOUNDS_S)
    counts[next(i for i, bound in enumerate(LATENCY_BOUNDS_S) if latency_s <= bound)] = requests
    return Beat(requests=requests, latency=tuple(counts), **totals)


def watched(seconds: float = 0, seen: Beat | None = None, **more: Any) -> Watched:
    return replace(Watched(seconds=seconds, seen=seen or Beat()), **more)


def test_long_enough_with_traffic_is_committed() -> None:
    judged = judge(watched(600, beat(200)), BOUNDS)
    assert judged.advice is Advice.COMMIT
    assert judged.reasons == ("watched 600 s and 200 requests, nothing bad",)


@pytest.mark.parametrize(
    ("seconds", "requests", "left"), [(599, 10_000, (1, 0)), (700, 150, (0, 50)), (0, 0, (600, 200))]
)
def test_before_that_it_says_what_is_missing(seconds: int, requests: int, left: tuple[int, int]) -> None:
    judged = judge(watched(seconds, beat(requests)), BOUNDS)
    assert judged.advice is Advice.WATCH
    assert (judged.seconds_left, judged.requests_left) == left


def test_a_quiet_night_is_committed_on_golden_inputs_and_says_so() -> None:
    judged = judge(watched(86400, beat(3, canaries=8640)), BOUNDS)
    assert judged.advice is Advice.COMMIT
    assert judged.reasons == (
        "committed on golden inputs only: 8640 of them as recorded, 3 of 200 requests in 86400 s",
    )


def test_a_quiet_night_without_golden_inputs_says_that_too() -> None:
    judged = judge(watched(86400), replace(BOUNDS, golden_checked=False))
    assert judged.advice is Advice.COMMIT
    assert judged.reasons[0].startswith("committed without golden inputs")


@given(requests=st.integers(0, 10**6), seconds=st.floats(0, 90000))
def test_a_storm_of_4xx_never_takes_a_release_back(requests: int, seconds: float) -> None:
    assert (
        judge(watched(seconds, beat(requests, client_errors=requests)), BOUNDS).advice is not Advice.FALL_BACK
    )


def test_4xx_are_not_traffic_that_proves_anything() -> None:
    assert judge(watched(600, beat(500, client_errors=400)), BOUNDS).advice is Advice.WATCH


@pytest.mark.parametrize("kind", ["errors", "timeouts", "refused"])
def test_failures_above_a_hundredth_take_it_back(kind: str) -> None:
    judged = judge(watched(10, beat(400, **{kind: 5})), BOUNDS)
    assert judged.advice is Advice.FALL_BACK
    assert judged.reasons[0].startswith("5 of 400 requests failed")


def test_few_failures_among_many_are_borne() -> None:
    assert judge(watched(10, beat(10_000, errors=90)), BOUNDS).advice is Advice.WATCH
    assert judge(watched(10, beat(100, errors=4)), BOUNDS).advice is Advice.WATCH


def test_where_nearly_all_fail_two_are_enough() -> None:
    assert judge(watched(10, beat(3, errors=2)), BOUNDS).advice is Advice.FALL_BACK


def test_failures_that_the_release_before_had_as_well_are_not_its_fault() -> None:
    before = beat(1000, errors=30)
    assert judge(watched(10, beat(1000, errors=50), before=before), BOUNDS).advice is Advice.WATCH
    assert judge(watched(10, beat(1000, errors=70), before=before), BOUNDS).advice is Advice.FALL_BACK


def test_a_release_that_turns_bad_late_is_judged_by_what_it_does_now() -> None:
    watch = Watch(BOUNDS, Watched())
    watch.observe(Seen(beat(1_000_000), 1, 0, 0, 0.0))
    for second in range(1, 600):
        watch.observe(Seen(beat(1_000_000 + second), 1, 0, 0, float(second)))
    judged = watch.observe(Seen(beat(1_000_700, errors=20), 1, 0, 0, 600.0))
    assert judged.advice is Advice.FALL_BACK
    assert "in the last 30 s" in judged.reasons[0]


def test_above_the_declared_slo_it_goes_back() -> None:
    bounds = replace(BOUNDS, p99_s=0.050)
    assert judge(watched(10, beat(200, 0.090)), bounds).advice is Advice.FALL_BACK
    assert judge(watched(10, beat(200, 0.049)), bounds).advice is Advice.WATCH
    assert judge(watched(10, beat(19, 0.090)), bounds).advice is Advice.WATCH


def test_without_an_slo_the_release_before_is_the_measure() -> None:
    before = beat(1000, 0.005)
    assert judge(watched(10, beat(500, 0.200), before=before), BOUNDS).advice is Advice.FALL_BACK
    assert judge(watched(10, beat(500, 0.020), before=before), BOUNDS).advice is Advice.WATCH
    assert judge(watched(10, beat(500, 0.200)), BOUNDS).advice is Advice.WATCH


def test_with_few_answers_it_is_enough_that_half_of_them_are_too_slow() -> None:
    before = beat(1000, 0.005)
    mixed = beat(57, 0.300).plus(beat(50, 0.002))
    judged = judge(watched(10, mixed, before=before), BOUNDS)
    assert judged.advice is Advice.FALL_BACK
    assert judged.reasons[0].startswith("half of the answers take")
    assert judge(watched(10, beat(9, 0.300), before=before), BOUNDS).advice is Advice.WATCH


def test_memory_above_the_limit_or_three_times_the_check_is_a_leak() -> None:
    limit = replace(BOUNDS, memory_bytes=10**9)
    assert judge(watched(1, beat(resident_bytes=10**9 + 1)), limit).advice is Advice.FALL_BACK
    measured = replace(BOUNDS, checked_bytes=10**8)
    assert judge(watched(1, beat(resident_bytes=557 * 10**6)), measured).advice is Advice.FALL_BACK
    assert judge(watched(1, beat(resident_bytes=555 * 10**6)), measured).advice is Advice.WATCH


def test_the_second_crash_takes_it_back_over_restarts_of_its_worker() -> None:
    watch = Watch(BOUNDS, Watched())
    assert watch.observe(Seen(beat(5), 1, 1, 0, 0.0)).advice is Advice.WATCH
    judged = watch.observe(Seen(None, 2, 2, 1, 1.0))
    assert judged.advice is Advice.FALL_BACK
    assert judged.reasons == (
        "the worker ended unexpectedly 2 times, 1 of them hung (fewer than 2 are borne)",
    )


def test_two_golden_inputs_that_fail_in_a_row_take_it_back() -> None:
    watch = Watch(BOUNDS, Watched())
    steps = [(1, 1), (2, 1), (3, 2), (4, 3)]
    advices = [
        watch.observe(
            Seen(Beat(canaries=ran, canary_failures=failed, canary_problem="y differs"), 1, 0, 0, ran)
        ).advice
        for ran, failed in steps
    ]
    assert advices == [Advice.WATCH, Advice.WATCH, Advice.WATCH, Advice.FALL_BACK]


def test_time_counts_only_while_somebody_watches() -> None:
    watch = Watch(BOUNDS, Watched(seconds=590, seen=beat(300)))
    watch.observe(Seen(beat(1), 1, 0, 0, 0.0))
    judged = watch.observe(Seen(beat(2), 1, 0, 0, 3600.0))  # the machine slept
    assert judged.advice is Advice.WATCH
    assert judged.seconds_left == 5.0


def test_what_was_watched_survives_a_restart_of_the_supervisor() -> None:
    watch = Watch(BOUNDS, Watched(before=beat(7)))
    watch.observe(Seen(beat(100), 1, 0, 0, 0.0))
    watch.observe(Seen(beat(150, errors=1), 1, 1, 0, 4.0))
    kept = Watched.from_json(watch.watched.to_json())
    again = Watch(BOUNDS, kept)
    again.observe(Seen(beat(60), 9, 0, 0, 1000.0))
    again.observe(Seen(beat(70), 9, 0, 0, 1001.0))
    assert again.watched.seen.requests == 220
    assert again.watched.seen.errors == 1
    assert (again.watched.crashes, again.watched.seconds) == (1, 5.0)
    assert again.watched.before == beat(7)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 10), st.booleans()), max_size=40)
)
def test_counts_never_fall_whatever_the_workers_do(steps: list[tuple[int, int, float, bool]]) -> None:
    watch = Watch(BOUNDS, Watched())
    now, worker, total, last = 0.0, 1, Beat(), Beat()
    for requests, errors, passed, restarts in steps:
        now += passed
        if restarts:
            worker, total = worker + 1, Beat()
        total = replace(total, requests=total.requests + requests + errors, errors=total.errors + errors)
        watch.observe(Seen(total, worker, 0, 0, now))
        assert watch.watched.seen.requests >= last.requests
        assert watch.watched.seen.errors >= last.errors
        assert watch.watched.recent.requests >= 0
        last = watch.watched.seen
    assert watch.watched.seen.requests == sum(requests + errors for requests, errors, _, _ in steps)
