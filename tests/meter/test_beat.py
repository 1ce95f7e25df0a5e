"""A beat survives the channel, adds up, and tells a p99 that is never too low."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.meter.beat import LATENCY_BOUNDS_S, Beat, total

COUNTS = st.integers(0, 10**9)
LATENCIES = st.lists(COUNTS, min_size=len(LATENCY_BOUNDS_S), max_size=len(LATENCY_BOUNDS_S)).map(tuple)
BEATS = st.builds(
    Beat,
    requests=COUNTS,
    errors=COUNTS,
    refused=COUNTS,
    timeouts=COUNTS,
    client_errors=COUNTS,
    latency=LATENCIES,
    resident_bytes=COUNTS,
    canaries=COUNTS,
    canary_failures=COUNTS,
    canary_problem=st.text(max_size=20),
    degraded=st.text(max_size=20),
    in_flight=COUNTS,
    oldest_s=st.floats(0, 1e6),
)


def latencies(*seconds: float) -> tuple[int, ...]:
    counts = [0] * len(LATENCY_BOUNDS_S)
    for value in seconds:
        counts[next(number for number, bound in enumerate(LATENCY_BOUNDS_S) if value <= bound)] += 1
    return tuple(counts)


def test_bounds_rise_by_a_quarter_at_most_from_a_tenth_of_a_millisecond_to_a_minute() -> None:
    assert (LATENCY_BOUNDS_S[0], LATENCY_BOUNDS_S[-2:]) == (0.0001, (60.0, inf))
    assert all(1 < high / low <= 1.25000001 for low, high in pairwise(LATENCY_BOUNDS_S[:-1]))


@given(BEATS)
def test_a_beat_survives_the_channel(beat: Beat) -> None:
    assert Beat.decode(json.loads(json.dumps(beat.encode()))) == beat


def test_a_beat_of_a_quiet_worker_is_small() -> None:
    assert Beat().encode() == {}
    assert Beat(requests=1, latency=latencies(0.0005)).encode() == {"requests": 1, "latency": {"8": 1}}


def test_keys_of_another_version_are_ignored_and_its_extra_buckets_count_as_slow() -> None:
    beat = Beat.decode({"requests": 3, "colour": "red", "latency": {"900": 2}})
    assert beat.requests == 3
    assert beat.latency[-1] == 2


@pytest.mark.parametrize(
    "doc", [{"requests": "3"}, {"latency": [1, 2]}, {"latency": {"x": 1}}, {"canary_problem": 3}]
)
def test_a_value_of_another_type_is_refused(doc: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid literal"):
        Beat.decode(doc)


@given(BEATS, BEATS)
def test_what_happened_between_two_beats_and_the_first_are_the_second(first: Beat, more: Beat) -> None:
    second = more.plus(first)
    window = second.minus(first)
    assert window == more
    assert total([first, window]) == second


def test_a_window_shows_the_state_of_its_end() -> None:
    early = Beat(requests=5, in_flight=3, oldest_s=2.0, resident_bytes=10, canary_problem="wrong")
    late = Beat(requests=9, in_flight=1, oldest_s=0.5, resident_bytes=20)
    assert late.minus(early) == Beat(requests=4, in_flight=1, oldest_s=0.5, resident_bytes=20)


def test_p99_is_the_bound_of_its_bucket() -> None:
    assert Beat().p99_s() is None
    ninety_nine = Beat(latency=latencies(*[0.0001] * 99, 5.0))
    assert ninety_nine.p99_s() == 0.0001
    two_slow = Beat(latency=latencies(*[0.0001] * 98, 5.0, 5.0)).p99_s()
    assert two_slow is not None
    assert 5.0 <= two_slow <= 6.25
    assert Beat(latency=latencies(61.0)).p99_s() == inf
