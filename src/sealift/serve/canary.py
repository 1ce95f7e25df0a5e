"""Canaries: the worker puts known inputs through its own engine, between the requests of others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from sealift.engine.protocol import Arrays, Session
from sealift.errors import SealiftError, Unavailable
from sealift.meter.beat import Beat
from sealift.serve.crew import Crew
from sealift.serve.predictor import Predictor
from sealift.serve.ticket import Ticket

log = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
_LONGEST_PROBLEM: Final = 1000
_FOREIGN: Final = (Exception, SystemExit)
"""What a canary may raise: it runs the release's own model and handler."""


class Canary(Protocol):
    """Known inputs and their recorded answers."""

    def run(self, sessions: Mapping[str, Session]) -> str:
        """Put them through `sessions` (by model name), on a worker's thread.

        Returns: what is not as recorded, or an empty string.
        """
        ...


class Canaries:
    """Runs a canary now and then, on the same threads as a request, beside what else runs.

    One at a time. One that has not ended in `patience_s`, or thrice the time of the last one, has failed, and
    goes on failing until it ends: so a stuck engine shows although nobody asks. Belongs to the loop's thread.
    """

    def __init__(
        self,
        canary: Canary | None,
        predictors: Mapping[str, Predictor],
        crew: Crew,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._canary = canary
        self._sessions = {name: OwnSession(predictor) for name, predictor in predictors.items()}
        self._crew = crew
        self._patience_s = patience_s
        self._period_s = 0.0
        self._changed = asyncio.Event()
        self._running: asyncio.Future[str] | None = None
        self._last_s = 0.0
        self._count = self._failures = 0
        self._problem = ""

    def every(self, period_s: float) -> None:
        """From now on one every `period_s` seconds, the first at once; 0: none."""
        if period_s != self._period_s:
            self._period_s = period_s
            self._changed.set()

    def add_to(self, beat: Beat) -> Beat:
        """The beat with what the canaries found."""
        return replace(
            beat, canaries=self._count, canary_failures=self._failures, canary_problem=self._problem
        )

    async def run(self) -> None:
        """Run them for ever."""
        while True:
            self._changed.clear()
            if self._canary is not None and self._period_s:
                await self._once(self._canary)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._period_s or None)

    async def _once(self, canary: Canary) -> None:
        if self._running is None:
            try:
                self._running = self._begin(canary)
            except Unavailable:
                return  # requests fill the queue: they tell how the engine is
        patience_s = max(self._patience_s, 3 * self._last_s)
        await asyncio.wait({self._running}, timeout=patience_s)
        if self._running.done():
            self._note(self._running.result())
            self._running = None
        else:
            self._note(f"not ended after {patience_s:.0f} s")

    def _begin(self, canary: Canary) -> asyncio.Future[str]:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._crew.begin(lambda: self._crew.tell(ended.set_result, self._try(canary)), Ticket())
        return ended

    def _try(self, canary: Canary) -> str:
        began = time.perf_counter()
        try:
            return canary.run(self._sessions)
        except SealiftError as error:
            return error.message
        except _FOREIGN as error:
            log.exception("the canary failed")
            return repr(error)
        finally:
            self._last_s = time.perf_counter() - began

    def _note(self, problem: str) -> None:
        self._count += 1
        self._failures += bool(problem)
        self._problem = problem[:_LONGEST_PROBLEM]
        if problem:
            log.error("canary: %s", problem)


class OwnSession:
    """A predictor's session as a canary sees it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.pipeline = predictor.pipeline

    @property
    def device(self) -> str:
        """As `Session.device`."""
        return self._predictor.wide.device

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """As `Session.run`."""
        return self._predictor.run(inputs, outputs, Ticket())
