"""Nested JSON lists <-> arrays, every element checked; the work a client's mistake shows up in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.arrays import JsonValue, shown
from sealift.model.datatypes import NUMPY_OF

_EXACT_IN_DOUBLE: Final = 2.0**53
_WANTED: Final = {"b": "true or false", "O": "a string", "f": "a number", "i": "a whole number"}
_TYPES: Final[dict[str, frozenset[type]]] = {
    "b": frozenset({bool}),
    "O": frozenset({str}),
    "f": frozenset({int, float}),
    "i": frozenset({int, float}),
}


def array_from_json(name: str, datatype: str, value: JsonValue) -> NDArray[Any]:
    """A scalar or nested list as an array of the datatype; its shape is the nesting.

    Whole numbers written as floats (`3.0`) pass for integers; booleans are no numbers; numbers that the
    datatype cannot hold are refused. NaN and infinity pass for floating-point tensors only where the
    caller already holds them: JSON has neither.

    Raises: InvalidInput: ragged, or an element of another kind or out of range; the message and `field`
        name the tensor and the index path, as in `x[0][2]`.
    """
    flat, shape = flatten(name, value)
    return fill(name, datatype, flat, shape)


def flatten(name: str, value: JsonValue) -> tuple[list[Any], tuple[int, ...]]:
    """The elements in row-major order, and the shape.

    Raises: InvalidInput: the lists are ragged.
    """
    flat: list[Any] = [value]
    shape: list[int] = []
    while flat and list in (kinds := set(map(type, flat))):
        lengths = set(map(len, flat)) if len(kinds) == 1 else set()
        if len(lengths) != 1:
            raise _ragged(name, flat, shape)
        shape.append(lengths.pop())
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def _ragged(name: str, flat: list[Any], shape: Sequence[int]) -> InvalidInput:
    first = flat[0]
    for index, other in enumerate(flat):
        same = isinstance(first, list) == isinstance(other, list)
        if not same or (isinstance(first, list) and len(first) != len(other)):
            path = element_path(name, index, shape)
            start = element_path(name, 0, shape)
            text = f"{path}: expected {_extent(first)} as in {start}, got {_extent(other)}"
            return InvalidInput(text, code="ragged_tensor", field=path)
    raise AssertionError("called on lists of equal length")


def _extent(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else shown(value)


def element_path(name: str, index: int, shape: Sequence[int]) -> str:
    """`x[0][2]` for the flat position of an element."""
    steps = []
    for size in reversed(shape):
        index, step = divmod(index, size)
        steps.append(f"[{step}]")
    return name + "".join(reversed(steps))


def fill(name: str, datatype: str, flat: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Row-major elements as an array; `flat` has exactly as many as `shape` asks for.

    Raises: InvalidInput: as `array_from_json`.
    """
    dtype = NUMPY_OF[datatype]
    kind = "i" if dtype.kind == "u" else dtype.kind
    allowed = _TYPES[kind]
    found = set(map(type, flat))
    if not found <= allowed:
        position = next(index for index, element in enumerate(flat) if type(element) not in allowed)
        raise _wrong_element(name, flat, position, shape, f"expected {_WANTED[kind]}")
    if kind == "i":
        array = _integers(name, datatype, flat, shape)
    elif kind == "f":
        array = _floats(name, datatype, flat, shape)
    else:
        array = np.empty(len(flat), dtype=dtype)
        array[:] = flat
    return array.reshape(shape)


def _integers(name: str, datatype: str, flat: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    whole = flat
    if float in set(map(type, flat)):
        for position, element in enumerate(flat):
            if type(element) is float and not (abs(element) <= _EXACT_IN_DOUBLE and element.is_integer()):
                raise _wrong_element(name, flat, position, shape, "expected a whole number")
        whole = list(map(int, flat))
    bounds = np.iinfo(NUMPY_OF[datatype].name)
    if whole and not (bounds.min <= min(whole) and max(whole) <= bounds.max):
        position = next(i for i, element in enumerate(whole) if not bounds.min <= element <= bounds.max)
        raise _wrong_element(
            name, flat, position, shape, f"expected {bounds.min} to {bounds.max} ({datatype})"
        )
    return np.array(whole, dtype=NUMPY_OF[datatype])


def _floats(name: str, datatype: str, flat: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        double = np.array(flat, dtype=np.float64)
    except OverflowError:
        position = next(index for index, element in enumerate(flat) if not _fits_double(element))
        raise _wrong_element(name, flat, position, shape, f"too large for {datatype}") from None
    if datatype == "FP64":
        return double
    with np.errstate(over="ignore"):
        array = double.astype(NUMPY_OF[datatype])
    lost = np.isinf(array) & np.isfinite(double)
    if lost.any():
        raise _wrong_element(name, flat, int(lost.argmax()), shape, f"too large for {datatype}")
    return array


def _fits_double(number: int | float) -> bool:
    try:
        float(number)
    except OverflowError:
        return False
    return True


def _wrong_element(
    name: str, flat: list[Any], position: int, shape: Sequence[int], expected: str
) -> InvalidInput:
    path = element_path(name, position, shape)
    text = f"{path}: {expected}, got {shown(flat[position])}"
    return InvalidInput(text, code="invalid_element", field=path)


def json_from_array(array: NDArray[Any]) -> JsonValue:
    """Nested lists, or a scalar for rank 0; NaN and infinities become null, as JSON has neither."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _null_where_not_finite(array.tolist())
    values: JsonValue = array.tolist()
    return values


def _null_where_not_finite(value: Any) -> JsonValue:
    if isinstance(value, list):
        return [_null_where_not_finite(element) for element in value]
    return value if math.isfinite(value) else None
