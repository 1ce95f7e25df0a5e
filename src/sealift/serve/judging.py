"""The supervisor's dealings with its care while a release is watched. Standard library only."""

from __future__ import annotations

import logging
import time
from functools import partial

from sealift.errors import SealiftError
from sealift.serve.asking import Asking
from sealift.serve.care import Advice, Care, Seen, WatchWish, WorkerLaunch
from sealift.serve.health import Health
from sealift.serve.workers import RunningWorker

log = logging.getLogger("sealift.supervisor")


class Judging:
    """Tells the care what was seen, and does what it advises; nothing here raises what a care raises.

    `is_going_back`: the release to fall back to does not serve yet.
    """

    def __init__(self, care: Care, asking: Asking, health: Health) -> None:
        self.is_going_back = False
        self._care = care
        self._asking = asking
        self._health = health
        self._owes_fell_back = False

    async def judge(self, worker: RunningWorker | None) -> WorkerLaunch | None:
        """Judge the watched release by its worker; whom to serve instead, None: it serves on.

        A fall back that is done is written down first, at a later call where it cannot be now.
        """
        await self._settle()
        if self._owes_fell_back:
            return None
        beat, process = (worker.beat, worker.pid) if worker is not None else (None, 0)
        seen = Seen(beat, process, self._health.crashes, self._health.hung, time.monotonic())
        found = await self._asking.calmly(partial(_look, self._care, seen))
        if found is None:
            return None
        wish, advice = found
        if worker is not None:
            worker.canary_every(wish.canary_s if wish is not None else 0.0)
        if advice is Advice.COMMIT:
            await self._asking.calmly(self._care.commit)
        if advice is Advice.FALL_BACK and not self.is_going_back:
            return await self._go_back()
        return None

    def arrived(self) -> None:
        """The wanted release serves."""
        if self.is_going_back:
            self.is_going_back, self._owes_fell_back = False, True
            self._health.begin_anew()

    def begin_anew(self) -> None:
        """An operator has switched: whatever was under way is no more."""
        self.is_going_back = self._owes_fell_back = False
        self._health.begin_anew()

    async def _settle(self) -> None:
        if self._owes_fell_back:
            try:
                await self._asking.ask(self._care.fell_back)
            except SealiftError as error:
                self._health.fail(f"the fall back is not written down: {error.message}")
            else:
                self._owes_fell_back = False

    async def _go_back(self) -> WorkerLaunch | None:
        tree = await self._asking.calmly(self._care.fall_back)
        launch = await self._asking.calmly(partial(self._care.launch, tree)) if tree is not None else None
        if launch is not None:
            log.error("going back to %s", launch.release)
            self.is_going_back = True
        return launch


def _look(care: Care, seen: Seen) -> tuple[WatchWish | None, Advice]:
    wish = care.watch()
    return wish, Advice.WATCH if wish is None else care.observe(seen)
