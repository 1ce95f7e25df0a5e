"""The layout of the next run: bounds that always hold, and what the choice is worth in simulated time."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sealift.engine.concurrency import Layout, Layouts, choose

TWO = Layouts(2, 1.6)

layouts = st.builds(
    Layouts, st.integers(2, 16), st.just(0.0) | st.floats(1.1, 20, allow_nan=False, allow_infinity=False)
)
running = st.tuples(st.integers(0, 16), st.integers(0, 16))


@settings(deadline=None)
@given(st.integers(1, 100), running, layouts)
@example(1, (0, 2), Layouts(2, 3.5))  # more than its cores: a noisy measurement
def test_never_more_runs_than_cores(waiting: int, runs: tuple[int, int], layouts: Layouts) -> None:
    wide, narrow = runs
    if choose(waiting, wide, narrow, layouts) is not None:
        assert wide + narrow < layouts.cores


@settings(deadline=None)
@given(st.integers(1, 100), layouts | st.just(Layouts()))
def test_an_idle_processor_never_waits(waiting: int, layouts: Layouts) -> None:
    assert choose(waiting, 0, 0, layouts) is not None


@settings(deadline=None)
@given(st.integers(1, 100), running, layouts)
def test_runs_on_all_cores_are_never_side_by_side(
    waiting: int, runs: tuple[int, int], layouts: Layouts
) -> None:
    wide, narrow = runs
    if wide:
        assert choose(waiting, wide, narrow, layouts) is not Layout.WIDE


@settings(deadline=None)
@given(st.integers(2, 16), st.floats(1.1, 20))
def test_one_request_alone_runs_on_all_cores_where_that_is_faster(cores: int, speedup: float) -> None:
    assert choose(1, 0, 0, Layouts(cores, speedup)) is Layout.WIDE


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(2, 16))
def test_where_all_cores_gain_nothing_no_run_takes_them(waiting: int, cores: int) -> None:
    assert choose(waiting, 0, 0, Layouts(cores, 0.0)) is Layout.NARROW


@settings(deadline=None)
@given(layouts, st.integers(0, 15))
def test_a_queue_as_long_as_the_processor_takes_one_core_a_run(layouts: Layouts, narrow: int) -> None:
    waiting = max(layouts.cores, int(layouts.speedup) + 1)
    if narrow < layouts.cores:
        assert choose(waiting, 0, narrow, layouts) is Layout.NARROW


@settings(deadline=None)
@given(st.integers(1, 100), running)
def test_without_a_second_layout_runs_follow_each_other(waiting: int, runs: tuple[int, int]) -> None:
    wide, narrow = runs
    assert choose(waiting, wide, narrow, Layouts()) is (None if wide else Layout.WIDE)


@pytest.mark.parametrize(
    ("waiting", "wide", "narrow", "expected"),
    [
        (1, 0, 0, Layout.WIDE),
        (1, 1, 0, Layout.NARROW),  # a second one comes: it does not wait for the first
        (2, 0, 0, Layout.NARROW),
        (1, 0, 1, Layout.NARROW),
        (1, 1, 1, None),
        (5, 0, 2, None),
    ],
)
def test_two_cores(waiting: int, wide: int, narrow: int, expected: Layout | None) -> None:
    assert choose(waiting, wide, narrow, TWO) is expected


# ---------------------------------------------------------------------- on a simulated processor


class Processor:
    """`cores`; a run on one takes `narrow_s`, on all `narrow_s / speedup` if it has them to itself.

    Runs that overlap share what there is, each wanting one core or all of them.
    """

    def __init__(self, layouts: Layouts, narrow_s: float = 0.01) -> None:
        self.layouts = layouts
        self.narrow_s = narrow_s
        self.runs: list[tuple[Layout, float, float]] = []

    def throughput(self, clients: int, count: int) -> tuple[float, float]:
        """Runs a second, and the median time of a request, with `clients` that ask without a pause."""
        ready = [(0.0, number) for number in range(clients)]
        heapq.heapify(ready)
        active: list[list[float]] = []  # layout is wide, work left in seconds of one core, asked at
        waiting: list[float] = []
        now = 0.0
        times: list[float] = []
        while len(times) < count:
            while ready and ready[0][0] <= now:
                waiting.append(heapq.heappop(ready)[0])
            self._begin(waiting, active)
            speeds = self._speeds(active)
            step = min(work / speed for (_, work, _), speed in zip(active, speeds, strict=True))
            now += step
            for run, speed in zip(active, speeds, strict=True):
                run[1] -= step * speed
            for run in [run for run in active if run[1] <= 1e-12]:
                active.remove(run)
                times.append(now - run[2])
                heapq.heappush(ready, (now, 0))
        return count / now, sorted(times)[count // 2]

    def _begin(self, waiting: list[float], active: list[list[float]]) -> None:
        while waiting:
            wide = sum(int(run[0]) for run in active)
            layout = choose(len(waiting), wide, len(active) - wide, self.layouts)
            if layout is None:
                return
            active.append([float(layout is Layout.WIDE), self.narrow_s, waiting.pop(0)])

    def _speeds(self, active: list[list[float]]) -> list[float]:
        """Seconds of one core's work that each run gets done in a second."""
        cores = self.layouts.cores or 2
        wanted = sum(cores if wide else 1 for wide, _, _ in active)
        part = min(1.0, cores / wanted)
        alone = self.layouts.speedup or 1.0
        return [(alone if wide else 1.0) * part for wide, _, _ in active]


@pytest.mark.parametrize("cores", [2, 4, 8])
@pytest.mark.parametrize("efficiency", [0.55, 0.8, 0.95])
def test_under_load_one_core_a_run_does_more_and_a_lone_request_is_answered_sooner(
    cores: int, efficiency: float
) -> None:
    speedup = max(1.1, cores * efficiency)
    rate, _ = Processor(Layouts(cores, speedup)).throughput(4 * cores, 400)
    only_wide = speedup / 0.01
    assert rate >= only_wide
    assert rate >= 0.95 * cores / 0.01, "every core is at work"
    _, alone_s = Processor(Layouts(cores, speedup)).throughput(1, 20)
    assert alone_s == pytest.approx(0.01 / speedup)


@pytest.mark.parametrize("clients", [1, 2, 3, 4, 8])
def test_the_choice_is_never_much_worse_than_the_better_of_both_layouts(clients: int) -> None:
    speedup, cores = 1.6, 2
    rate, _ = Processor(Layouts(cores, speedup)).throughput(clients, 400)
    always_wide = speedup / 0.01
    always_narrow = min(clients, cores) / 0.01
    assert rate >= 0.9 * max(always_wide, always_narrow)
