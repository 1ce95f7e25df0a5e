"""The worker that serves, those that leave, and how one follows the other. Standard library only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sealift.serve.care import WorkerLaunch
from sealift.serve.workers import RunningWorker, SupervisorOptions, Workers

log = logging.getLogger("sealift.supervisor")

_ROOM: Final = 1.2
"""A worker is started beside another only with this much of its measured memory to spare."""
_LATE_S: Final = 5.0


async def _nothing_to_settle() -> None:
    pass


class Stage:
    """One worker serves at a time; two only while one follows the other. In the event loop's thread.

    Args:
        available: bytes that a second worker may take, None when unknown.
    """

    def __init__(
        self, workers: Workers, options: SupervisorOptions, available: Callable[[], int | None]
    ) -> None:
        self.worker: RunningWorker | None = None
        self.note = ""
        self._workers = workers
        self._options = options
        self._available = available
        self._leaving: dict[RunningWorker, asyncio.Future[None]] = {}

    @property
    def serving(self) -> RunningWorker | None:
        """The worker that serves, None when it has ended or there never was one."""
        return None if self.worker is None or self.worker.has_ended else self.worker

    async def replace(
        self, launch: WorkerLaunch, settle: Callable[[], Awaitable[None]] = _nothing_to_settle
    ) -> None:
        """Serve `launch` from now on, the old worker retires.

        Args:
            settle: called once the new worker is ready. If it raises, the new one leaves.
        Raises: NotServing: the new worker did not get ready. The old one serves on, except where there was
            no room for both: then nobody serves.
        """
        await self._make_room(launch)
        old = self.serving
        new = await self._workers.start(launch, beside=old is not None)
        try:
            await settle()
        except BaseException:
            self._let_go(new, self._options.drain_s)
            raise
        self.worker = new
        new.has_served = True
        if old is not None:
            self._let_go(old, self._options.drain_s)

    async def end(self) -> None:
        """The service stops: every worker drains and ends."""
        if (worker := self.serving) is not None:
            self._let_go(worker, 0.0)
        await self._hurry()

    async def _make_room(self, launch: WorkerLaunch) -> None:
        """Where two workers do not fit, the old one ends first; connections queue on the socket meanwhile."""
        self.note = ""
        if self._fits(launch):
            return
        await self._hurry()
        old = self.serving
        if old is None or self._fits(launch):
            return
        self.note = (
            f"{launch.release} is started after {old.launch.release} has ended, not beside it: it needs "
            f"{(launch.memory_bytes or 0) / 1e6:.0f} MB, {(self._available() or 0) / 1e6:.0f} MB are free"
        )
        log.warning("%s", self.note)
        self._let_go(old, 0.0)
        await self._hurry()

    def _fits(self, launch: WorkerLaunch) -> bool:
        if self.serving is None and not self._leaving:
            return True
        free = self._available() if launch.memory_bytes is not None else None
        return free is None or launch.memory_bytes is None or free >= launch.memory_bytes * _ROOM

    def _let_go(self, worker: RunningWorker, keep_s: float) -> None:
        """Have a worker leave: with idle connections kept for `keep_s`, or soon (0)."""
        worker.is_expected_to_end = True
        if keep_s:
            worker.retire(keep_s)
        else:
            worker.terminate()
        longest_s = keep_s + self._options.drain_s + _LATE_S
        task = asyncio.ensure_future(worker.ended(longest_s))
        self._leaving[worker] = task
        task.add_done_callback(lambda task: self._gone(worker, task))

    def _gone(self, worker: RunningWorker, task: asyncio.Future[None]) -> None:
        if self._leaving.get(worker) is task:
            del self._leaving[worker]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("worker process %d: nobody waits for its end: %r", worker.pid, error)

    async def _hurry(self) -> None:
        """End those that leave, now that their idle connections may not be kept any longer."""
        for worker in self._leaving:
            worker.terminate()
        if self._leaving:
            await asyncio.wait(self._leaving.values())
