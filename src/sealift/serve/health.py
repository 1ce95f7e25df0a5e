"""How the workers of a service do: beats, crashes, hangs. Standard library only; in the event loop's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from sealift.serve.traffic import Traffic
from sealift.serve.workers import RunningWorker, SupervisorOptions

log = logging.getLogger("sealift.supervisor")

_TICKS: Final = 10


class Health:
    """`crashes` and `hung` are of the release's workers since it was switched to; a hung worker crashes.

    `news` is set at every beat, crash and end: whoever waits for it clears it, then looks.
    """

    def __init__(self, options: SupervisorOptions) -> None:
        self.crashes = self.hung = 0
        self.last_failure = ""
        self.news = asyncio.Event()
        self.traffic = Traffic(time.monotonic)
        self._options = options

    def hear(self, worker: RunningWorker) -> None:
        """A beat of a worker, or the end of its process."""
        if worker.beat is not None:
            self.traffic.add(worker.pid, worker.beat)
            if worker.beat.oldest_s > self._options.stuck_s and not worker.is_expected_to_end:
                self._hangs(worker, f"a request is {worker.beat.oldest_s:.0f} s old")
        if worker.has_ended:
            self.traffic.ended(worker.pid)
            if worker.has_served:
                self.note_end(worker)
        self.news.set()

    def note_end(self, worker: RunningWorker | None) -> None:
        """Count a crash if that worker has ended unexpectedly; once."""
        if worker is None or not worker.has_ended or worker.is_expected_to_end:
            return
        worker.is_expected_to_end = True
        self.hung += bool(worker.hung)
        reason = f"hung ({worker.hung})" if worker.hung else worker.status
        self.count_crash(f"{worker.launch.release}: worker process {worker.pid} {reason}")

    def count_crash(self, reason: str) -> None:
        """A worker of the release that serves crashed, or did not get ready at a restart."""
        self.crashes += 1
        self.fail(reason)
        self.news.set()

    def fail(self, reason: str) -> None:
        """Something went wrong; said once, however often it happens in a row."""
        if reason != self.last_failure:
            log.error("%s", reason)
        self.last_failure = reason

    def begin_anew(self) -> None:
        """Another release serves."""
        self.crashes = self.hung = 0

    async def guard(self, serving: Callable[[], RunningWorker | None]) -> None:
        """Find a worker that is silent, for ever.

        Ticks are counted, not time: a supervisor that was itself stopped for a while (a paused machine) hears
        the beats that wait before it counts on.
        """
        while True:
            await asyncio.sleep(self._options.hang_s / _TICKS)
            worker = serving()
            if worker is not None:
                worker.silent_ticks += 1
                if worker.silent_ticks > _TICKS:
                    self._hangs(worker, f"no beat for {self._options.hang_s:g} s")

    def _hangs(self, worker: RunningWorker, reason: str) -> None:
        if not worker.hung:
            worker.hung = reason
            worker.kill()
