"""Crew: a few threads that take the most useful step at hand, a run that can begin or else a request to prepare."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sealift.errors import Unavailable
from sealift.serve.lane import Ended, Job, Lane, Run, lateness
from sealift.serve.ticket import Ticket

_FATAL: Final = (BaseException,)
"""Work answers for its own exceptions; what still gets through ends the thread, and that is an event."""


class Task(NamedTuple):
    """A request to be prepared: `work` never raises. `since`: when it came."""

    work: Callable[[], None]
    claim: Ticket
    since: float


class _Step(NamedTuple):
    """What a thread does next."""

    since: float
    work: Callable[[], None]


class Crew:
    """Runs what must not run in the event loop on `count` threads; at most `queue_limit` more requests wait.

    What has been prepared runs before anything else is prepared, and where a run can begin it does so on the
    thread that prepared it: on a busy processor a request never changes threads.

    `failed` is a future that gets the exception of a thread that died.
    """

    def __init__(
        self, count: int, queue_limit: int, loop: asyncio.AbstractEventLoop, lanes: Sequence[Lane] = ()
    ) -> None:
        self.failed: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._lanes = tuple(lanes)
        for lane in lanes:
            lane.threads = self
        self._limit = queue_limit
        self._tasks: deque[Task] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._first = 0
        self._running: list[_Step | None] = [None] * count
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"sealift-work-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread end after what is already queued."""
        with self._wake:
            self._stopping = True
            for lane in self._lanes:
                lane.hurry()
            self._wake.notify_all()

    @property
    def waiting(self) -> int:
        """Requests for which no thread is free."""
        return max(0, self._surplus())

    def oldest_s(self) -> float:
        """Age of the oldest work that waits or runs, whether or not somebody still waits for it; 0: none."""
        with self._wake:
            since = [step.since for step in self._running if step is not None]
            since += [task.since for task in list(self._tasks)[:1]]
            since += [job.since for lane in self._lanes for job in lane.waiting[:1]]
        return time.perf_counter() - min(since) if since else 0.0

    def begin(self, work: Callable[[], None], claim: Ticket) -> None:
        """Queue `work`, which never raises. It is dropped if nobody waits any more when its turn comes.

        Raises: Unavailable: the queue is full.
        """
        with self._wake:
            self.check_room()
            self._tasks.append(Task(work, claim, time.perf_counter()))
            self._wake.notify()

    def check_room(self) -> None:
        """Raises: Unavailable: the queue is full."""
        with self._wake:
            if self._is_full():
                self._tasks = deque(task for task in self._tasks if not task.claim.abandoned)
            if self._is_full():
                text = f"{self.waiting} requests are waiting already; retry later"
                raise Unavailable(text, code="queue_full")

    def _is_full(self) -> bool:
        return self._surplus() >= self._limit

    def _surplus(self) -> int:
        """How many more wait than threads are free."""
        queued = len(self._tasks) + sum(len(lane.waiting) for lane in self._lanes)
        return queued - self._running.count(None)

    def spread(self, works: Sequence[Callable[[], None]], claim: Ticket) -> None:
        """Queue the parts of a request that was let in already; each as for `begin`. From any thread."""
        now = time.perf_counter()
        with self._wake:
            self._tasks.extendleft(Task(work, claim, now) for work in reversed(works))
            self._wake.notify(len(works))

    def put(self, lane: Lane, jobs: Sequence[Job]) -> None:
        """Jobs that are prepared; from any thread."""
        now = time.perf_counter()
        for job in jobs:
            job.since = now
        with self._wake:
            lane.put(jobs)
            if len(jobs) > 1 or threading.current_thread() not in self._threads:
                self._wake.notify(len(jobs))

    # ------------------------------------------------------------------ on the threads

    def _serve(self, number: int) -> None:
        try:
            while (step := self._next(number)) is not None:
                step.work()
                del step
        except _FATAL as error:
            self.tell(self._die, error)

    def _next(self, number: int) -> _Step | None:
        with self._wake:
            while True:
                now = time.perf_counter()
                self._running[number] = step = self._run_at_hand(now) or self._task_at_hand()
                if step is not None:
                    return step
                if self._stopping:
                    return None
                self._wake.wait(self._patience(now))

    def _run_at_hand(self, now: float) -> _Step | None:
        self._first = (self._first + 1) % max(len(self._lanes), 1)  # no model comes first for ever
        for lane in (*self._lanes[self._first :], *self._lanes[: self._first]):
            run = lane.next_run(now)
            if run is not None:
                since = run.jobs[0].since if run.jobs else now
                return _Step(since, lambda lane=lane, run=run: self._perform(lane, run))  # type: ignore[misc]
        return None

    def _task_at_hand(self) -> _Step | None:
        while self._tasks:
            task = self._tasks.popleft()
            if not task.claim.abandoned:
                return _Step(task.since, task.work)
        return None

    def _patience(self, now: float) -> float | None:
        """Seconds until a lane that waits for more rows wants to be asked again."""
        times = [lane.look_at for lane in self._lanes if lane.look_at is not None]
        return max(0.0, min(times) - now) if times else None

    def _perform(self, lane: Lane, run: Run) -> None:
        dropped = [job.face.render(job, lateness(job), 0) for job in run.late]
        ended = lane.execute(run) if run.jobs else None
        with self._wake:
            lane.ended(run)
            if lane.waiting or self._tasks:
                self._wake.notify()
        self.tell(self._deliver, lane, run.late, dropped, ended)

    def tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Have the event loop call `what` soon; from any thread."""
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            return  # the loop is closed: the worker is on its way out and nobody waits

    # ------------------------------------------------------------------ in the event loop's thread

    def _deliver(self, lane: Lane, late: Sequence[Job], dropped: Sequence[Any], ended: Ended | None) -> None:
        for job, answer in zip(late, dropped, strict=True):
            lane.drop(job, answer)
        if ended is not None:
            lane.deliver(ended)

    def _die(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(f"a work thread died: {error!r}"))
