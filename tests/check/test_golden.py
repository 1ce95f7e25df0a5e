"""Golden inputs: recorded by value, compared within a tolerance that has a reason."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sealift.check.golden import (
    Golden,
    GoldenOutput,
    GoldenSet,
    decode_set,
    differences,
    encode_set,
    furthest,
    tensor_of,
    tolerance_for,
)
from sealift.model.datatypes import NUMPY_OF

NUMERIC = [dtype for name, dtype in NUMPY_OF.items() if name != "BYTES"]


@given(st.data())
def test_every_datatype_reads_back_to_the_bit(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(NUMERIC))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
    tensor = tensor_of("x", array)
    recorded = GoldenSet(model="m", goldens=(Golden(name="g", inputs=(tensor,)),))
    back = decode_set(encode_set(recorded)).goldens[0].inputs[0].array()
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_strings_read_back() -> None:
    array = np.array([["a", "ü"], ["", "\u4e2d"]], object)
    assert tensor_of("x", array).array().tolist() == array.tolist()


def golden(value: NDArray[Any], tolerance: float) -> Golden:
    return Golden(name="g", outputs=(GoldenOutput(tensor=tensor_of("y", value), tolerance=tolerance),))


@pytest.mark.parametrize(
    ("recorded", "tolerance", "found", "said"),
    [
        ([1.0, 2.0], 0.5, [1.4, 2.0], None),
        ([1.0, 2.0], 0.5, [1.6, 2.0], "differs by 0.6, tolerance 0.5"),
        ([1.0, 2.0], 0.5, [1.0], "expected shape [2], found [1]"),
        ([1.0, math.nan], 0.5, [1.0, math.nan], None),
        ([1.0, 2.0], 0.5, [1.0, math.nan], "differs by inf, tolerance 0.5"),
        ([1.0, math.inf], 0.5, [1.0, -math.inf], "differs by inf"),
    ],
)
def test_numbers_are_compared_within_their_tolerance(
    recorded: list[float], tolerance: float, found: list[float], said: str | None
) -> None:
    problems = differences(
        golden(np.array(recorded, np.float32), tolerance), {"y": np.array(found, np.float32)}
    )
    assert problems == () if said is None else said in problems[0]


def test_whole_numbers_and_words_must_be_equal() -> None:
    assert differences(golden(np.array([3]), 0), {"y": np.array([3])}) == ()
    assert differences(golden(np.array([3]), 0), {"y": np.array([4])}) == (
        "golden input g: output y: expected the recorded values, found others",
    )
    words = np.array(["a"], object)
    assert differences(golden(words, 0), {"y": np.array(["b"], object)}) != ()


def test_a_missing_output_is_named() -> None:
    assert differences(golden(np.array([3]), 0), {}) == ("golden input g: output y is missing",)


def test_the_tolerance_is_four_spreads_but_no_less_than_the_types_rounding() -> None:
    value = np.array([1.0, -8.0], np.float32)
    assert tolerance_for(value, []) == 2.0**-10
    assert tolerance_for(value, [value + np.float32(0.01)]) == 2.0**-4
    assert tolerance_for(value.astype(np.float16), []) == 2.0**-3
    assert tolerance_for(np.zeros(2, np.float32), []) == 2.0**-30


def test_what_cannot_be_compared_has_no_tolerance() -> None:
    value = np.array([1.0], np.float32)
    assert math.isinf(tolerance_for(value, [np.array([np.nan], np.float32)]))
    assert math.isinf(tolerance_for(np.array([1]), [np.array([2])]))
    assert tolerance_for(np.array([1]), [np.array([1])]) == 0


@given(hnp.arrays(np.float32, 4, elements=st.floats(-100, 100, width=32)), st.floats(0, 10, width=32))
def test_a_variant_is_always_within_the_tolerance_it_gave(value: NDArray[np.float32], step: float) -> None:
    variant = value + np.float32(step)
    assert furthest(value, variant) <= tolerance_for(value, [variant])


def test_another_field_in_a_recorded_set_is_refused() -> None:
    data = encode_set(GoldenSet(model="m")).replace(b'"model"', b'"extra": 1, "model"')
    with pytest.raises(ValueError, match="extra"):
        decode_set(data)
