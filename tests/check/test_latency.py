"""What a series of runs says: the p99 of a hundred, the longest of fewer, and never a cold one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealift.check.latency import Latency, measure


class Clock:
    """Time that passes only when a run takes it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds: float) -> Callable[[int], None]:
        """A run that takes these times in turn, the last one ever after."""
        left = list(seconds)

        def run(_: int) -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_a_quick_run_is_measured_a_hundred_times_after_three_cold_ones() -> None:
    clock = Clock()
    latency = measure(clock.taking(0.5, 0.4, 0.01, 0.001), clock)
    assert len(latency.times_ms) == 100
    assert latency.tail_ms == pytest.approx(1)
    assert latency.words == "p99 1.00 ms of 100 runs"


def test_one_outlier_in_a_hundred_is_no_p99_and_two_are() -> None:
    for slow, expected in ((1, 1.0), (2, 900.0)):
        latency = Latency((*[1.0] * (100 - slow), *[900.0] * slow))
        assert latency.tail_ms == expected


def test_a_slow_run_is_measured_for_three_seconds_and_gives_its_longest() -> None:
    clock = Clock()
    latency = measure(clock.taking(5.0, 0.7, 0.8, 0.6), clock)
    assert len(latency.times_ms) == 5
    assert latency.tail_ms == pytest.approx(800)
    assert latency.words == "at most 800.00 ms in 5 runs (too few for a p99)"


def test_a_very_slow_run_is_measured_once() -> None:
    clock = Clock()
    latency = measure(clock.taking(20.0), clock)
    assert latency.words == "at most 20000.00 ms in 1 run (too few for a p99)"
    assert latency.median_ms == pytest.approx(20_000)
    assert clock.now == pytest.approx(140), "one to warm up, one that counts"


def test_each_run_is_told_its_number() -> None:
    seen: list[int] = []
    measure(seen.append)
    assert seen == [0, 1, 2, *range(100)]
