"""Predictor: a model that is loaded, warm and measured. Used by the worker and in process by `predict`."""

from __future__ import annotations

import logging
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.concurrency import Layout, Layouts
from sealift.engine.protocol import QUICK_RUN_S, Arrays, Engine, EngineOptions, Loaded
from sealift.engine.tuning import settle
from sealift.errors import ModelFailed
from sealift.model.arrays import JsonValue
from sealift.model.declaration import ImageInput
from sealift.model.examples import example_candidates
from sealift.model.padding import PadRule
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel
from sealift.model.signature import Signature
from sealift.serve.memory import available_bytes, resident_bytes
from sealift.serve.ticket import Ticket

log = logging.getLogger(__name__)

_WARM_UP_RUNS: Final = 3
_MEASURED_RUNS: Final = 15
_MEASURING_S: Final = 0.5
_COMPARED_RUNS: Final = 6
_COMPARING_S: Final = 0.3
_WARMING_S: Final = 0.2
_SLOW: Final = 10
"""This many times the bound of a quick run is a slow one, whatever else the machine does."""
_GAIN: Final = 1.1
"""A run on all cores has to be this much faster than on one to be worth anything."""
_COPY: Final = 3
"""What a second copy of a model takes, in times of its file: weights as read and as the engine lays them out."""


@dataclass(frozen=True, slots=True)
class PredictorOptions:
    """How a model is run.

    `threads`: intra-op threads of one run (0: one per core). `quick_s`: a model measured below it runs in the
    event loop's turn, on one thread. `max_memory_bytes`: what the process may hold; None: any.
    """

    threads: int = 0
    quick_s: float = QUICK_RUN_S
    max_memory_bytes: int | None = None


class Predictor:
    """Runs one model; safe from several threads.

    `wide` runs on as many threads as the options say, `narrow` on one (None: there is no second layout).
    `quick` means that handing a run to another thread would cost more than the run. `max_rows`: rows of one
    run.
    """

    def __init__(
        self, model: ServedModel, pipeline: Pipeline, wide: Loaded, options: PredictorOptions
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.wide = wide
        self.narrow: Loaded | None = None
        self.quick = False
        self.options = options
        self.max_rows = 1
        self.layouts = Layouts()

    @property
    def prepares_quickly(self) -> bool:
        """Whether pre- and post-processing is ours and cheap: no photo, no text to tokenise, no foreign code."""
        model = self.model
        return model.handler is None and model.tokenizer is None and not isinstance(model.input, ImageInput)

    @property
    def pads(self) -> Mapping[str, PadRule]:
        """What makes inputs of different lengths equally long; nothing where the outputs would grow with them."""
        grows = any(
            isinstance(axis, str)
            for spec in self.model.signature.outputs
            for axis in (spec.shape or ("?",))[1:]
        )
        return {} if grows else self.pipeline.pads

    def session_for(self, layout: Layout) -> Loaded:
        """The session of a layout."""
        return self.narrow if layout is Layout.NARROW and self.narrow is not None else self.wide

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None, ticket: Ticket
    ) -> Arrays:
        """Run the model once, in this thread, beside whatever else runs.

        Raises:
            DeadlinePassed: before the run began.
            ModelFailed: the engine refused.
        """
        ticket.check()
        began = time.perf_counter()
        answer = (self.narrow or self.wide).run(inputs, outputs)
        ticket.inference_s += time.perf_counter() - began
        return answer

    def predict(self, payload: bytes | JsonValue, ticket: Ticket) -> dict[str, Any]:
        """One item, from what the client sent (bytes or a JSON value) to the answer's fields.

        Raises: RequestError: the input or the run.
        """
        prepared = self.pipeline.prepare(payload)
        outputs = self.run(prepared.inputs, None, ticket)
        return self.pipeline.answer(outputs, prepared)


def load_predictor(model: ServedModel, engine: Engine, options: PredictorOptions | None = None) -> Predictor:
    """Load, warm and measure; a quick model is loaded once more, on one thread.

    Raises: ModelError, ProjectError.
    """
    options = options or PredictorOptions()
    pipeline = build_pipeline(model)
    wide = engine.load(
        model.path,
        EngineOptions(threads=options.threads, device=model.device, room_bytes=available_bytes()),
    )
    predictor = Predictor(model, pipeline, wide, options)
    inputs, took = _first_that_runs(predictor)
    if inputs is None:
        log.info("%s: not warmed up, it refuses all made-up inputs", model.name)
        predictor.max_rows = 1 if model.batching.reason else max(model.batching.max_rows, 1)
        return predictor
    if took < options.quick_s and _has_fixed_size(model.signature):
        predictor.wide = _on_one_thread(engine, predictor)
        predictor.quick = True
        predictor.layouts = Layouts(_cores(predictor), 0.0)
        took = _median_s(predictor.wide, inputs, options.quick_s)
    else:
        _add_narrow(predictor, inputs)
    _warm_sizes(predictor, inputs)
    log.info(
        "%s: loaded on %s, %.2f ms a run%s%s", model.name, predictor.wide.device, took * 1e3,
        ", in the loop" if predictor.quick else "",
        f", {predictor.layouts.speedup:.1f} times faster on all cores" if predictor.layouts.cores else "",
    )  # fmt: skip
    return predictor


def _first_that_runs(predictor: Predictor) -> tuple[Arrays | None, float]:
    """Made-up inputs that the model takes, and the median time of a run with them in seconds."""
    for inputs in example_candidates(predictor.model.signature, seed=0):
        try:
            return inputs, _median_s(predictor.wide, inputs, predictor.options.quick_s)
        except ModelFailed as error:
            log.debug("%s: refused made-up inputs: %s", predictor.model.name, error.message)
    return None, math.inf


def _median_s(session: Loaded, inputs: Arrays, quick_s: float) -> float:
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _WARM_UP_RUNS + _MEASURED_RUNS and time.perf_counter() - began < _MEASURING_S:
        if len(times) == _WARM_UP_RUNS:
            began = time.perf_counter()  # what an engine does at its first runs is not what it takes
        start = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - start)
        if len(times) > _WARM_UP_RUNS and min(times) > _SLOW * quick_s:
            break  # not quick for certain: more runs would only take the cores from who serves meanwhile
    return statistics.median(times[_WARM_UP_RUNS:] or times[-1:])


def _quickest_s(inputs: Arrays, *sessions: Loaded) -> list[float]:
    """The quickest run of each, in turn: what else the machine does slows a run, nothing makes it quicker."""
    times: list[list[float]] = [[] for _ in sessions]
    began = time.perf_counter()
    while len(times[0]) < _COMPARED_RUNS and (
        len(times[0]) < 2 or time.perf_counter() - began < _COMPARING_S
    ):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(inputs)
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def _on_one_thread(engine: Engine, predictor: Predictor) -> Loaded:
    """For a quick model: a pool's hand-over costs it more than it gains."""
    model = predictor.model
    shared = predictor.wide.with_threads(1, may_copy=True)
    return shared or engine.load(model.path, EngineOptions(threads=1, device=model.device))


def _add_narrow(predictor: Predictor, inputs: Arrays) -> None:
    """A second layout, one thread a run, where there are cores for it and memory."""
    cores = _cores(predictor)
    if cores < 2:
        return
    predictor.narrow = predictor.wide.with_threads(1, may_copy=_may_copy(predictor))
    if predictor.narrow is None:
        log.info("%s: one thread layout only", predictor.model.name)
        return
    wide_s, narrow_s = _quickest_s(inputs, predictor.wide, predictor.narrow)
    speedup = narrow_s / wide_s
    predictor.layouts = Layouts(cores, speedup if speedup >= _GAIN else 0.0, narrow_s)


def _cores(predictor: Predictor) -> int:
    """Single-thread runs that fit side by side; 0: the runs have a device of their own."""
    if not predictor.wide.device.startswith("cpu"):
        return 0
    return predictor.options.threads or len(os.sched_getaffinity(0))


def _may_copy(predictor: Predictor) -> bool:
    limit = predictor.options.max_memory_bytes
    return limit is None or resident_bytes() + _COPY * predictor.model.path.stat().st_size <= limit


def _warm_sizes(predictor: Predictor, inputs: Arrays) -> None:
    """Decide how many rows a run may have, and run each size once: an engine plans memory at the first."""
    model = predictor.model
    batching = settle(predictor.wide, model.signature, model.batching, inputs, is_quick=predictor.quick)
    if batching.reason:
        log.info("%s: not batched: %s", model.name, batching.reason)
    most, rows = batching.max_rows, 2
    began = time.perf_counter()
    while rows <= most and time.perf_counter() - began < _WARMING_S:
        predictor.wide.run({name: np.concatenate([array[:1]] * rows) for name, array in inputs.items()})
        rows *= 2
    predictor.max_rows = most


def _has_fixed_size(signature: Signature) -> bool:
    """Whether a row is always equally large: an open axis other than the first may make a run long."""
    return all(
        spec.shape is not None and all(isinstance(axis, int) for axis in spec.shape[1:])
        for spec in signature.inputs
    )
