"""Rows of different lengths become one length, and nothing but the filler is added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.model.arrays import Arrays
from sealift.model.padding import PadRule, pad_to_same, shape_key

IDS = PadRule(1, 9)
MASK = PadRule(1, 0)
RULES = {"ids": IDS, "mask": MASK}


def row(length: int, rows: int = 1) -> Arrays:
    return {
        "ids": np.arange(1, rows * length + 1, dtype=np.int64).reshape(rows, length),
        "mask": np.ones((rows, length), np.int32),
        "other": np.full((rows, 2), 0.5, np.float32),
    }


def test_the_shorter_row_is_filled_up_after_its_own_values() -> None:
    short, long = pad_to_same([row(2), row(4)], RULES)
    assert short["ids"].tolist() == [[1, 2, 9, 9]]
    assert short["mask"].tolist() == [[1, 1, 0, 0]]
    assert (short["ids"].dtype.name, short["mask"].dtype.name) == ("int64", "int32")
    assert long["ids"].tolist() == [[1, 2, 3, 4]]


def test_a_rule_may_fill_before() -> None:
    short, _ = pad_to_same([row(2), row(3)], {"ids": PadRule(1, 9, before=True), "mask": MASK})
    assert short["ids"].tolist() == [[9, 1, 2]]


def test_nothing_is_changed_or_copied_that_fits_already() -> None:
    given_rows = [row(3), row(3)]
    for before, after in zip(given_rows, pad_to_same(given_rows, RULES), strict=True):
        assert all(before[name] is after[name] for name in before)
    assert pad_to_same([], RULES) == []
    alone = row(5)
    assert pad_to_same([alone], {})[0]["ids"] is alone["ids"]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=6))
def test_what_was_there_stays_and_the_rest_is_filler(shapes: list[tuple[int, int]]) -> None:
    before = [row(length, rows) for length, rows in shapes]
    after = pad_to_same(before, RULES)
    longest = max(length for length, _ in shapes)
    for old, new in zip(before, after, strict=True):
        length = old["ids"].shape[1]
        assert new["ids"].shape == new["mask"].shape == (old["ids"].shape[0], longest)
        np.testing.assert_array_equal(new["ids"][:, :length], old["ids"])
        assert (new["ids"][:, length:] == 9).all()
        assert new["mask"].sum() == old["mask"].sum()
        assert new["other"] is old["other"]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [(5, 8, True), (8, 9, False), (1, 2, False), (200, 256, True), (3, 300, False), (7, 7, True)],
)
def test_a_short_text_does_not_meet_a_long_one(one: int, other: int, meet: bool) -> None:
    """In one run both would cost what the longer costs: at most double is accepted."""
    assert (shape_key(row(one), RULES) == shape_key(row(other), RULES)) is meet


def test_without_a_rule_only_equal_shapes_meet() -> None:
    assert shape_key(row(5), {}) != shape_key(row(6), {})
    assert shape_key(row(5, rows=1), {}) == shape_key(row(5, rows=3), {}), "the batch axis does not count"
    wider = row(5) | {"other": np.zeros((1, 3), np.float32)}
    assert shape_key(wider, RULES) != shape_key(row(5), RULES)
