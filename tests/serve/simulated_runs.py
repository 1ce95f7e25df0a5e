"""Models that a test holds in its hand: runs wait for a gate, fail on a marked row, and are written down."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tests.serve.running import LoopThread

from sealift.engine.concurrency import Layout, Layouts
from sealift.engine.protocol import Arrays
from sealift.errors import ModelFailed, RequestError
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.padding import PadRule
from sealift.model.service import Batching, ServedModel
from sealift.model.signature import Signature, TensorSpec
from sealift.serve.crew import Crew
from sealift.serve.lane import Job, Lane, Ran
from sealift.serve.predictor import Predictor, PredictorOptions
from sealift.serve.ticket import Ticket

BAD = 666.0
"""A row with this value fails, and everything that shares its run."""

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("n", 2)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=("n", 2)),),
    batch_axis="n",
)


class Session:
    """`y` = 2 `x`. A run begins (`begun`), then waits for `gate`, which is open unless a test closes it."""

    device = "cpu"
    degraded = ""

    def __init__(self, name: str = "m") -> None:
        self.name = name
        self.runs: list[list[float]] = []
        self.log: list[str] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.dies: BaseException | None = None

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        x = inputs["x"]
        self.runs.append(x[:, 0].tolist())
        self.log.append(self.name)
        self.begun.release()
        assert self.gate.wait(10)
        if self.dies is not None:
            raise self.dies
        if (x == BAD).any():
            raise ModelFailed("a row is bad", code="model_failed")
        return {"y": x * 2}


class SimulatedPredictor:
    """What a lane asks of a predictor."""

    def __init__(
        self,
        session: Session,
        max_rows: int = 8,
        wait_s: float = 0.0,
        *,
        quick: bool = False,
        layouts: Layouts | None = None,
    ) -> None:
        batching = Batching("", max_rows, wait_s)
        self.model = ServedModel(
            session.name, Path("/m.onnx"), SIGNATURE, TensorInput(), TensorOutput(), batching=batching
        )
        self.options = PredictorOptions(quick_s=60.0)
        self.quick = quick
        self.max_rows = max_rows
        self.pads: dict[str, PadRule] = {}
        self.layouts = layouts or Layouts()
        self.chosen: list[Layout] = []
        self._session = session

    def session_for(self, layout: Layout) -> Session:
        self.chosen.append(layout)
        return self._session


class Counted:
    """A tally that remembers."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.dropped: list[str] = []
        self.spent_on: list[tuple[float, float, float, float, int]] = []

    def ran(self, rows: int, layout: Layout) -> None:
        self.rows.append(rows)

    def spent(
        self, decode_s: float, queue_s: float, inference_s: float, encode_s: float, requests: int
    ) -> None:
        self.spent_on.append((decode_s, queue_s, inference_s, encode_s, requests))

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


class Asker:
    """A face that keeps the answer: the first column of the job's rows, or the error's code."""

    def __init__(self) -> None:
        self.answer: list[float] | str | None = None
        self.answers = 0
        self.done = threading.Event()

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> list[float] | str:
        if isinstance(ran, RequestError):
            return ran.code
        values: list[float] = ran.part(start, job.rows)["y"][:, 0].tolist()
        return values

    def deliver(self, job: Job, answer: Any) -> None:
        self.answer = answer
        self.answers += 1
        self.done.set()

    def wait(self) -> list[float] | str | None:
        assert self.done.wait(10)
        return self.answer


def rows_of(*values: float) -> Arrays:
    """One row for each value."""
    return {"x": np.array([[value, 0.0] for value in values], np.float32)}


class Works:
    """One model on a crew's threads, in a running loop."""

    def __init__(
        self,
        threads: int = 1,
        limit: int = 100,
        max_rows: int = 8,
        wait_s: float = 0.0,
        *,
        quick: bool = False,
        layouts: Layouts | None = None,
        names: Sequence[str] = ("m",),
    ) -> None:
        self.loop = LoopThread()
        self.sessions = [Session(name) for name in names]
        self.predictors = [
            SimulatedPredictor(session, max_rows, wait_s, quick=quick, layouts=layouts)
            for session in self.sessions
        ]
        self.tallies = [Counted() for _ in names]
        self.lanes = [
            Lane(cast(Predictor, predictor), tally)
            for predictor, tally in zip(self.predictors, self.tallies, strict=True)
        ]
        self.crew = self.loop.call(lambda: Crew(threads, limit, self.loop.loop, self.lanes))
        self.session, self.lane, self.tally = self.sessions[0], self.lanes[0], self.tallies[0]

    def start(self) -> Works:
        self.loop.call(self.crew.start)
        return self

    def job(
        self, *values: float, ticket: Ticket | None = None, lane: Lane | None = None
    ) -> tuple[Job, Asker]:
        asker, arrays = Asker(), rows_of(*values)
        key, rows = (lane or self.lane).key_of(arrays)
        return Job(arrays, ticket or Ticket(), asker, None, key, rows), asker

    def put(self, *values: float, ticket: Ticket | None = None, lane: Lane | None = None) -> Asker:
        """One request that is prepared already."""
        job, asker = self.job(*values, ticket=ticket, lane=lane)
        self.crew.put(lane or self.lane, [job])
        return asker

    def occupy(self) -> Asker:
        """A run that has begun and waits at the gate."""
        self.session.gate.clear()
        asker = self.put(0.0)
        assert self.session.begun.acquire(timeout=10)
        return asker

    def close(self) -> None:
        for session in self.sessions:
            session.gate.set()
        self.loop.call(self.crew.stop)
        for thread in self.crew._threads:
            if thread.ident is not None:
                thread.join(10)
        self.loop.call(lambda: None)  # what the threads still told the loop
        self.loop.close()
        assert self.loop.reported == []
