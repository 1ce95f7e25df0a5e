"""Goldens as canaries: one at a time, all models in turn, and what differs is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.check.test_record import given, linear, service_of, with_handler

from sealift.check.canary import load_canary
from sealift.check.record import record_service
from sealift.engine.choose import engine_for
from sealift.engine.protocol import Arrays, EngineOptions, Session
from sealift.errors import ModelFailed, StoreError
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import Service
from sealift.serve.canary import Canary


@dataclass
class Recorder:
    """A session that keeps what it was asked."""

    inner: Session
    shift: float = 0.0
    seen: list[Mapping[str, NDArray[Any]]] = field(default_factory=list)

    @property
    def device(self) -> str:
        return self.inner.device

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        self.seen.append(inputs)
        return {name: value + self.shift for name, value in self.inner.run(inputs, outputs).items()}


def sessions_of(service: Service) -> dict[str, Recorder]:
    return {
        model.name: Recorder(engine_for(model.path).load(model.path, EngineOptions(threads=1)))
        for model in service.models
    }


@pytest.fixture
def pair(tmp_path: Path) -> Service:
    """Two models of the same kind, with three goldens each."""
    first = service_of(linear(tmp_path / "m"))
    second = service_of(linear(tmp_path / "n", shift=1.0)).models[0]
    service = replace(first, models=(*first.models, replace(second, name="n")))
    record_service(service, None, tmp_path / "goldens")
    return service


def test_it_is_what_a_worker_asks_for(pair: Service, tmp_path: Path) -> None:
    canary: Canary | None = load_canary(pair, tmp_path / "goldens")
    assert canary is not None


def test_each_call_runs_one_golden_and_the_models_take_turns(pair: Service, tmp_path: Path) -> None:
    canary = load_canary(pair, tmp_path / "goldens")
    assert canary is not None
    sessions = sessions_of(pair)
    assert [canary.run(sessions) for _ in range(7)] == [""] * 7
    assert [len(sessions[name].seen) for name in "mn"] == [4, 3]
    first, again = sessions["m"].seen[0], sessions["m"].seen[3]
    np.testing.assert_array_equal(first["x"], again["x"])
    assert not np.array_equal(first["x"], sessions["m"].seen[1]["x"])


def test_a_model_that_answers_otherwise_is_named(pair: Service, tmp_path: Path) -> None:
    canary = load_canary(pair, tmp_path / "goldens")
    assert canary is not None
    sessions = sessions_of(pair)
    sessions["n"].shift = 0.5
    assert canary.run(sessions) == ""
    assert canary.run(sessions).startswith(
        "model n: golden input signature-1: output y: differs by 0.5, tolerance "
    )


def test_a_payload_goes_through_the_pipeline_that_the_session_brings(tmp_path: Path) -> None:
    code = "def preprocess(body):\n    return [1, 2, 3, 4]\n"
    service = with_handler(service_of(linear(tmp_path / "m")), tmp_path, code)
    record_service(service, given(tmp_path), tmp_path / "goldens")
    canary = load_canary(service, tmp_path / "goldens")
    assert canary is not None
    assert canary.run(sessions_of(service)) == "", "with a pipeline of its own"
    session = Piped(sessions_of(service)["m"], build_pipeline(service.models[0]))
    # Of another length than before: within the same second the cached bytecode would pass for it.
    (tmp_path / "handler.py").write_text("def preprocess(body):\n    raise KeyError('x')  # broken\n")
    assert canary.run({"m": session}) == ""
    broken = Piped(session.inner, build_pipeline(service.models[0]))
    with pytest.raises(ModelFailed, match="KeyError: 'x'"):
        canary.run({"m": broken})


@dataclass
class Piped:
    """A session with a pipeline, as a worker's is."""

    inner: Recorder
    pipeline: Pipeline

    @property
    def device(self) -> str:
        return self.inner.device

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        return self.inner.run(inputs, outputs)


def test_a_release_without_goldens_has_no_canary_and_damaged_ones_are_said(
    pair: Service, tmp_path: Path
) -> None:
    for name in "mn":
        (tmp_path / "goldens" / f"{name}.json").write_text(f'{{"model": "{name}", "reason": "random"}}')
    assert load_canary(pair, tmp_path / "goldens") is None
    (tmp_path / "goldens" / "m.json").unlink()
    with pytest.raises(StoreError, match=r"m\.json: No such file"):
        load_canary(pair, tmp_path / "goldens")
