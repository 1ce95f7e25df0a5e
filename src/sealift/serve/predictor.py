"""Predictor: a model that is loaded, warm and measured. Used by the worker and in process by `predict`."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from sealift.engine.protocol import Arrays, Engine, EngineOptions, Session
from sealift.errors import DeadlinePassed, ModelFailed
from sealift.model.arrays import JsonValue
from sealift.model.declaration import ImageInput
from sealift.model.examples import example_candidates
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel
from sealift.model.signature import Signature
from sealift.serve.threads import Ticket

log = logging.getLogger(__name__)

_WARM_UP_RUNS: Final = 3
_MEASURED_RUNS: Final = 15
_MEASURING_S: Final = 0.5
_DEMOTE_AFTER: Final = 3
_SLOW: Final = 10
"""This many times the bound of a quick run is a slow one, whatever else the machine does."""


@dataclass(frozen=True, slots=True)
class PredictorOptions:
    """How a model is run.

    `threads`: intra-op threads of one run (0: one per core). `runs_at_once`: runs of one model that may
    overlap. `quick_s`: a model measured below it runs in the event loop's turn, on one thread.
    """

    threads: int = 0
    runs_at_once: int = 1
    quick_s: float = 0.0003


class Predictor:
    """Answers for one model; safe from several threads.

    `quick` means that handing a run to another thread would cost more than the run.
    """

    def __init__(
        self, model: ServedModel, pipeline: Pipeline, session: Session, options: PredictorOptions
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.session = session
        self.quick = False
        self.options = options
        self._gate = threading.BoundedSemaphore(options.runs_at_once)
        self._slow_runs = 0

    @property
    def prepares_quickly(self) -> bool:
        """Whether pre- and post-processing is ours and cheap: no photo to decode, no foreign code."""
        return self.model.handler is None and not isinstance(self.model.input, ImageInput)

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None, ticket: Ticket
    ) -> Arrays:
        """Run the model once, in this thread.

        Raises:
            DeadlinePassed: before the run began.
            ModelFailed: the engine refused.
        """
        if self.quick:
            if ticket.deadline is not None or ticket.abandoned:
                ticket.check()
            return self._timed(inputs, outputs, ticket)
        self._enter(ticket)
        try:
            ticket.check()
            return self._timed(inputs, outputs, ticket)
        finally:
            self._gate.release()

    def predict(self, payload: bytes | JsonValue, ticket: Ticket) -> dict[str, Any]:
        """One item, from what the client sent (bytes or a JSON value) to the answer's fields.

        Raises: RequestError: the input or the run.
        """
        prepared = self.pipeline.prepare(payload)
        outputs = self.run(prepared.inputs, None, ticket)
        return self.pipeline.answer(outputs, prepared)

    def warm_up(self) -> float | None:
        """Run on made-up inputs; the median time of a run in seconds, None if the model takes none of ours."""
        for inputs in example_candidates(self.model.signature, seed=0):
            try:
                return self._measure(inputs)
            except ModelFailed as error:
                log.debug("%s: refused made-up inputs: %s", self.model.name, error.message)
        log.info("%s: not warmed up, it refuses all made-up inputs", self.model.name)
        return None

    def _measure(self, inputs: Arrays) -> float:
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < _WARM_UP_RUNS + _MEASURED_RUNS and time.perf_counter() - began < _MEASURING_S:
            start = time.perf_counter()
            self.session.run(inputs)
            times.append(time.perf_counter() - start)
            if len(times) > _WARM_UP_RUNS and min(times) > _SLOW * self.options.quick_s:
                break  # not quick for certain: more runs would only take the cores from who serves meanwhile
        return statistics.median(times[_WARM_UP_RUNS:] or times[-1:])

    def _enter(self, ticket: Ticket) -> None:
        if ticket.deadline is None:
            self._gate.acquire()
        elif not self._gate.acquire(timeout=max(0.0, ticket.deadline - time.perf_counter())):
            raise DeadlinePassed("the deadline of the request passed before its run", code="deadline_passed")

    def _timed(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None, ticket: Ticket
    ) -> Arrays:
        began = time.perf_counter()
        answer = self.session.run(inputs, outputs)
        took = time.perf_counter() - began
        ticket.inference_s += took
        if self.quick:
            self._watch(took)
        return answer

    def _watch(self, took: float) -> None:
        """A model may be quick on zeros and slow on real inputs: then it leaves the event loop."""
        self._slow_runs = self._slow_runs + 1 if took > _SLOW * self.options.quick_s else 0
        if self._slow_runs >= _DEMOTE_AFTER:
            self.quick = False
            log.warning("%s: runs take %.1f ms, so they leave the event loop", self.model.name, took * 1e3)


def load_predictor(model: ServedModel, engine: Engine, options: PredictorOptions | None = None) -> Predictor:
    """Load, warm up, measure.

    Raises: ModelError, ProjectError: model or handler cannot be loaded here.
    """
    options = options or PredictorOptions()
    pipeline = build_pipeline(model)
    session = engine.load(model.path, EngineOptions(threads=options.threads, device=model.device))
    predictor = Predictor(model, pipeline, session, options)
    took = predictor.warm_up()
    if took is not None and took < options.quick_s and _has_fixed_size(model.signature):
        # One thread: a pool's hand-over costs a quick model more than it gains.
        predictor.session = engine.load(model.path, EngineOptions(threads=1, device=model.device))
        predictor.warm_up()
        predictor.quick = True
    log.info(
        "%s: loaded on %s, %s a run%s", model.name, session.device,
        "not measured" if took is None else f"{took * 1e3:.2f} ms", ", in the loop" if predictor.quick else "",
    )  # fmt: skip
    return predictor


def _has_fixed_size(signature: Signature) -> bool:
    """Whether a row is always equally large: an open axis other than the first may make a run long."""
    return all(
        spec.shape is not None and all(isinstance(axis, int) for axis in spec.shape[1:])
        for spec in signature.inputs
    )
