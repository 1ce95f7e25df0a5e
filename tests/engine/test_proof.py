"""The proof that rows may share a run: what couples rows is found, what does not passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import coupled_nets as nets

from sealift.engine.choose import engine_for
from sealift.engine.proof import (
    AT_LOAD,
    LARGEST_BATCH,
    NO_AXIS,
    NO_OTHERS,
    NO_ROWS,
    THOROUGH,
    Effort,
    is_same_row,
    why_not_batched,
)
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.errors import ModelFailed
from sealift.model.onnx_graph import read_signature
from sealift.model.signature import Signature, TensorSpec

Net = Callable[[Path], Path]
Batch = Mapping[str, NDArray[Any]]

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 4)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=("batch", 4)),),
    batch_axis="batch",
)


def rows(count: int = 3, seed: int = 1) -> list[Arrays]:
    draw = np.random.default_rng(seed)
    return [{"x": draw.standard_normal((1, nets.WIDTH)).astype(np.float32)} for _ in range(count)]


def reason(
    folder: Path, net: Net, recorded: Sequence[Arrays] | None = None, effort: Effort = THOROUGH
) -> str:
    path = net(folder)
    session = engine_for(path).load(path, EngineOptions(threads=1))
    return why_not_batched(session, read_signature(path), rows() if recorded is None else recorded, effort)


class Played:
    """A session that a function plays, and a clock on which each row takes a second."""

    device = "cpu"

    def __init__(self, answer: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.answer = answer
        self.asked: list[NDArray[Any]] = []
        self.now = 0.0

    def run(self, inputs: Batch, outputs: Sequence[str] | None = None) -> Arrays:
        x = inputs["x"]
        self.asked.append(x)
        self.now += len(x)
        with np.errstate(all="ignore"):
            return {"y": self.answer(x)}

    def clock(self) -> float:
        return self.now

    @property
    def sizes(self) -> list[int]:
        return [len(x) for x in self.asked]


def played(recorded: Sequence[Arrays], answer: Callable[[NDArray[Any]], NDArray[Any]]) -> str:
    return why_not_batched(Played(answer), SIGNATURE, recorded)


def x(*values: float, dtype: type[np.generic] = np.float32) -> Arrays:
    return {"x": np.array([values], dtype)}


FOUR = [x(1, 2, 3, 4), x(0.5, -1, 2, 0)]


def test_independent_rows_may_share_a_run(tmp_path: Path) -> None:
    assert reason(tmp_path, nets.table) == ""
    assert reason(tmp_path, nets.table, rows(1)) == ""
    assert reason(tmp_path, nets.table, effort=AT_LOAD) == ""


@pytest.mark.parametrize(
    "net",
    [nets.batch_mean, nets.softmax_over_rows, nets.training_norm, nets.shifted, nets.dynamic_int8],
    ids=lambda net: net.__name__,
)
def test_rows_that_see_their_neighbours_may_not(tmp_path: Path, net: Net) -> None:
    found = "output y of a row among 2 differs from the row alone"
    assert reason(tmp_path, net) == found
    assert reason(tmp_path, net, rows(1)) == found
    assert reason(tmp_path, net, effort=AT_LOAD) == found


def test_a_neighbour_that_is_no_number_must_not_spoil_others(tmp_path: Path) -> None:
    assert reason(tmp_path, nets.poisoned) == "output y of a row among 3 differs from the row alone"


def test_coupling_that_shows_in_large_batches_only_is_found(tmp_path: Path) -> None:
    assert (
        reason(tmp_path, nets.coupled_from_the_sixth)
        == "output y of a row among 8 differs from the row alone"
    )


def test_a_model_without_a_batch_axis_may_not(tmp_path: Path) -> None:
    assert reason(tmp_path, nets.fixed_batch) == NO_AXIS


def test_an_axis_that_stands_twice_couples_rows_by_its_shape() -> None:
    square = Signature(
        inputs=SIGNATURE.inputs,
        outputs=(TensorSpec(name="y", datatype="FP32", shape=("batch", "batch")),),
        batch_axis="batch",
    )
    session = Played(lambda array: array @ array.T)
    assert why_not_batched(session, square, FOUR) == "y has the axis 'batch' twice"
    assert session.sizes == [], "nothing had to be run"


def test_whole_numbers_are_only_such_as_were_recorded(tmp_path: Path) -> None:
    """A number that the model does not know would make the whole run fail."""
    words = [{"x": np.array([ids], np.int64)} for ids in ([0, 1, 2, 3, 6, 6], [5, 4, 4, 1, 0, 2])]
    assert reason(tmp_path, nets.word_ids, words) == ""
    session = Played(lambda array: array.astype(np.float32))
    numbers = [{"x": np.array([row], np.int64)} for row in ([5, 7, 9, 11], [5, 5, 5, 5])]
    assert why_not_batched(session, SIGNATURE, numbers) == ""
    assert {int(value) for array in session.asked for value in array.ravel()} == {5, 7, 9, 11}


def test_words_are_moved_not_made_up() -> None:
    session = Played(lambda array: np.asarray(np.vectorize(len)(array), np.float32))
    words = [{"x": np.array([["red", "a", "yes", "no"]], object)}]
    assert why_not_batched(session, SIGNATURE, words) == ""
    assert {word for array in session.asked for word in array.ravel()} == {"red", "a", "yes", "no"}


def test_pictures_get_dark_and_bright_neighbours() -> None:
    shape = TensorSpec(name="x", datatype="UINT8", shape=("batch", 2, 2, 3))
    signature = Signature(inputs=(shape,), outputs=SIGNATURE.outputs, batch_axis="batch")
    stretched = Played(lambda array: array.reshape(len(array), -1).astype(np.float32) / float(array.max()))
    picture = {"x": np.full((1, 2, 2, 3), 100, np.uint8)}
    assert "among 2" in why_not_batched(stretched, signature, [picture])
    assert {int(value) for array in stretched.asked for value in array.ravel()} == {0, 100, 255}


def test_nothing_is_proven_without_rows_that_differ() -> None:
    number = {"x": np.array([7], np.int64)}
    assert played([number, number], lambda array: array.astype(np.float32)) == NO_OTHERS
    assert played([], lambda array: array) == NO_ROWS
    assert played([{"x": np.array(1.0)}], lambda array: array) == NO_ROWS


def test_a_model_that_is_not_the_same_twice_is_named_as_that() -> None:
    draw = np.random.default_rng(1)
    why = played(FOUR, lambda array: array + draw.standard_normal(array.shape))
    assert why == "output y is not the same twice on the same row"


def test_an_output_without_rows_is_named() -> None:
    assert played(FOUR, lambda array: array.sum(keepdims=True)[0]) == "output y of 2 rows has the shape [1]"
    assert played(FOUR, lambda array: array.sum()) == "output y of one row has the shape []"
    assert played(FOUR, lambda array: array[:1]) == "output y of 2 rows has the shape [1, 4]"


def test_a_batch_that_does_not_run_is_a_reason() -> None:
    def only_one(array: NDArray[Any]) -> NDArray[Any]:
        if len(array) > 1:
            raise ModelFailed("Got invalid dimensions\nat ...", code="model_failed")
        return array

    assert played(FOUR, only_one) == "a batch of 2 does not run: Got invalid dimensions"


def test_a_recorded_row_that_does_not_run_alone_is_a_reason() -> None:
    def pairs(array: NDArray[Any]) -> NDArray[Any]:
        if len(array) < 2:
            raise ModelFailed("two rows, please", code="model_failed")
        return array

    assert played([{"x": np.ones((2, 4), np.float32)}], pairs) == (
        "a recorded row does not run alone: two rows, please"
    )


def test_a_neighbour_that_the_model_refuses_alone_is_left_out() -> None:
    def finite_only(array: NDArray[Any]) -> NDArray[Any]:
        if not np.isfinite(array).all():
            raise ModelFailed("no number", code="model_failed")
        return array * 2

    assert played(FOUR, finite_only) == ""


def test_every_place_of_a_batch_is_tried() -> None:
    """Coupled at one place only, whichever it is."""
    for place in (0, 1, -1):

        def spoilt(array: NDArray[Any], place: int = place) -> NDArray[Any]:
            found = array.copy()
            found[place if len(array) > 2 else 0] += 0.01 * (len(array) > 2)
            return found

        assert played(FOUR, spoilt) == "output y of a row among 3 differs from the row alone"


def test_rows_of_several_shapes_are_tried_apart() -> None:
    sizes = {"x": np.ones((2, 4), np.float32)}, {"x": np.full((1, 7), 2, np.float32)}
    session = Played(lambda array: array - (array.mean(axis=0) if array.shape[1] == 7 else 0))
    assert "differs" in why_not_batched(session, SIGNATURE, sizes)
    assert why_not_batched(session, SIGNATURE, sizes[:1]) == ""


def test_a_slow_model_is_tried_with_two_sizes_at_least_and_few_seconds_more() -> None:
    session = Played(lambda array: array * 2)
    assert why_not_batched(session, SIGNATURE, FOUR, Effort(budget_s=1.0), session.clock) == ""
    assert max(session.sizes) == 3
    assert session.now < 30, "a second a row"
    session = Played(lambda array: array * 2)
    assert why_not_batched(session, SIGNATURE, FOUR, Effort(budget_s=60.0), session.clock) == ""
    assert max(session.sizes) == 8
    assert session.now < 70
    session = Played(lambda array: array * 2)
    assert why_not_batched(session, SIGNATURE, FOUR, Effort(budget_s=1000.0), session.clock) == ""
    assert max(session.sizes) == LARGEST_BATCH


def test_many_shapes_do_not_take_many_times_as_long() -> None:
    session = Played(lambda array: array * 2)
    many = [{"x": np.ones((1, width), np.float32)} for width in range(2, 50)]
    assert why_not_batched(session, SIGNATURE, many, Effort(budget_s=10.0), session.clock) == ""
    assert session.now < 40


def test_the_same_batches_are_tried_every_time() -> None:
    def tried() -> list[bytes]:
        session = Played(lambda array: array * 2)
        why_not_batched(session, SIGNATURE, FOUR)
        return [array.tobytes() for array in session.asked]

    assert tried() == tried()


@given(st.floats(-1e6, 1e6, width=32), st.floats(-3e-6, 3e-6), st.floats(0.1, 1e3))
def test_rounding_is_the_same_row_and_more_is_not(value: float, part: float, wrong: float) -> None:
    alone = np.array([[value, 1.0]], np.float32)
    scale = max(abs(value), 1.0)
    assert is_same_row(alone, alone + np.array([[0, part * scale]], np.float32))
    assert not is_same_row(alone, alone + np.array([[wrong * 2e-5 * scale + scale * 1e-3, 0]], np.float32))


def test_a_probability_that_counts_as_the_same_is_within_1e_5() -> None:
    alone = np.array([[0.25, 1.0]], np.float32)
    assert is_same_row(alone, alone - np.float32(5e-6))
    assert not is_same_row(alone, alone - np.float32(1e-5))


def test_no_number_stands_where_it_stood_and_whole_numbers_are_equal() -> None:
    row = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    assert is_same_row(row, row.copy())
    assert not is_same_row(row, np.nan_to_num(row))
    assert not is_same_row(row, -row)
    assert not is_same_row(np.array([[1, 2]]), np.array([[1, 3]]))
    assert not is_same_row(np.array([["a"]], object), np.array([["b"]], object))
    assert not is_same_row(row, row[:, :2])
    assert not is_same_row(row, row.astype(np.float64))
