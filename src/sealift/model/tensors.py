"""`{"inputs": ...}` -> arrays that fit the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.arrays import Arrays, JsonValue, Prepared, did_you_mean, shown
from sealift.model.nested import fill, flatten
from sealift.model.signature import Axis, Signature, TensorSpec


def is_raw(payload: bytes | JsonValue) -> bool:
    """Whether the payload brings tensors itself, `{"inputs": ...}`, whatever kind was declared."""
    return (
        isinstance(payload, dict)
        and payload.keys() == {"inputs"}
        and isinstance(payload["inputs"], dict | list)
    )


def prepare_tensors(signature: Signature, payload: bytes | JsonValue) -> Prepared:
    """Read `{"inputs": {...}}`, `{"inputs": value}` (one input) or `{"x": ..., "y": ...}`.

    Where an input's first axis is symbolic and the value has exactly one axis less, the axis is added:
    for all inputs with that axis, or for none.

    Raises: InvalidInput: names the tensor and the index path.
    """
    given = _named_values(signature, payload)
    arrays: Arrays = {}
    added: dict[str, bool] = {}  # axis -> whether the client left it out
    for spec in signature.inputs:
        flat, shape = flatten(spec.name, given[spec.name])
        first = spec.shape[0] if spec.shape else None
        if isinstance(first, str) and spec.shape is not None:
            one_less = len(shape) == len(spec.shape) - 1
            shape = (1, *shape) if one_less else shape
            if added.setdefault(first, one_less) != one_less and first != "?":
                raise _mixed_batch(signature, spec, first)
            added[first] |= one_less
        _check_rank(spec, shape)
        arrays[spec.name] = fill(spec.name, spec.datatype, flat, shape)
    check_shapes(signature, arrays)
    return Prepared(inputs=arrays, added_axes=frozenset(axis for axis, left_out in added.items() if left_out))


def _named_values(signature: Signature, payload: bytes | JsonValue) -> Mapping[str, Any]:
    names = [spec.name for spec in signature.inputs]
    if not isinstance(payload, dict):
        got = "a raw body" if isinstance(payload, bytes) else shown(payload)
        raise InvalidInput(f"expected {expected_form(signature)}, got {got}", code="invalid_body")
    if payload.keys() == set(names):
        inner = payload[names[0]] if names == ["inputs"] else None
        return inner if isinstance(inner, dict) and inner.keys() == {"inputs"} else payload
    values = payload.get("inputs") if payload.keys() == {"inputs"} else payload
    if not isinstance(values, dict):
        if len(names) == 1:
            return {names[0]: values}
        raise InvalidInput(
            f"inputs: the model has {len(names)} inputs ({', '.join(names)}); name them as "
            f"{expected_form(signature)}",
            code="invalid_inputs",
            field="inputs",
        )
    _check_names(names, values)
    return values


def _check_names(names: Sequence[str], values: Mapping[str, Any]) -> None:
    unknown = [name for name in values if name not in names]
    missing = [name for name in names if name not in values]
    problems = [f"{name}: not an input of this model{did_you_mean(name, missing)}" for name in unknown]
    problems += [f"{name}: missing" for name in missing]
    if problems:
        field = (unknown or missing)[0]
        raise InvalidInput("; ".join(problems), code="invalid_inputs", field=field)


def expected_form(signature: Signature) -> str:
    """`{"inputs": {"x": FP32[batch, 4]}}`, as error messages show it."""
    parts = (f'"{spec.name}": {describe(spec)}' for spec in signature.inputs)
    return '{"inputs": {' + ", ".join(parts) + "}}"


def describe(spec: TensorSpec) -> str:
    """`FP32[batch, 4]`; `INT64` for a scalar; `FP32[...]` where the rank is open."""
    if spec.shape is None:
        return f"{spec.datatype}[...]"
    return f"{spec.datatype}[{', '.join(map(str, spec.shape))}]" if spec.shape else spec.datatype


def _mixed_batch(signature: Signature, spec: TensorSpec, axis: str) -> InvalidInput:
    others = [
        other.name
        for other in signature.inputs
        if other.shape and other.shape[0] == axis and other.name != spec.name
    ]
    text = f"{spec.name}: give the axis {axis!r} for all of {', '.join([*others, spec.name])}, or for none"
    return InvalidInput(text, code="invalid_shape", field=spec.name)


def _check_rank(spec: TensorSpec, shape: Sequence[int]) -> None:
    if spec.shape is not None and len(shape) != len(spec.shape):
        raise _wrong_shape(spec, shape)


def _wrong_shape(spec: TensorSpec, shape: Sequence[int]) -> InvalidInput:
    expected = f"shape {_brackets(spec.shape)}" if spec.shape else "a single value"
    got = _brackets(shape) if shape else "a single value"
    text = f"{spec.name}: expected {expected}, got {got}"
    return InvalidInput(text, code="invalid_shape", field=spec.name)


def _brackets(shape: Sequence[Axis]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def check_shapes(signature: Signature, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Ranks, fixed sizes, and that axes of one name have one size over all inputs.

    Raises: InvalidInput: names the first tensor that does not fit.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for spec in signature.inputs:
        if spec.shape is None:
            continue
        shape = arrays[spec.name].shape
        _check_rank(spec, shape)
        for axis, size in zip(spec.shape, shape, strict=True):
            if isinstance(axis, int):
                if axis != size:
                    raise _wrong_shape(spec, shape)
            elif axis != "?":
                known, owner = sizes.setdefault(axis, (size, spec.name))
                if known != size:
                    text = f"{spec.name}: axis {axis!r} is {size} here and {known} in {owner}"
                    raise InvalidInput(text, code="invalid_shape", field=spec.name)


def contiguous(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The same arrays, C-contiguous; rank 0 stays rank 0."""
    return {name: np.require(array, requirements="C") for name, array in arrays.items()}
