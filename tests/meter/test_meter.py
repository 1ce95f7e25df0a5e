"""Counting: children per label combination, cumulative buckets, values read on demand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.meter.meter import Histogram, Meter


def test_children_are_kept_per_label_combination() -> None:
    family = Meter().counter("requests_total", "Requests.", ("path", "status"))
    family.labels("/predict", "200").add()
    family.labels("/predict", "200").add(2)
    family.labels("/predict", "400").add()
    assert {values: child.value for values, child in family.children.items()} == {
        ("/predict", "200"): 3,
        ("/predict", "400"): 1,
    }


def test_a_wrong_number_of_labels_is_refused() -> None:
    family = Meter().counter("requests_total", "Requests.", ("path",))
    with pytest.raises(ValueError, match=r"requests_total has labels \('path',\), got \('a', 'b'\)"):
        family.labels("a", "b")


def test_a_name_is_declared_once() -> None:
    meter = Meter()
    meter.gauge("up", "Up.")
    with pytest.raises(ValueError, match="up is declared twice"):
        meter.counter("up", "Up.")


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Meter().histogram("seconds", "Time.", bounds=(0.1, 1.0)).labels()
    for value in (0.1, 0.100001, 1.0, 7.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.count) == ([1, 2, 1], 4)
    assert histogram.sum == pytest.approx(8.200001)


@pytest.mark.parametrize("bounds", [(1.0, 0.5), (1.0, 1.0)])
def test_bucket_bounds_must_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        Meter().histogram("seconds", "Time.", bounds=bounds)


def test_a_gauge_may_be_read_only_when_somebody_looks() -> None:
    gauge = Meter().gauge("bytes", "Bytes.").labels()
    gauge.set(3)
    assert gauge.value == 3
    reads: list[int] = []
    gauge.follow(lambda: len(reads))
    reads.append(1)
    assert gauge.value == 1


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.1, 1.0]) | st.floats(0, 20), max_size=200),
    st.lists(st.floats(0, 2), max_size=5),
)
def test_many_at_once_are_counted_as_one_by_one(values: list[float], before: list[float]) -> None:
    one_by_one, at_once = Histogram((0.1, 0.5, 1.0)), Histogram((0.1, 0.5, 1.0))
    for histogram in (one_by_one, at_once):
        for value in before:
            histogram.observe(value)
    for value in values:
        one_by_one.observe(value)
    at_once.observe_all(values)
    assert at_once.counts == one_by_one.counts
    assert at_once.count == len(values) + len(before)
    assert at_once.sum == pytest.approx(one_by_one.sum)
    assert all(type(count) is int for count in at_once.counts), "they are written into JSON"
    assert type(at_once.sum) is float
