"""Predictors: what runs in the loop, what waits at the gate, and what is never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.serve.nets import brightness, colours, fraud, info, one_echo, save, served

from sealift.engine.choose import engine_for
from sealift.engine.concurrency import Layout, Layouts
from sealift.engine.protocol import Arrays, EngineOptions, Loaded
from sealift.errors import DeadlinePassed, InvalidInput, ModelFailed
from sealift.model.service import Batching, ServedModel
from sealift.serve import predictor, ticket
from sealift.serve.predictor import PredictorOptions, load_predictor
from sealift.serve.ticket import Ticket


class Clock:
    """Time that only the engine's runs take."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    for module in (predictor, ticket):
        monkeypatch.setattr(module, "time", CLOCK)
    return CLOCK


class Engine:
    """An engine whose runs take as long as the test says: `seconds` on one thread, less on more."""

    device = "cpu"
    degraded = ""

    def __init__(self, seconds: float = 0.0001, *, speedup: float = 1.0, shares: bool = True) -> None:
        self.seconds = seconds
        self.speedup = speedup
        self.shares = shares
        self.refuses = False
        self.loads: list[int] = []
        self.rows: list[int] = []
        self.threads = 0

    def load(self, model: Path, options: EngineOptions) -> Loaded:
        self.loads.append(options.threads)
        return self._with(options.threads)

    def with_threads(self, threads: int, *, may_copy: bool) -> Loaded | None:
        return self._with(threads) if self.shares or may_copy else None

    def idle(self) -> None:
        pass

    def _with(self, threads: int) -> Engine:
        other = copy(self)
        other.threads = threads
        return other

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        if self.refuses:
            raise ModelFailed("no", code="model_failed")
        self.rows.append(len(inputs["x"]))
        CLOCK.now += self.seconds / (1 if self.threads == 1 else self.speedup)
        return {"y": np.zeros((len(inputs["x"]), 2), np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    return served("m", one_echo(tmp_path / "m.onnx", "FP32", ["n", 2]))


X = {"x": np.zeros((1, 2), np.float32)}


def test_a_quick_model_runs_in_the_loop_on_one_thread(model: ServedModel) -> None:
    loaded = load_predictor(model, Engine(), PredictorOptions(threads=4))
    assert loaded.quick
    assert loaded.prepares_quickly
    assert isinstance(loaded.wide, Engine)
    assert loaded.wide.threads == 1
    assert loaded.narrow is None


def test_a_slow_model_has_two_layouts_and_knows_what_all_cores_are_worth(model: ServedModel) -> None:
    loaded = load_predictor(model, Engine(0.006, speedup=3.0), PredictorOptions(threads=4))
    assert not loaded.quick
    assert isinstance(loaded.narrow, Engine)
    assert (loaded.layouts.cores, loaded.narrow.threads) == (4, 1)
    assert loaded.layouts.speedup == pytest.approx(3.0)
    assert loaded.session_for(Layout.NARROW) is loaded.narrow
    assert loaded.session_for(Layout.WIDE) is loaded.wide


def test_where_all_cores_gain_nothing_every_run_takes_one(model: ServedModel) -> None:
    layouts = load_predictor(model, Engine(0.004), PredictorOptions(threads=4)).layouts
    assert (layouts.cores, layouts.speedup) == (4, 0.0)
    assert layouts.narrow_s == pytest.approx(0.004)


def test_the_second_layout_is_off_where_its_copy_would_break_the_memory_limit(model: ServedModel) -> None:
    tight = PredictorOptions(threads=4, max_memory_bytes=1)
    loaded = load_predictor(model, Engine(0.004, shares=False), tight)
    assert (loaded.narrow, loaded.layouts) == (None, Layouts())
    assert load_predictor(model, Engine(0.004), tight).narrow is not None
    assert load_predictor(model, Engine(0.004, shares=False), PredictorOptions(threads=4)).narrow is not None


def test_sizes_up_to_the_measured_one_are_warmed(model: ServedModel) -> None:
    engine = Engine(0.001)
    loaded = load_predictor(replace(model, batching=Batching("", 8)), engine)
    assert loaded.max_rows == 8
    assert [rows for rows in engine.rows if rows > 1] == [2, 4, 8]
    unproven = Engine(0.001)
    assert load_predictor(model, unproven).max_rows == 1
    assert set(unproven.rows) == {1}


def test_a_model_with_an_open_inner_axis_is_never_quick(tmp_path: Path) -> None:
    """It is quick on a small input only."""
    model = served("m", one_echo(tmp_path / "m.onnx", "FP32", ["n", "length"]))
    assert not load_predictor(model, Engine()).quick


def test_photos_and_handlers_are_prepared_outside_the_loop(tmp_path: Path) -> None:
    assert not load_predictor(colours(tmp_path), engine_for(brightness(tmp_path / "m.onnx"))).prepares_quickly


def test_a_model_that_takes_no_made_up_input_still_loads(model: ServedModel) -> None:
    engine = Engine()
    engine.refuses = True
    assert not load_predictor(model, engine).quick


def test_a_run_is_not_begun_for_nobody(model: ServedModel) -> None:
    loaded = load_predictor(model, Engine(0.002))
    with pytest.raises(DeadlinePassed):
        loaded.run(X, None, Ticket(CLOCK.now - 1))
    claim = Ticket(CLOCK.now + 60)
    loaded.run(X, None, claim)
    assert claim.inference_s == pytest.approx(0.002)


def test_prediction_in_process_answers_and_refuses_as_over_http(tmp_path: Path) -> None:
    model = fraud(tmp_path)
    loaded = load_predictor(model, engine_for(model.path))
    answer = loaded.predict({"amount": 120, "age": 33, "country": "FR"}, Ticket())
    assert set(answer) >= {"prediction", "score", "threshold"}
    with pytest.raises(InvalidInput, match="amount: expected a number"):
        loaded.predict({"amount": "x", "age": 33, "country": "FR"}, Ticket())


def test_what_the_engine_refuses_is_the_models_failure(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [info("x", "FP32", [4]), info("shape", "INT64", [1])]
    model = served("m", save(tmp_path / "m.onnx", [node], inputs, [info("y", "FP32", ["n"])]))
    loaded = load_predictor(model, engine_for(model.path))
    wrong = {"x": np.zeros(4, np.float32), "shape": np.array([3])}
    with pytest.raises(ModelFailed):
        loaded.run(wrong, None, Ticket())
    right = loaded.run({"x": np.zeros(4, np.float32), "shape": np.array([4])}, ["y"], Ticket())
    assert right["y"].shape == (4,)
