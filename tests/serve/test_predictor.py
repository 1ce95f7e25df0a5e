"""Predictors: what runs in the loop, what waits at the gate, and what is never run."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.serve.nets import brightness, colours, fraud, info, one_echo, save, served

from sealift.engine.choose import engine_for
from sealift.engine.protocol import Arrays, EngineOptions, Session
from sealift.errors import DeadlinePassed, InvalidInput, ModelFailed
from sealift.model.service import ServedModel
from sealift.serve.predictor import PredictorOptions, load_predictor
from sealift.serve.ticket import Ticket


class Engine:
    """An engine whose runs take as long as the test says, in threads that it counts."""

    device = "cpu"

    def __init__(self, seconds: float = 0.0, refuses: bool = False) -> None:
        self.seconds = seconds
        self.refuses = refuses
        self.loads: list[EngineOptions] = []
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def load(self, model: Path, options: EngineOptions) -> Session:
        self.loads.append(options)
        return self

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        if self.refuses:
            raise ModelFailed("no", code="model_failed")
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            time.sleep(0)
        with self._lock:
            self.inside -= 1
        return {"y": np.zeros(1, np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    return served("m", one_echo(tmp_path / "m.onnx", "FP32", ["n", 2]))


X = {"x": np.zeros((1, 2), np.float32)}


def test_a_quick_model_is_reloaded_on_one_thread_and_runs_in_the_loop(model: ServedModel) -> None:
    engine = Engine()
    predictor = load_predictor(model, engine, PredictorOptions(threads=4))
    assert predictor.quick
    assert predictor.prepares_quickly
    assert [options.threads for options in engine.loads] == [4, 1]


def test_a_slow_model_keeps_its_threads(model: ServedModel) -> None:
    engine = Engine(0.002)
    predictor = load_predictor(model, engine, PredictorOptions(threads=4))
    assert not predictor.quick
    assert len(engine.loads) == 1


def test_a_model_with_an_open_inner_axis_is_never_quick(tmp_path: Path) -> None:
    """It is quick on a small input only."""
    model = served("m", one_echo(tmp_path / "m.onnx", "FP32", ["n", "length"]))
    assert not load_predictor(model, Engine()).quick


def test_photos_and_handlers_are_prepared_outside_the_loop(tmp_path: Path) -> None:
    assert not load_predictor(colours(tmp_path), engine_for(brightness(tmp_path / "m.onnx"))).prepares_quickly


def test_a_model_that_takes_no_made_up_input_still_loads(model: ServedModel) -> None:
    assert not load_predictor(model, Engine(refuses=True)).quick


def test_a_model_that_turns_out_slow_leaves_the_loop(
    model: ServedModel, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine()
    predictor = load_predictor(model, engine)
    engine.seconds = 0.004
    for _ in range(2):
        predictor.run(X, None, Ticket())
    assert predictor.quick
    predictor.run(X, None, Ticket())
    assert not predictor.quick
    assert "so they leave the event loop" in caplog.text


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_runs_overlap_than_allowed(model: ServedModel, at_once: int) -> None:
    engine = Engine(0.003)
    predictor = load_predictor(model, engine, PredictorOptions(runs_at_once=at_once))
    engine.most = 0
    threads = [threading.Thread(target=predictor.run, args=(X, None, Ticket())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.most == at_once


def test_a_deadline_ends_the_wait_for_the_engine(model: ServedModel) -> None:
    engine = Engine(0.002)
    predictor = load_predictor(model, engine)
    predictor._gate.acquire()
    with pytest.raises(DeadlinePassed):
        predictor.run(X, None, Ticket(time.perf_counter() + 0.01))
    predictor._gate.release()
    ticket = Ticket(time.perf_counter() + 60)
    predictor.run(X, None, ticket)
    assert ticket.inference_s >= 0.002


def test_prediction_in_process_answers_and_refuses_as_over_http(tmp_path: Path) -> None:
    model = fraud(tmp_path)
    predictor = load_predictor(model, engine_for(model.path))
    answer = predictor.predict({"amount": 120, "age": 33, "country": "FR"}, Ticket())
    assert set(answer) >= {"prediction", "score", "threshold"}
    with pytest.raises(InvalidInput, match="amount: expected a number"):
        predictor.predict({"amount": "x", "age": 33, "country": "FR"}, Ticket())


def test_what_the_engine_refuses_is_the_models_failure(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [info("x", "FP32", [4]), info("shape", "INT64", [1])]
    model = served("m", save(tmp_path / "m.onnx", [node], inputs, [info("y", "FP32", ["n"])]))
    predictor = load_predictor(model, engine_for(model.path))
    wrong = {"x": np.zeros(4, np.float32), "shape": np.array([3])}
    with pytest.raises(ModelFailed):
        predictor.run(wrong, None, Ticket())
    right = predictor.run({"x": np.zeros(4, np.float32), "shape": np.array([4])}, ["y"], Ticket())
    assert right["y"].shape == (4,)
