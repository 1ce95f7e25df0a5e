"""Nested lists against numpy, and every way they can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF
from sealift.model.nested import array_from_json, element_path, json_from_array

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

NUMERIC = [name for name in NUMPY_OF if name not in ("BYTES", "BOOL")]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)


@pytest.mark.parametrize("datatype", [name for name in NUMPY_OF if name != "BYTES"])
@given(data=st.data())
def test_lists_of_any_array_give_the_array_back(datatype: str, data: st.DataObject) -> None:
    dtype = NUMPY_OF[datatype]
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    found = array_from_json("x", datatype, array.tolist())
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array)
    assert json_from_array(found) == array.tolist()


@given(hnp.arrays(np.dtype(object), SHAPES, elements=st.text(max_size=3)))
def test_strings_of_any_shape_come_through(array: np.ndarray[Any, Any]) -> None:
    found = array_from_json("x", "BYTES", array.tolist())
    assert found.shape == array.shape
    assert found.tolist() == array.tolist()


NESTED = st.recursive(
    st.one_of(st.integers(-300, 300), st.floats(-2, 2), st.booleans(), st.none(), st.text(max_size=1)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(NESTED, st.sampled_from(NUMERIC))
def test_anything_else_is_refused_just_where_numpy_would_guess(value: Any, datatype: str) -> None:
    """An accepted value is what numpy makes of it, exactly; the rest is InvalidInput, never another error."""
    try:
        found = array_from_json("x", datatype, value)
    except InvalidInput:
        return
    reference = np.array(value, dtype=np.float64)
    assert found.shape == reference.shape
    np.testing.assert_array_equal(found, reference.astype(NUMPY_OF[datatype]))


@given(SHAPES.filter(bool), st.data())
def test_the_path_of_an_element_leads_to_it(shape: tuple[int, ...], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    steps = element_path("", index, shape)[1:-1].split("][")
    assert tuple(map(int, steps)) == tuple(np.unravel_index(index, shape))


@pytest.mark.parametrize(
    ("datatype", "value", "message"),
    [
        ("FP32", [[1.0, 2.0, "a"]], 'x[0][2]: expected a number, got "a"'),
        ("FP32", [[1.0], [True]], "x[1][0]: expected a number, got true"),
        ("FP32", [None], "x[0]: expected a number, got null"),
        ("FP32", {"a": 1}, 'x: expected a number, got {"a":1}'),
        ("FP32", [1e300], "x[0]: too large for FP32, got 1e300"),
        ("FP16", [[7.0, 70000]], "x[0][1]: too large for FP16, got 70000"),
        ("FP64", [1, 10**400], f"x[1]: too large for FP64, got 1{'0' * 59}..."),
        ("UINT8", [[300]], "x[0][0]: expected 0 to 255 (UINT8), got 300"),
        ("UINT8", [-1], "x[0]: expected 0 to 255 (UINT8), got -1"),
        ("INT64", [[1, 1.5]], "x[0][1]: expected a whole number, got 1.5"),
        ("INT64", 2**63, f"x: expected {-(2**63)} to {2**63 - 1} (INT64), got {2**63}"),
        ("INT64", [1e17], "x[0]: expected a whole number, got 1e17"),
        ("INT32", [True], "x[0]: expected a whole number, got true"),
        ("UINT64", [2**64], f"x[0]: expected 0 to {2**64 - 1} (UINT64), got {2**64}"),
        ("BOOL", [0], "x[0]: expected true or false, got 0"),
        ("BOOL", "true", 'x: expected true or false, got "true"'),
        ("BYTES", [["a"], [5]], "x[1][0]: expected a string, got 5"),
        ("FP32", [[1, 2], [3]], "x[1]: expected a list of 2 as in x[0], got a list of 1"),
        ("FP32", [[1, 2], 3], "x[1]: expected a list of 2 as in x[0], got 3"),
        ("FP32", [3, [1, 2]], "x[1]: expected 3 as in x[0], got a list of 2"),
        ("FP32", [[[1], [2]], [[3], []]], "x[1][1]: expected a list of 1 as in x[0][0], got a list of 0"),
        ("FP32", [[], [1]], "x[1]: expected a list of 0 as in x[0], got a list of 1"),
    ],
)
def test_the_message_names_the_tensor_and_the_index_path(datatype: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        array_from_json("x", datatype, value)
    assert caught.value.message == message
    assert caught.value.field == message.partition(":")[0]


def test_whole_numbers_written_as_floats_are_whole() -> None:
    assert array_from_json("x", "INT64", [3.0, -2]).tolist() == [3, -2]


def test_unsigned_64_bit_numbers_are_exact() -> None:
    assert array_from_json("x", "UINT64", [2**64 - 1]).tolist() == [2**64 - 1]


def test_empty_lists_keep_their_shape() -> None:
    assert array_from_json("x", "FP32", []).shape == (0,)
    assert array_from_json("x", "FP32", [[], []]).shape == (2, 0)


def test_what_json_cannot_write_leaves_as_null() -> None:
    assert json_from_array(np.array([[1.0, np.nan], [np.inf, -0.5]])) == [[1.0, None], [None, -0.5]]
    assert json_from_array(np.array(np.nan, np.float16)) is None
