"""How many rows a run should have: decided from measurements, made up here; measured on a clock that is played."""

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
from sealift.engine.proof import NO_AXIS
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.engine.tuning import GAIN, SIZES, Bounds, Measured, _Room, best_rows, measure, settle
from sealift.errors import ModelFailed
from sealift.model.onnx_graph import read_signature
from sealift.model.service import PROVEN_AT_LOAD, Batching
from sealift.model.signature import Signature, TensorSpec

TABLE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 4)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=("batch", 4)),),
    batch_axis="batch",
)
ALONE = Signature(inputs=TABLE.inputs, outputs=TABLE.outputs)
ROW = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}

measurements = st.lists(st.floats(1e-6, 0.2), min_size=1, max_size=6).map(
    lambda times: dict(zip(SIZES, times, strict=False))
)


class Played:
    """A model whose run takes as long as a function of its rows says; every fifth run is disturbed."""

    device = "cpu"

    def __init__(self, takes: Callable[[int], float], refuses: int = 10**9) -> None:
        self.takes = takes
        self.refuses = refuses
        self.now = 0.0
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        x = inputs["x"]
        if len(x) >= self.refuses:
            raise ModelFailed("out of memory", code="model_failed")
        assert x.flags.c_contiguous
        assert (x == ROW["x"][0]).all(), "its first row, as often as wanted"
        self.sizes.append(len(x))
        self.now += self.takes(len(x)) * (3 if len(self.sizes) % 5 == 0 else 1)
        return {"y": x}

    def clock(self) -> float:
        return self.now

    def measured(
        self, budget_s: float = 10.0, bounds: Bounds | None = None, signature: Signature = TABLE
    ) -> Measured:
        return measure(self, signature, ROW, budget_s, bounds or Bounds(), self.clock)


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        ({1: 10e-6, 2: 11e-6, 4: 12e-6, 8: 14e-6, 16: 20e-6, 32: 32e-6}, 32),
        ({1: 10e-6, 2: 11e-6, 4: 12e-6, 8: 14e-6, 16: 28e-6, 32: 56e-6}, 8),
        ({1: 8e-3, 2: 16e-3, 4: 33e-3}, 1),
        ({1: 8e-3, 2: 15.5e-3, 4: 30e-3}, 1),
        ({1: 1.0, 2: 1.0}, 1),
        ({1: 0.1}, 1),
        ({}, 1),
    ],
    ids=[
        "grows all the way",
        "stops growing",
        "conv net",
        "small steps",
        "too long",
        "one size",
        "none",
    ],
)
def test_the_largest_size_that_still_gains_is_chosen(seconds: dict[int, float], rows: int) -> None:
    assert best_rows(seconds) == rows


@given(measurements)
def test_what_is_chosen_was_measured_and_gains_over_every_smaller_size(seconds: dict[int, float]) -> None:
    rows = best_rows(seconds, 0.05)
    assert rows in seconds
    rate = rows / seconds[rows]
    for smaller in (size for size in seconds if size < rows):
        assert rate >= GAIN * (smaller / seconds[smaller]) * (1 - 1e-9)
    assert rows == 1 or seconds[rows] <= 0.05


@given(measurements)
def test_no_larger_size_would_have_gained(seconds: dict[int, float]) -> None:
    rows = best_rows(seconds, 0.05)
    for larger in (size for size in seconds if size > rows):
        best = max(size / seconds[size] for size in seconds if size < larger)
        assert larger / seconds[larger] < GAIN * best or seconds[larger] > 0.05


@given(measurements, st.floats(0.1, 10))
def test_a_machine_that_is_slower_throughout_chooses_the_same(
    seconds: dict[int, float], factor: float
) -> None:
    slower = {size: time * 2 for size, time in seconds.items()}
    assert best_rows(slower, 1e9) == best_rows(seconds, 1e9)
    assert Measured(seconds).words
    assert Measured({size: time * factor for size, time in seconds.items()}).max_rows in SIZES


def test_it_is_said_in_words() -> None:
    assert Measured({1: 10e-6, 2: 11e-6, 16: 32e-6}).words == "batches up to 16 rows: 5.0x the rows/s of one"
    conv = Measured({1: 8e-3, 2: 16.5e-3, 4: 34e-3})
    assert conv.words == "not batched: it gains nothing, 2 rows in a run give 0.97x the rows/s of one"
    slow = Measured({1: 0.04, 2: 0.06})
    assert (slow.max_rows, slow.words) == (1, "not batched: 2 rows in a run take 60 ms")
    for few in ({}, {1: 0.2}):
        assert Measured(few).words == "not batched: two rows are more than time or memory permit"


def test_a_table_is_measured_to_the_largest_size_and_disturbed_runs_do_not_count() -> None:
    played = Played(lambda rows: 10e-6 + rows * 1e-6)
    found = played.measured()
    assert list(found.seconds) == list(SIZES)
    assert found.seconds[32] == pytest.approx(42e-6)
    assert found.max_rows == 32


def test_a_conv_net_is_given_up_after_two_sizes_in_vain() -> None:
    played = Played(lambda rows: 0.001 * rows)
    assert played.measured().max_rows == 1
    assert max(played.sizes) == 4


def test_a_run_that_is_too_long_is_the_last() -> None:
    played = Played(lambda rows: 0.02 + 0.001 * rows)
    found = played.measured(bounds=Bounds(longest_run_s=0.025))
    assert max(played.sizes) == 8
    assert found.max_rows == 4


def test_a_slow_model_is_run_a_few_times_only() -> None:
    played = Played(lambda rows: 0.2 * rows)
    assert played.measured(budget_s=1.0).max_rows == 1
    assert played.now < 1.5
    assert set(played.sizes) == {1}


@given(st.floats(1e-6, 0.5), st.floats(0, 1), st.floats(0.01, 2))
def test_time_is_bounded(one: float, each: float, budget_s: float) -> None:
    """The budget, and at most the three runs of the size that is at work when it ends."""
    played = Played(lambda rows: one * (1 + each * (rows - 1)))
    played.measured(budget_s=budget_s)
    longest = 3 * one * (1 + each * (max(played.sizes) - 1))
    assert played.now <= budget_s + 6 * longest


def test_a_model_without_a_batch_axis_is_measured_with_one_row() -> None:
    played = Played(lambda rows: 10e-6 + rows * 1e-6)
    assert played.measured(signature=ALONE).max_rows == 1
    assert set(played.sizes) == {1}


def test_sizes_that_do_not_run_end_the_measuring() -> None:
    assert Played(lambda rows: 10e-6 + rows * 1e-6, refuses=8).measured().max_rows == 4
    assert Played(lambda _: 1e-6, refuses=1).measured().max_rows == 1


def test_sizes_that_would_not_fit_into_memory_are_not_tried() -> None:
    resident = iter([100, 100 + 40, 100 + 70])
    room = _Room(400, lambda: next(resident))
    batch = {"x": np.zeros(1, np.uint8)}
    room.ran(2)
    assert room.for_run(batch, 4), "20 a row"
    room.ran(4)
    assert room.for_run(batch, 8)
    assert not room.for_run(batch, 16)
    assert not _Room(400, lambda: 100).for_run({"x": np.zeros(100, np.uint8)}, 2), "8 times its inputs"
    assert Played(lambda _: 1e-5).measured(bounds=Bounds(memory_bytes=1.0)).max_rows == 1


def test_a_worker_goes_by_what_was_proven_and_measured(tmp_path: Path) -> None:
    played = Played(lambda _: 1e-6)
    for known in (Batching("", 16, 0.01), Batching("its rows see each other", 1)):
        assert settle(played, TABLE, known, ROW, is_quick=True) == known
    assert settle(played, TABLE, Batching("because", 16), ROW, is_quick=True) == Batching("because", 1)
    assert settle(played, TABLE, Batching("", 0), ROW, is_quick=False) == Batching("", 1)
    assert played.sizes == [], "nothing had to be run"
    assert settle(played, TABLE, Batching("", 0), ROW, is_quick=True).max_rows > 1


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (nets.table, ""),
        (nets.dynamic_int8, "output y of a row among 2 differs from the row alone"),
        (nets.batch_mean, "output y of a row among 2 differs from the row alone"),
        (nets.fixed_batch, NO_AXIS),
    ],
    ids=["table", "dynamic int8", "row-coupled", "no batch axis"],
)
def test_a_project_is_proven_and_measured_when_it_is_loaded(
    tmp_path: Path, net: Callable[[Path], Path], reason: str
) -> None:
    path = net(tmp_path)
    session = engine_for(path).load(path, EngineOptions(threads=1))
    inputs = {"x": np.ones((1, nets.WIDTH), np.float32)}
    found = settle(session, read_signature(path), Batching(PROVEN_AT_LOAD), inputs, is_quick=True)
    assert found.reason == reason
    assert (found.max_rows > 1) == (not reason)


def test_a_real_table_model_gains_a_lot(tmp_path: Path) -> None:
    """Ratios only: 32 rows cost far less than 32 runs, on any machine."""
    path = nets.table(tmp_path)
    session = engine_for(path).load(path, EngineOptions(threads=1))
    inputs = {"x": np.ones((1, nets.WIDTH), np.float32)}
    found = measure(session, read_signature(path), inputs, 0.1)
    assert found.max_rows >= 8
    assert found.gain(found.max_rows) > 3
