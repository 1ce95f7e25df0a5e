"""`{"inputs": ...}` in its three spellings, shapes and axes."""

from __future__ import annotations

from typing import Any

import pytest

from sealift.errors import InvalidInput
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tensors import prepare_tensors


def signature(**inputs: tuple[str, tuple[Axis, ...] | None]) -> Signature:
    specs = tuple(TensorSpec(name=name, datatype=kind, shape=shape) for name, (kind, shape) in inputs.items())
    return Signature(inputs=specs, outputs=())


ONE = signature(x=("FP32", ("batch", 2)))
TWO = signature(x=("FP32", ("batch", 2)), n=("INT64", ("batch",)))


@pytest.mark.parametrize(
    "body",
    [{"inputs": {"x": [[1, 2]]}}, {"inputs": [[1, 2]]}, {"x": [[1, 2]]}],
    ids=["named", "bare", "flat"],
)
def test_one_input_has_three_spellings(body: Any) -> None:
    prepared = prepare_tensors(ONE, body)
    assert prepared.inputs["x"].tolist() == [[1.0, 2.0]]
    assert not prepared.added_batch


@pytest.mark.parametrize("body", [{"inputs": {"x": [1, 2], "n": 5}}, {"n": 5, "x": [1, 2]}])
def test_an_item_without_the_symbolic_axis_gets_it(body: Any) -> None:
    prepared = prepare_tensors(TWO, body)
    assert (prepared.inputs["x"].shape, prepared.inputs["n"].shape) == ((1, 2), (1,))
    assert prepared.added_axes == {"batch"}


def test_a_fixed_first_axis_is_never_added() -> None:
    with pytest.raises(InvalidInput, match=r"x: expected shape \[1, 2\], got \[2\]"):
        prepare_tensors(signature(x=("FP32", (1, 2))), {"x": [1, 2]})


def test_an_input_that_is_itself_called_inputs_is_understood() -> None:
    names = signature(inputs=("FP32", ("n", 2)))
    for body in ({"inputs": [[1, 2]]}, {"inputs": {"inputs": [[1, 2]]}}):
        assert prepare_tensors(names, body).inputs["inputs"].shape == (1, 2)


def test_open_ranks_take_any_shape() -> None:
    free = signature(x=("FP32", None))
    assert prepare_tensors(free, {"inputs": 3}).inputs["x"].shape == ()
    assert prepare_tensors(free, {"inputs": [[[1]]]}).inputs["x"].shape == (1, 1, 1)


def test_unnamed_axes_need_not_agree() -> None:
    free = signature(x=("FP32", ("?", 1)), y=("FP32", ("?",)))
    prepared = prepare_tensors(free, {"x": [[1]], "y": [1, 2, 3]})
    assert prepared.inputs["y"].shape == (3,)


@pytest.mark.parametrize(
    ("body", "message", "field"),
    [
        ({"X": [[1, 2]], "n": [1]}, "X: not an input of this model; x: missing", "X"),
        ({"inputs": {"x": [[1, 2]]}}, "n: missing", "n"),
        ({}, "x: missing; n: missing", "x"),
        ({"x": [[1, 2]], "n": [1, 2]}, "n: axis 'batch' is 2 here and 1 in x", "n"),
        ({"x": [1, 2], "n": [1]}, "n: give the axis 'batch' for all of x, n, or for none", "n"),
        ({"x": [[1, 2, 3]], "n": [1]}, "x: expected shape [batch, 2], got [1, 3]", "x"),
        ({"x": [[[1, 2]]], "n": [1]}, "x: expected shape [batch, 2], got [1, 1, 2]", "x"),
        ({"x": 1, "n": [1]}, "x: expected shape [batch, 2], got a single value", "x"),
        (
            {"inputs": [[1, 2]]},
            'inputs: the model has 2 inputs (x, n); name them as {"inputs": {"x": FP32[batch, 2], '
            '"n": INT64[batch]}}',
            "inputs",
        ),
        ([[1, 2]], 'expected {"inputs": {"x": FP32[batch, 2], "n": INT64[batch]}}, got [[1,2]]', None),
        (b"abc", 'expected {"inputs": {"x": FP32[batch, 2], "n": INT64[batch]}}, got a raw body', None),
        (None, 'expected {"inputs": {"x": FP32[batch, 2], "n": INT64[batch]}}, got null', None),
    ],
)
def test_what_does_not_fit_is_refused(body: Any, message: str, field: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare_tensors(TWO, body)
    assert (caught.value.message, caught.value.field) == (message, field)


def test_a_scalar_is_not_a_list() -> None:
    with pytest.raises(InvalidInput, match=r"x: expected a single value, got \[1\]"):
        prepare_tensors(signature(x=("FP32", ())), {"x": [1]})
