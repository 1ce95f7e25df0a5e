"""Lane: the requests of one model on their way through the engine, as batches.

A quick model runs at the end of the event loop's turn, with everything that arrived in it. For the others a
`Crew` of threads asks the lane for the next run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from sealift.engine.batching import BatchPolicy, decide
from sealift.engine.concurrency import Layout, choose
from sealift.engine.protocol import Arrays
from sealift.errors import DeadlinePassed, ModelFailed, RequestError, Unavailable
from sealift.model.padding import pad_to_same, shape_key
from sealift.model.row_form import RowForm
from sealift.serve.admission import Admission
from sealift.serve.http.message import Reply, Request, problem
from sealift.serve.predictor import Predictor
from sealift.serve.ticket import Ticket, deadline_passed

log = logging.getLogger(__name__)

_DEMOTE_AFTER: Final = 3
_SLOW: Final = 10
"""A run that takes this many times the bound of a quick one is slow, whatever else the machine does."""
LOOP_BYTES: Final = 16 * 1024
"""A larger request is read on a thread, however quick its model: parsing alone would hold up everybody."""
OVERLOADED: Final = "more requests than can be answered in time; retry later"
FOREIGN: Final = (Exception, SystemExit)
"""What an engine or a handler may raise: they are foreign code, and one calls `sys.exit`."""


class Ran:
    """What a run gave; several jobs may be rows of it."""

    def __init__(self, outputs: Arrays, rows: int) -> None:
        self.outputs = outputs
        self.rows = rows
        self.answers: list[dict[str, Any]] | None = None
        self.texts: dict[Face, list[bytes]] = {}

    def part(self, start: int, rows: int) -> Arrays:
        """The outputs of `rows` rows from `start` on; everything, where the run was one job's."""
        if rows == self.rows:
            return self.outputs
        return {name: array[start : start + rows] for name, array in self.outputs.items()}

    @cached_property
    def flat(self) -> dict[str, list[Any]]:
        """By output: the values of each row, flat; only where every output has the rows as its first axis."""
        return {name: array.reshape(self.rows, -1).tolist() for name, array in self.outputs.items()}


class Face(Protocol):
    """What a job's answer looks like, and to whom it goes."""

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Any:
        """The answer, from row `start` of the run on, or from why there was none. On the thread that ran it."""
        ...

    def deliver(self, job: Job, answer: Any) -> None:
        """Hand the answer over; in the event loop's thread."""
        ...


class Job:
    """What one request (or one item of its list) wants of the engine.

    `inputs`: arrays, or the flat values of one row; `key` is then the `RowForm` that stacks them. `outputs`: the
    names wanted, None: all. `key` and `rows` as in `engine.batching`, None: it runs alone.
    """

    __slots__ = ("claim", "face", "inputs", "key", "outputs", "rows", "since")

    def __init__(
        self,
        inputs: Arrays | Sequence[float],
        claim: Ticket,
        face: Face,
        outputs: Sequence[str] | None = None,
        key: Hashable = None,
        rows: int = 1,
    ) -> None:
        self.inputs = inputs
        self.claim = claim
        self.face = face
        self.outputs = outputs
        self.key = key
        self.rows = rows
        self.since = 0.0


class _Padded(NamedTuple):
    """The key of inputs that meet once they are padded."""

    shapes: Hashable


class Run(NamedTuple):
    """A batch on its way: `late` are told so, `jobs` run."""

    jobs: list[Job]
    late: list[Job]
    layout: Layout


class Ended(NamedTuple):
    """A run that ended: answers of `jobs` in order."""

    jobs: list[Job]
    answers: list[Any]
    layout: Layout


class Tally(Protocol):
    """What is counted of runs; called in the event loop's thread."""

    def ran(self, rows: int, layout: Layout) -> None:
        """A run of so many rows ended."""
        ...

    def spent(
        self, decode_s: float, queue_s: float, inference_s: float, encode_s: float, requests: int
    ) -> None:
        """So many requests spent that, on average, in each stage."""
        ...

    def drop(self, reason: str) -> None:
        """A request was not worked on."""
        ...


class Threads(Protocol):
    """Where jobs go that do not run in the loop's turn."""

    def put(self, lane: Lane, jobs: Sequence[Job]) -> None:
        """Jobs that are prepared; from any thread."""
        ...

    def check_room(self) -> None:
        """Raises: Unavailable: the queue is full."""
        ...


class Lane:
    """One model's queue and the runs it makes of it.

    Jobs come in two ways: `add` for a run at the end of the loop's turn, and `put` for the threads of a crew,
    which calls `put`, `next_run`, `ended` under its lock.
    """

    def __init__(self, predictor: Predictor, tally: Tally, promised_s: float | None = None) -> None:
        self.predictor = predictor
        self.in_turn = predictor.quick
        self._pads = predictor.pads
        self.policy = BatchPolicy(predictor.max_rows, predictor.model.batching.wait_s)
        self._layouts = predictor.layouts.within(promised_s)
        slots = max(self._layouts.cores, 1)
        abreast = max(slots, predictor.layouts.speedup)
        self.admission = Admission(promised_s, slots, predictor.layouts.narrow_s / abreast)
        self.threads: Threads
        self.look_at: float | None = None
        self._tally = tally
        self._turn: list[Job] = []
        self._window: asyncio.TimerHandle | None = None
        self._waiting: list[Job] = []
        self._wide = self._narrow = 0
        self._slow_runs = 0

    def refuse(self, reason: str) -> None:
        """Count a request that is not worked on: overload, queue_full, deadline or abandoned."""
        self._tally.drop(reason)

    def key_of(self, inputs: Arrays, *, is_padded: bool = False) -> tuple[Hashable, int]:
        """Key and rows of a job with these inputs; a key of its own where it must run alone.

        Args:
            is_padded: our own pre-processing made them, so that its rules may make them longer.
        """
        if self.policy.max_rows <= 1:
            return None, 1
        rows = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
        if len(rows) != 1 or 0 in rows:
            return object(), 1
        if is_padded and self._pads:
            return _Padded(shape_key(inputs, self._pads)), rows.pop()
        key = tuple([(name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()])
        return key, rows.pop()

    def spent(self, ticket: Ticket, seconds: float) -> None:
        """Count where the seconds of a request went that ran on a thread.

        What no stage accounts for was spent on the answer: rendering it, and handing it over to the loop.
        """
        if ticket.inference_s:
            rest_s = seconds - ticket.decode_s - ticket.queue_s - ticket.inference_s
            self._tally.spent(ticket.decode_s, ticket.queue_s, ticket.inference_s, rest_s, 1)

    async def infer(self, arrays: Arrays, outputs: Sequence[str] | None, ticket: Ticket) -> Arrays:
        """Run once, for a face that brings arrays; in the event loop's thread. Cancelled: nobody waits any more.

        Args:
            arrays: checked against the signature.
            outputs: the names wanted, None for all.
        Raises: RequestError: refused, dropped or failed.
        """
        began = time.perf_counter()
        in_turn = self.in_turn and sum([array.nbytes for array in arrays.values()]) <= LOOP_BYTES
        if not in_turn:
            self._check_room()
        if not self.admission.enter(began):
            self.refuse("overload")
            raise Unavailable(OVERLOADED, code="overloaded")
        future: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()
        key, rows = self.key_of(arrays)
        job = Job(arrays, ticket, _Awaited(future), outputs, key, rows)
        try:
            if in_turn:
                job.since = began
                self.add(job)
            else:
                self.threads.put(self, [job])
            return await future
        except asyncio.CancelledError:
            ticket.abandoned = True
            self.refuse("abandoned")
            raise
        finally:
            now = time.perf_counter()
            self.admission.left(now, now - began, counts=ticket.inference_s > 0)
            if not in_turn:
                self.spent(ticket, ticket.decode_s + now - began)

    def _check_room(self) -> None:
        try:
            self.threads.check_room()
        except Unavailable:
            self.refuse("queue_full")
            raise

    # ------------------------------------------------------------------ in the loop's turn

    def add(self, job: Job) -> None:
        """Run it at the end of this turn of the event loop, with what else arrives in it."""
        if not self._turn or self._window is not None:
            self._close_window()
            asyncio.get_running_loop().call_soon(self.flush)
        self._turn.append(job)

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None

    def flush(self) -> None:
        """Run everything that was added."""
        queue, self._turn = self._turn, []
        self._close_window()
        while queue:
            now = time.perf_counter()
            decision = decide(queue, self.policy, now, idle=True)
            queue = decision.rest
            for job in decision.late:
                self.drop(job, job.face.render(job, lateness(job), 0))
            if decision.batch:
                self._in_turn(decision.batch)
            elif decision.look_at is not None:
                self._turn, queue = queue + self._turn, []
                self._window = asyncio.get_running_loop().call_later(decision.look_at - now, self.flush)

    def _in_turn(self, jobs: list[Job]) -> None:
        began = time.perf_counter()
        result = self._run(jobs, Layout.NARROW)
        seconds = time.perf_counter() - began
        if result.__class__ is not Ran and len(jobs) > 1:
            self.deliver(self._one_by_one(jobs, Layout.NARROW, seconds))
            return
        start, decode_s, queue_s = 0, 0.0, 0.0
        for job in jobs:
            claim, face = job.claim, job.face
            claim.inference_s = seconds
            decode_s += claim.decode_s
            queue_s += began - job.since
            face.deliver(job, face.render(job, result, start))
            start += job.rows
        tally, count = self._tally, len(jobs)
        tally.ran(start, Layout.NARROW)
        encode_s = time.perf_counter() - began - seconds
        tally.spent(decode_s / count, queue_s / count, seconds, encode_s / count, count)
        if seconds > self.predictor.options.quick_s * _SLOW:
            self._was_slow(seconds)
        else:
            self._slow_runs = 0

    def _was_slow(self, seconds: float) -> None:
        """A model may be quick on zeros and slow on real inputs: then it leaves the event loop."""
        self._slow_runs += 1
        if self._slow_runs >= _DEMOTE_AFTER:
            self.in_turn = False
            log.warning(
                "%s: runs take %.1f ms, so they leave the event loop",
                self.predictor.model.name, seconds * 1e3,
            )  # fmt: skip

    def drop(self, job: Job, answer: Any) -> None:
        """Tell that a job was not run; who has gone was counted when he went."""
        if not job.claim.abandoned:
            self.refuse("deadline")
        job.face.deliver(job, answer)

    def deliver(self, ended: Ended) -> None:
        """Count a run and hand its answers over."""
        self._tally.ran(sum([job.rows for job in ended.jobs]), ended.layout)
        for job, answer in zip(ended.jobs, ended.answers, strict=True):
            job.face.deliver(job, answer)

    # ------------------------------------------------------------------ on threads

    @property
    def waiting(self) -> Sequence[Job]:
        """What waits for a thread, the oldest first."""
        return self._waiting

    def put(self, jobs: Sequence[Job]) -> None:
        """Jobs for `next_run`."""
        self._waiting.extend(jobs)

    def hurry(self) -> None:
        """From now on no run waits for more rows: nobody will come any more."""
        self.policy = BatchPolicy(self.policy.max_rows)

    def next_run(self, now: float) -> Run | None:
        """The run that a free thread should make now; None: nothing can run, or not before `look_at`."""
        self.look_at = None
        if not self._waiting:
            return None
        wanted = max(self.admission.inside - self._wide - self._narrow, 1)
        layout = choose(wanted, self._wide, self._narrow, self._layouts)
        decision = decide(self._waiting, self.policy, now, idle=layout is not None)
        self._waiting, self.look_at = decision.rest, decision.look_at
        if not decision.batch or layout is None:
            return Run([], decision.late, Layout.WIDE) if decision.late else None
        self._wide += layout is Layout.WIDE
        self._narrow += layout is Layout.NARROW
        return Run(decision.batch, decision.late, layout)

    def ended(self, run: Run) -> None:
        """A run that `next_run` gave has ended."""
        if run.jobs:
            self._wide -= run.layout is Layout.WIDE
            self._narrow -= run.layout is Layout.NARROW

    def execute(self, run: Run) -> Ended:
        """Run a batch and render the answers, on any thread; whatever goes wrong becomes an answer."""
        jobs = run.jobs
        began = time.perf_counter()
        result = self._run(jobs, run.layout)
        seconds = time.perf_counter() - began
        if isinstance(result, RequestError) and len(jobs) > 1:
            return self._one_by_one(jobs, run.layout, seconds)
        for claim, since in {job.claim: job.since for job in jobs}.items():  # a list's items have one claim
            claim.queue_s += began - since
            claim.inference_s += seconds
        start, answers = 0, []
        for job in jobs:
            answers.append(job.face.render(job, result, start))
            start += job.rows
        return Ended(jobs, answers, run.layout)

    def _one_by_one(self, jobs: list[Job], layout: Layout, seconds: float) -> Ended:
        """What failed together is tried again: a neighbour's bad row is not one's own."""
        answers = []
        for claim in {job.claim for job in jobs}:
            claim.inference_s += seconds
        for job in jobs:
            job.since += seconds  # only the rest of it was waiting
            answers += self.execute(Run([job], [], layout)).answers
        return Ended(jobs, answers, layout)

    def _run(self, jobs: list[Job], layout: Layout) -> Ran | RequestError:
        try:
            outputs = jobs[0].outputs if len(jobs) == 1 else None
            session = self.predictor.session_for(layout)
            return Ran(session.run(self._stacked(jobs), outputs), sum([job.rows for job in jobs]))
        except RequestError as error:
            return error
        except FOREIGN as error:
            log.exception("%s: a run failed", self.predictor.model.name)
            return ModelFailed(f"the run failed: {error!r}", code="model_failed")

    def _stacked(self, jobs: list[Job]) -> Arrays:
        """The inputs of the run. Raises: InvalidInput: a value that the datatype cannot hold."""
        key = jobs[0].key
        if isinstance(key, RowForm):
            return key.stacked([job.inputs for job in jobs])  # type: ignore[misc]
        parts = [job.inputs for job in jobs if isinstance(job.inputs, dict)]
        if len(parts) == 1:
            return parts[0]
        if isinstance(key, _Padded):
            parts = pad_to_same(parts, self._pads)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Awaited:
    """The face of a coroutine that waits for the outputs themselves."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Arrays]) -> None:
        self._future = future

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Arrays | RequestError:
        return ran if isinstance(ran, RequestError) else ran.part(start, job.rows)

    def deliver(self, job: Job, answer: Any) -> None:  # noqa: ARG002 - the future knows who waits
        if self._future.done():
            return
        if isinstance(answer, RequestError):
            self._future.set_exception(answer)
        else:
            self._future.set_result(answer)


def lateness(job: Job) -> RequestError:
    """Why a job was dropped."""
    return (
        DeadlinePassed("the client has gone", code="abandoned") if job.claim.abandoned else deadline_passed()
    )


def internal(claim: Ticket) -> Reply:
    """The answer when something of ours failed; call it where the exception is handled."""
    name = claim.request_id.decode() if isinstance(claim, Request) else "?"
    log.exception("request %s failed", name)
    return problem(500, "internal", f"internal error; the log of the server has it under request id {name}")
