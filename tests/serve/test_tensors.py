"""Tensors in both forms: round trips for every datatype, and exact refusals."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF
from sealift.serve.tensors import from_binary, from_json, to_binary, to_json


def elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return st.text(max_size=8)
    return hnp.from_dtype(NUMPY_OF[datatype], allow_nan=True)


@st.composite
def tensors(draw: st.DrawFn, finite: bool = False) -> tuple[str, NDArray[Any]]:
    datatype = draw(st.sampled_from(sorted(NUMPY_OF)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    count = int(np.prod(shape))
    values = draw(st.lists(elements(datatype), min_size=count, max_size=count))
    array = np.empty(count, NUMPY_OF[datatype])
    array[:] = values
    if finite and datatype.startswith("FP"):
        array = np.nan_to_num(array, posinf=0, neginf=0)
    return datatype, array.reshape(shape)


@given(tensors(), st.integers(0, 9))
def test_binary_round_trip_at_any_offset(tensor: tuple[str, NDArray[Any]], offset: int) -> None:
    datatype, array = tensor
    body = b"x" * offset + bytes(to_binary(array))
    found = from_binary(memoryview(body)[offset:], datatype, array.shape, "x")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.aligned
    assert found.flags.c_contiguous


@given(tensors(finite=True), st.booleans())
def test_json_round_trip_flat_and_nested(tensor: tuple[str, NDArray[Any]], nested: bool) -> None:
    datatype, array = tensor
    if nested and 0 in array.shape[:-1]:
        nested = False  # nested lists cannot say the size of an axis behind an empty one
    values = array.tolist() if nested else to_json(array)
    found = from_json(msgspec.json.encode(values), datatype, array.shape, "x")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_binary_data_is_viewed_not_copied_where_it_is_aligned() -> None:
    body = bytes(64)
    aligned = from_binary(memoryview(body)[0:32], "FP32", (8,), "x")
    assert np.shares_memory(aligned, np.frombuffer(body, np.uint8))
    shifted = from_binary(memoryview(body)[1:33], "FP32", (8,), "x")
    assert not np.shares_memory(shifted, np.frombuffer(body, np.uint8))


def test_binary_answers_are_views_of_the_array() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    raw = to_binary(array)
    assert isinstance(raw, memoryview)
    assert np.shares_memory(np.frombuffer(raw, np.uint8), array)
    assert bytes(to_binary(array.T)) == np.ascontiguousarray(array.T).tobytes()


def test_a_byte_that_is_neither_true_nor_false_becomes_true() -> None:
    found = from_binary(memoryview(b"\x00\x01\x02\xff"), "BOOL", (4,), "x")
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_not_finite_values_have_no_json_and_become_null() -> None:
    array = np.array([np.nan, np.inf, 1.0], np.float32)
    assert msgspec.json.encode(to_json(array)) == b"[null,null,1.0]"


BAD_JSON = [
    ("FP32", (2,), b'[1,"2"]', r"x: Expected float, got str, at \[1\]"),
    ("FP32", (2,), b"[1,null]", "got null"),
    ("FP32", (2,), b"[1,true]", "got bool"),
    ("FP32", (2,), b"[1,NaN]", "JSON has no NaN or Infinity: send those as binary data"),
    ("FP32", (2,), b"[1,1e300]", "x: a value is out of the range of FP32"),
    ("FP16", (1,), b"[70000]", "out of the range of FP16"),
    ("FP64", (1,), b"[1e999]", "out of range"),
    ("UINT8", (2,), b"[1,256]", r"Expected int <= 255, at \[1\]"),
    ("UINT8", (2,), b"[1,-1]", "Expected int >= 0"),
    ("INT8", (1,), b"[-129]", "Expected int >= -128"),
    ("INT64", (1,), b"[9223372036854775808]", "out of the range of INT64"),
    ("UINT64", (1,), b"[18446744073709551616]", "out of the range of UINT64"),
    ("INT32", (1,), b"[1.5]", "Expected int, got float"),
    ("BOOL", (1,), b"[2]", "2"),
    ("BYTES", (1,), b"[1]", "Expected str, got int"),
    ("FP32", (2, 2), b"[1,2,3]", r"shape \[2, 2\] takes 4 elements, got 3"),
    ("FP32", (2, 2), b"[[1,2],[3]]", "the nested lists have different lengths"),
    ("FP32", (2, 2), b"[[1,2,3,4]]", r"data has shape \[1, 4\], declared is \[2, 2\]"),
    ("FP32", (2, 2), b"[[[1,2],[3,4]]]", "a flat list or 2 nested levels, got 3 levels"),
    ("FP32", (4,), b"[[1,2],[3,4]]", "is a flat list, got 2 levels"),
    ("FP32", (2,), b"3", "got 0 levels"),
    ("FP32", (2,), b"{}", "levels"),
    ("FP32", (2,), b"[1,2", "truncated"),
    ("FP32", (1,), b"[" * 100000, "got 100000 levels"),
]


@pytest.mark.parametrize(("datatype", "shape", "raw", "message"), BAD_JSON)
def test_bad_json_data_is_refused_with_its_reason(
    datatype: str, shape: tuple[int, ...], raw: bytes, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        from_json(raw, datatype, shape, "x")
    assert (caught.value.code, caught.value.field) == ("invalid_tensor", "x")


BAD_BINARY = [
    ("FP32", (2,), bytes(7), r"FP32 of shape \[2\] takes 8 bytes, got 7"),
    ("FP32", (2**31 - 1, 2**31 - 1, 2**31 - 1), bytes(8), "bytes, got 8"),
    ("BYTES", (1,), b"\x01\x00", "element 0 has no 4-byte length in front"),
    ("BYTES", (1,), struct.pack("<I", 5) + b"abc", "element 0 is longer than the tensor's bytes"),
    ("BYTES", (1,), struct.pack("<I", 2**32 - 1), "longer"),
    ("BYTES", (2,), struct.pack("<I", 1) + b"a", "the shape takes 2 elements, got 1"),
    ("BYTES", (1,), struct.pack("<I", 1) + b"\xff", "element 0 is not UTF-8"),
]


@pytest.mark.parametrize(("datatype", "shape", "raw", "message"), BAD_BINARY)
def test_bad_binary_data_is_refused_with_its_reason(
    datatype: str, shape: tuple[int, ...], raw: bytes, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        from_binary(memoryview(raw), datatype, shape, "x")


@given(st.sampled_from(sorted(NUMPY_OF)), st.lists(st.integers(0, 3), max_size=3), st.binary(max_size=64))
def test_any_bytes_give_a_tensor_or_a_refusal(datatype: str, shape: list[int], raw: bytes) -> None:
    with suppress(InvalidInput):
        assert from_binary(memoryview(raw), datatype, tuple(shape), "x").shape == tuple(shape)
    with suppress(InvalidInput):
        assert from_json(raw, datatype, tuple(shape), "x").shape == tuple(shape)


def test_bf16_bytes_become_fp32_exactly() -> None:
    """The upper 16 bits of an IEEE 754 single; infinities, NaN and subnormal numbers included."""
    values = np.array([1.0, -0.0, np.inf, 3.140625, 2.0**-130], np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    found = from_binary(memoryview(raw), "BF16", (5,), "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)
    assert np.isnan(from_binary(memoryview(b"\xc0\x7f"), "BF16", (1,), "x"))[0]
    assert from_binary(memoryview(b""), "BF16", (0, 3), "x").dtype == np.float32
    with pytest.raises(InvalidInput, match=r"BF16 of shape \[2\] takes 4 bytes, got 5"):
        from_binary(memoryview(bytes(5)), "BF16", (2,), "x")


def test_impossible_shapes_are_refused_before_numpy_sees_them() -> None:
    with pytest.raises(InvalidInput, match="at most 32 axes, got 33"):
        from_binary(memoryview(bytes(4)), "FP32", (1,) * 33, "x")
    with pytest.raises(InvalidInput, match="too large, although it holds nothing"):
        from_binary(memoryview(b""), "FP32", (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), "x")
    with pytest.raises(InvalidInput, match="too large, although it holds nothing"):
        from_binary(memoryview(b""), "BYTES", (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), "x")
    with pytest.raises(InvalidInput, match="too large, although it holds nothing"):
        from_json(b"[]", "FP32", (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), "x")
    with pytest.raises(InvalidInput, match="at most 32 axes, got 100"):
        from_json(b"[1]", "FP32", (1,) * 100, "x")
