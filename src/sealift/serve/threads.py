"""Work that must not run in the event loop: a bounded queue in front of a few threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from sealift.errors import DeadlinePassed, Unavailable

Result = TypeVar("Result")

_FATAL: Final = (BaseException,)
"""Work answers for its own exceptions; what still gets through ends the thread, and that is an event."""


class Ticket:
    """One request's claim to the engine: until when, whether somebody still waits, what it cost.

    `deadline` is on the clock of `time.perf_counter`, None for no deadline.
    """

    __slots__ = ("abandoned", "deadline", "inference_s")

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.abandoned = False
        self.inference_s = 0.0

    def check(self) -> None:
        """Call before anything costly.

        Raises: DeadlinePassed: nobody waits for the answer any more, or its time is over.
        """
        if self.abandoned:
            raise DeadlinePassed("the client has gone", code="abandoned")
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            raise DeadlinePassed("the deadline of the request passed before its run", code="deadline_passed")


class _Job(Generic[Result]):
    __slots__ = ("future", "since", "ticket", "work")

    def __init__(self, work: Callable[[], Result], ticket: Ticket, future: asyncio.Future[Result]) -> None:
        self.work: Callable[[], Result] | None = work
        self.ticket = ticket
        self.future = future
        self.since = time.perf_counter()


class WorkThreads:
    """Runs work on `count` threads; at most `queue_limit` more requests wait.

    `failed` is a future that gets the exception of a thread that died. Methods belong to the loop's thread.
    """

    def __init__(self, count: int, queue_limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.failed: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._count = count
        self._limit = count + queue_limit
        self._open: dict[_Job[Any], None] = {}  # in the order they came
        self._running: list[_Job[Any] | None] = [None] * count
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"sealift-work-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread end after the work that is already queued."""
        for _ in self._threads:
            self._queue.put(None)

    @property
    def waiting(self) -> int:
        """Requests that no thread has taken yet."""
        return max(0, len(self._open) - self._count)

    def oldest_s(self) -> float:
        """Age of the oldest work that waits or runs, whether or not somebody still waits for it; 0: none."""
        jobs = [job for job in self._running if job is not None]
        jobs += [next(iter(self._open))] if self._open else []
        return time.perf_counter() - min(job.since for job in jobs) if jobs else 0.0

    def submit(self, work: Callable[[], Result], ticket: Ticket) -> asyncio.Future[Result]:
        """Queue `work`, which never raises. Cancelling the future drops it if it has not begun.

        Raises: Unavailable: the queue is full.
        """
        if len(self._open) >= self._limit:
            raise Unavailable(f"{self.waiting} requests are waiting already; retry later", code="queue_full")
        job = _Job(work, ticket, self._loop.create_future())
        self._open[job] = None
        job.future.add_done_callback(lambda future: self._close(job, future))
        self._queue.put(job)
        return job.future

    def _close(self, job: _Job[Any], future: asyncio.Future[Any]) -> None:
        del self._open[job]
        if future.cancelled():
            job.ticket.abandoned = True
            job.work = None  # the body must not stay in memory until a thread gets here

    def _serve(self, number: int) -> None:
        try:
            while (job := self._queue.get()) is not None:
                work = job.work
                if work is not None:
                    self._running[number] = job
                    self._tell(self._finish, job, work())
                    self._running[number] = None
                del job, work
        except _FATAL as error:
            self._tell(self._die, error)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            return  # the loop is closed: the worker is on its way out and nobody waits

    def _finish(self, job: _Job[Any], result: object) -> None:
        if not job.future.done():
            job.future.set_result(result)

    def _die(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(f"a work thread died: {error!r}"))
