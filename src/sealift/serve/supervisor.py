"""The supervisor: owns the listening socket, keeps one ready worker on it, switches without a gap.

Standard library only, and whatever it needs is imported before it serves: it outlives every release it
serves, the one it was started from included. What is served, watched and written down is its `Care`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final

from sealift.errors import NotActivated, NotServing, SealiftError
from sealift.serve.asking import Asking
from sealift.serve.backoff import Backoff
from sealift.serve.care import Care, WorkerLaunch
from sealift.serve.desk import Desk
from sealift.serve.health import Health
from sealift.serve.judging import Judging
from sealift.serve.memory import available_bytes
from sealift.serve.notify import notify, watchdog_s
from sealift.serve.stage import Stage
from sealift.serve.workers import SupervisorOptions, Workers

log = logging.getLogger("sealift.supervisor")

_SLOW_DISK_S: Final = 1.0
_TO_END_S: Final = 10.0
"""What ending takes beyond the drain, told to systemd (sd_notify(3))."""


class State(Enum):
    """What the supervisor does at the moment, as `status` shows it."""

    STARTING = "STARTING"
    SERVING = "SERVING"
    SWITCHING = "SWITCHING"
    RESTARTING = "RESTARTING"
    FALLING_BACK = "FALLING BACK"
    STOPPING = "STOPPING"


class Supervisor:
    """Serves on `listener` what `care` says, until SIGTERM or SIGINT.

    Args:
        listener: bound and listening; stays open over every worker.
        control_path: where to listen for requests (`control.ask`), or None.
        available: bytes that a second worker may take, None when unknown.
        grpc: a second socket like `listener`, None where gRPC is not served.
        certificate: what its workers show to clients; None: they speak plain HTTP.
    """

    def __init__(
        self,
        care: Care,
        listener: socket.socket,
        control_path: Path | None,
        options: SupervisorOptions,
        available: Callable[[], int | None] = available_bytes,
        certificate: str | None = None,
        grpc: socket.socket | None = None,
    ) -> None:
        self._care = care
        self._drain_s = options.drain_s
        self._listener = listener
        self._grpc = grpc
        self._certificate = certificate
        self._state = State.STARTING
        self._stop = asyncio.Event()
        self._turning = asyncio.Lock()
        self._health = health = Health(options)
        self._asking = Asking(health.fail)
        self._stage = Stage(Workers(listener, options, self._stop, health.hear, grpc), options, available)
        self._desk = Desk(control_path, self) if control_path is not None else None
        self._began = time.monotonic()
        self._backoff = Backoff(options, time.monotonic)
        self._wanted: WorkerLaunch | None = None
        self._judging = Judging(care, self._asking, health)
        self._attempt: asyncio.Future[None] | None = None
        self._restarts = 0
        self._on_serving: Callable[[], None] | None = None
        self._beside: list[asyncio.Future[None]] = []

    # ------------------------------------------------------------------ from start to stop

    async def run(self, on_serving: Callable[[], None] = lambda: None) -> None:
        """Serve until stopped. `on_serving` is called once, when the first worker is ready.

        Raises:
            NotServing: another supervisor has the name, or the first worker did not get ready and no
                watch is there to judge it.
            SealiftError: of `Care.start`.
        """
        self._on_serving = on_serving
        if self._desk is not None:
            await self._desk.open()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        for work in (self._health.guard(lambda: self._stage.serving), _tell_watchdog()):
            self._beside.append(asyncio.ensure_future(work))
            self._beside[-1].add_done_callback(_report)
        try:
            await self._first()
            await self._keep_serving()
        finally:
            await self._end()

    async def _first(self) -> None:
        self._wanted = await self._asking.ask(self._care.start)
        try:
            async with self._turning:
                await self._stage.replace(self._wanted)
                self._serves(self._wanted)
        except NotServing as error:
            if self._stop.is_set():
                return
            if await self._asking.ask(self._care.watch) is None:
                raise
            self._health.count_crash(error.message)

    async def _keep_serving(self) -> None:
        while not self._stop.is_set():
            await self._unless_stopped(self._health.news.wait())
            self._health.news.clear()
            if not self._stop.is_set():
                await self._attend()

    async def _attend(self) -> None:
        """Judge what the worker told; see to it that the wanted one serves."""
        self._health.note_end(self._stage.worker)
        judged = self._health.crashes
        async with self._turning:
            judging = asyncio.ensure_future(self._judge())
            await asyncio.wait({judging}, timeout=_SLOW_DISK_S)
            while not judging.done():
                # The care waits for a disk; a service whose worker has died does not.
                await self._restore()
                await asyncio.wait({judging}, timeout=_SLOW_DISK_S)
            judging.result()
        if self._health.crashes == judged and not self._is_as_wanted():
            self._enter(self._restoring())
            # Nobody has the turn during the pause: an operator's switch comes in between.
            await self._unless_stopped(asyncio.sleep(self._backoff.pause_s()))
            async with self._turning:
                await self._restore()

    async def _judge(self) -> None:
        instead = await self._judging.judge(self._stage.worker)
        if instead is not None:
            self._wanted = instead
            self._backoff.reset()

    async def _end(self) -> None:
        self._enter(State.STOPPING)
        notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round((self._drain_s + _TO_END_S) * 1e6)}")
        self._give_way()
        async with self._turning:
            if self._desk is not None:
                await self._desk.close()
            await self._stage.end()
        for task in self._beside:
            task.cancel()

    # ------------------------------------------------------------------ what others ask for

    async def switch(self, tree: str, *, back: bool) -> None:
        """Serve another installed release; `back`: it is a rollback.

        Raises:
            SealiftError: of `Care.launch` and `Care.begin`: refused, nothing has happened.
            NotActivated: its worker did not get ready; the old release serves on.
        """
        async with self._turn():
            launch = await self._asking.ask(partial(self._care.launch, tree))
            await self._asking.ask(partial(self._care.begin, tree, back=back))
            old = self._stage.serving
            turned = partial(self._care.turned, tree, old.beat if old else None)
            try:
                await self._stage.replace(launch, lambda: self._asking.ask(turned))
            except SealiftError as error:
                self._health.fail(error.message)
                await self._asking.calmly(partial(self._care.gave_up, tree, error.message))
                await self._restore()
                raise NotActivated(error.message, next_step=error.next_step) from error
            self._judging.begin_anew()
            self._serves(launch)

    async def reload(self) -> None:
        """A new worker of the same release, with the settings of now.

        Raises: NotActivated: it did not get ready; the old one serves on.
        """
        async with self._turn():
            tree = self._wanted.tree if self._wanted is not None else None
            launch = await self._asking.ask(partial(self._care.launch, tree or ""))
            try:
                await self._stage.replace(launch)
            except SealiftError as error:
                self._health.fail(error.message)
                await self._restore()
                raise NotActivated(error.message, next_step=error.next_step) from error
            self._serves(launch)

    def status(self) -> dict[str, Any]:
        """State, release, process ids, address, restarts and the last minute's traffic.

        `uptime_s`: of the supervisor; `crashes` and `hung`: of the release's workers since it was switched to.
        """
        host, port = self._listener.getsockname()[:2]
        worker = self._stage.serving
        launch = worker.launch if worker else self._wanted
        return {
            "certificate": self._certificate,
            "crashes": self._health.crashes,
            "degraded": worker.beat.degraded if worker and worker.beat else "",
            "grpc_port": self._grpc.getsockname()[1] if self._grpc is not None else None,
            "host": host,
            "hung": self._health.hung,
            "identity": launch.identity if launch else None,
            "last_failure": self._health.last_failure,
            "note": self._stage.note,
            "port": port,
            "release": launch.release if launch else None,
            "resident_bytes": worker.beat.resident_bytes if worker and worker.beat else None,
            "restarts": self._restarts,
            "state": self._state.value,
            "supervisor": os.getpid(),
            "tree": launch.tree if launch else None,
            "uptime_s": round(time.monotonic() - self._began, 3),
            "worker": worker.pid if worker else None,
            **self._health.traffic.figures(),
        }

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One turn at a time; an operator's goes before a restart that is still trying."""
        self._give_way()
        async with self._turning:
            self._enter(State.SWITCHING)
            try:
                yield
            finally:
                self._enter(State.SERVING if self._is_as_wanted() else self._restoring())
                self._health.news.set()

    def _give_way(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    # ------------------------------------------------------------------ the wanted worker

    def _is_as_wanted(self) -> bool:
        worker = self._stage.serving
        return worker is not None and worker.launch is self._wanted

    async def _restore(self) -> None:
        """One try to have the wanted worker serve; the next news brings another."""
        if self._is_as_wanted() or self._stop.is_set() or self._wanted is None:
            return
        launch = self._wanted
        self._enter(self._restoring())
        self._restarts += not self._judging.is_going_back  # a fall back is no accident of this worker
        self._attempt = asyncio.ensure_future(self._stage.replace(launch))
        await asyncio.wait({self._attempt})
        attempt, self._attempt = self._attempt, None
        if attempt.cancelled():
            return
        error = attempt.exception()
        if error is None:
            self._serves(launch)
            return
        self._health.news.set()
        if not isinstance(error, SealiftError):
            log.critical("a bug: %r", error, exc_info=error)
        elif self._judging.is_going_back:
            self._health.fail(error.message)  # no crash of the release that is watched
        else:
            self._health.count_crash(error.message)

    def _restoring(self) -> State:
        return State.FALLING_BACK if self._judging.is_going_back else State.RESTARTING

    def _serves(self, launch: WorkerLaunch) -> None:
        self._wanted = launch
        self._judging.arrived()
        self._enter(State.SERVING)
        self._health.news.set()
        announce, self._on_serving = self._on_serving, None
        if announce is not None:
            notify("READY=1")
            announce()

    def _enter(self, state: State) -> None:
        if self._state is State.STOPPING:
            return
        self._state = state
        release = self._wanted.release if self._wanted is not None else ""
        notify(f"STATUS={state.value} {release}".rstrip())

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        stopping.cancel()


def _report(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("a part of the supervisor died: %r", error, exc_info=error)


async def _tell_watchdog() -> None:
    """Tell systemd that this loop is alive; a hung worker is the supervisor's own affair."""
    period_s = watchdog_s()
    while period_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(period_s / 3)
