"""Inputs made from nothing but a signature."""

from __future__ import annotations

import numpy as np
import pytest

from sealift.model.datatypes import NUMPY_OF
from sealift.model.examples import ExampleSizes, example_candidates, example_inputs
from sealift.model.signature import Axis, Signature, TensorSpec


def signature(*inputs: tuple[str, str, tuple[Axis, ...] | None], batch: str | None = None) -> Signature:
    specs = tuple(TensorSpec(name=name, datatype=kind, shape=shape) for name, kind, shape in inputs)
    return Signature(inputs=specs, outputs=(), batch_axis=batch)


@pytest.mark.parametrize("datatype", NUMPY_OF)
def test_every_datatype_has_examples_of_its_own_dtype(datatype: str) -> None:
    array = example_inputs(signature(("x", datatype, ("n", 3))), seed=1, rows=4)["x"]
    assert (array.shape, array.dtype) == ((4, 3), NUMPY_OF[datatype])
    assert array.flags.c_contiguous
    if datatype.startswith(("INT", "UINT")):
        assert set(array.ravel().tolist()) <= {0, 1}


def test_the_same_seed_gives_the_same_values_and_another_gives_others() -> None:
    one = signature(("x", "FP32", ("n", 64)))
    first = example_inputs(one, seed=1)["x"]
    np.testing.assert_array_equal(first, example_inputs(one, seed=1)["x"])
    assert not np.array_equal(first, example_inputs(one, seed=2)["x"])


def test_values_are_pinned_so_that_recorded_goldens_stay_true() -> None:
    """A change of generator would invalidate every golden that was made from a signature."""
    array = example_inputs(signature(("x", "FP64", (3,))), seed=0)["x"]
    assert array.tolist() == [0.1350576603656907, 0.42871336507062996, -0.8851035685835784]


def test_a_tensor_does_not_depend_on_its_neighbours() -> None:
    alone = example_inputs(signature(("x", "FP32", (5,))), seed=3)["x"]
    among = example_inputs(signature(("a", "INT64", (2,)), ("x", "FP32", (5,))), seed=3)["x"]
    np.testing.assert_array_equal(alone, among)


def test_axes_of_one_name_have_one_size_and_sums_are_computed() -> None:
    inputs = example_inputs(
        signature(
            ("ids", "INT64", ("batch_size", "sequence")),
            ("past", "FP32", ("batch_size", 4, "past_sequence", 8)),
            ("mask", "INT64", ("batch_size", "past_sequence + sequence")),
            ("next", "INT64", ("batch_size", "past_sequence + 1")),
        ),
        seed=1,
        sizes=ExampleSizes(rows=2, size=8),
    )
    assert inputs["ids"].shape == (2, 8)
    assert inputs["past"].shape == (2, 4, 8, 8)
    assert inputs["mask"].shape == (2, 16)
    assert inputs["next"].shape == (2, 9)


def test_rows_fill_the_batch_axis_wherever_it_is_known() -> None:
    by_signature = signature(("x", "FP32", ("samples", "m")), batch="samples")
    assert example_inputs(by_signature, seed=1, rows=5)["x"].shape == (5, 1)
    unnamed = signature(("x", "FP32", ("?", "?")))
    assert example_inputs(unnamed, seed=1, rows=5)["x"].shape == (5, 1)
    other = signature(("x", "FP32", ("time", "batch")))
    assert example_inputs(other, seed=1, rows=5)["x"].shape == (1, 1)


def test_images_get_image_sizes_and_bytes_get_all_shades() -> None:
    photo = example_inputs(signature(("x", "UINT8", ("n", "h", "w", 3))), seed=1)["x"]
    assert photo.shape == (1, 64, 64, 3)
    assert photo.max() > 200
    assert example_inputs(signature(("x", "FP32", ("?", 3, "?", "?"))), seed=1)["x"].shape == (1, 3, 64, 64)


def test_words_come_from_the_vocabulary_of_the_model() -> None:
    spec = TensorSpec(name="w", datatype="BYTES", shape=(50,), words=("DE", "FR"))
    found = example_inputs(Signature(inputs=(spec,), outputs=()), seed=1)["w"]
    assert set(found.tolist()) == {"DE", "FR"}


def test_candidates_differ_and_end() -> None:
    open_axes = [
        inputs["x"].shape for inputs in example_candidates(signature(("x", "FP32", ("n", "t"))), seed=1)
    ]
    assert open_axes == [(1, 1), (1, 8), (1, 2), (1, 16), (1, 32)]
    fixed = list(example_candidates(signature(("x", "FP32", ("n", 3))), seed=1, rows=2))
    assert [inputs["x"].shape for inputs in fixed] == [(2, 3)]
    ranks = {inputs["x"].ndim for inputs in example_candidates(signature(("x", "FP32", None)), seed=1)}
    assert ranks == {0, 1, 2, 3, 4}


def test_no_inputs_are_one_candidate() -> None:
    assert list(example_candidates(signature(), seed=1)) == [{}]
