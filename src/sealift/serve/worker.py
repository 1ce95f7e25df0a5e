"""One worker process: loads a service, serves it on an inherited socket, drains, ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import uvloop

from sealift.engine.choose import engine_for
from sealift.meter.beat import Beat
from sealift.meter.meter import Meter
from sealift.model.service import Service
from sealift.serve.canary import Canaries, Canary
from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.routes import Routes
from sealift.serve.http.server import HttpServer
from sealift.serve.link import Link
from sealift.serve.metrics import ServeMetrics
from sealift.serve.predictor import Predictor, PredictorOptions, load_predictor
from sealift.serve.threads import WorkThreads

log = logging.getLogger(__name__)

FAILED: Final = 1
"""Exit code of a worker of which a part died; the supervisor starts another."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker serves.

    `run` is per model. `prepare_threads`: how many requests may be decoded while others run (0: one per
    core). `queue_limit`: requests that may wait for a thread, more get 503. `drain_s`: how long requests
    and idle connections are still served after SIGTERM; `grace_s`: an idle connection goes after this.
    `beat_s`: seconds between two beats to the supervisor.
    """

    run: PredictorOptions = field(default_factory=PredictorOptions)
    http: HttpLimits = field(default_factory=HttpLimits)
    prepare_threads: int = 0
    queue_limit: int = 256
    drain_s: float = 30.0
    grace_s: float = 1.0
    beat_s: float = 1.0


def run_worker(
    service: Service,
    listener: socket.socket,
    options: WorkerOptions,
    *,
    render_metrics: Callable[[Meter], bytes],
    channel: socket.socket,
    canary: Canary | None = None,
) -> int:
    """Load every model, then serve `listener` until told to retire, SIGTERM or SIGINT; main thread only.

    The listener is bound and listening already, and stays open in whoever handed it over. A second
    signal ends the drain at once.

    Args:
        render_metrics: the answer to `/metrics`.
        channel: to the supervisor (`serve.link`); its end is as SIGTERM.
        canary: what to run when the supervisor wants canaries.
    Returns: the process' exit code: 0 after a drain, 1 when a thread or task died (see the log).
    Raises: ModelError, ProjectError: a model or handler cannot be loaded here.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_while_loading)
    predictors = load_all(service, options.run)
    # What is loaded now stays: the collector need not walk it during requests.
    gc.collect()
    gc.freeze()
    worker = Worker(service, predictors, options, render_metrics, canary)
    return uvloop.run(_led(worker, listener, channel, options.beat_s))


async def _led(worker: Worker, listener: socket.socket, channel: socket.socket, beat_s: float) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    link = Link(channel, worker, beat_s)
    return await worker.serve(listener, link.tell_ready, (link.run(),))


def load_all(service: Service, options: PredictorOptions) -> dict[str, Predictor]:
    """Every model of the service, loaded, warm and measured.

    Raises: ModelError, ProjectError.
    """
    return {model.name: load_predictor(model, engine_for(model.path), options) for model in service.models}


class Worker:
    """Serves loaded predictors in the running event loop."""

    def __init__(
        self,
        service: Service,
        predictors: dict[str, Predictor],
        options: WorkerOptions,
        render_metrics: Callable[[Meter], bytes],
        canary: Canary | None = None,
    ) -> None:
        self._service = service
        self._predictors = predictors
        self._options = options
        self._render_metrics = render_metrics
        self._canary = canary
        self._leave = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._keep_s = 0.0
        self._threads: WorkThreads
        self._metrics: ServeMetrics
        self._canaries: Canaries

    async def serve(
        self,
        listener: socket.socket,
        on_ready: Callable[[], None],
        beside: Sequence[Coroutine[Any, Any, None]] = (),
    ) -> int:
        """Serve until told to leave, then drain; the exit code as `run_worker`.

        Args:
            on_ready: called once, when the first request can be answered.
            beside: what runs as long; when one ends the worker leaves as after `stop`.
        """
        asyncio.get_running_loop().set_exception_handler(_log_event)
        server, routes = self._compose()
        self._threads.start()
        lasting = (*_tasks(server.sweep(), self._canaries.run()), self._threads.failed)
        ending = _tasks(*beside)
        (leaving,) = _tasks(self._leave.wait())
        await server.listen(listener)
        on_ready()
        await asyncio.wait({leaving, *lasting, *ending}, return_when=asyncio.FIRST_COMPLETED)
        died = _who_died(lasting, ending)
        await self._drain(server, routes)
        died = died or _who_died(lasting, ending)
        self._threads.stop()
        for part in (leaving, *lasting, *ending):
            part.cancel()
        return FAILED if died else 0

    def _compose(self) -> tuple[HttpServer, Routes]:
        loop, options = asyncio.get_running_loop(), self._options
        self._threads = threads = WorkThreads(self._thread_count(), options.queue_limit, loop)
        self._metrics = metrics = ServeMetrics(Meter(), self._service)
        self._canaries = Canaries(self._canary, self._predictors, threads)
        routes = Routes(self._service, self._predictors, threads, metrics, self._render_metrics, options.http)
        connections = Connections(routes, self._service.release, options.http, loop.time)
        metrics.connections.follow(lambda: len(connections))
        return HttpServer(connections), routes

    def stop(self) -> None:
        """The service ends: drain, and idle connections go soon; called again, end the drain at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()
        self._leave.set()

    def retire(self, keep_s: float) -> None:
        """As `link.Led.retire`: `stop` may still come."""
        self._keep_s = keep_s
        self._canaries.every(0.0)  # it is the next one's turn to be watched
        self._leave.set()

    def canary_every(self, period_s: float) -> None:
        """As `link.Led.canary_every`."""
        self._canaries.every(period_s)

    def beat(self) -> Beat:
        """As `link.Led.beat`."""
        beat = self._canaries.add_to(self._metrics.beat())
        return replace(beat, oldest_s=self._threads.oldest_s())

    def _thread_count(self) -> int:
        """Threads beyond those that run models prepare the next inputs meanwhile."""
        prepare = self._options.prepare_threads or os.cpu_count() or 1
        return prepare + self._options.run.runs_at_once * len(self._predictors)

    async def _drain(self, server: HttpServer, routes: Routes) -> None:
        """Retire as long as only that was asked for (the service lives on elsewhere), else stop."""
        options = self._options
        log.info("draining: %d connections", len(server.connections))
        cut: int | None = None
        if self._keep_s and not self._stop.is_set():
            cut = await _unless(self._stop, server.drain(self._keep_s + options.drain_s, self._keep_s))
        if cut is None:
            routes.draining = True
            cut = await _unless(self._hurry, server.drain(options.drain_s, options.grace_s))
        if cut is None:
            cut = server.connections.abort_all()
        if cut:
            log.warning("drained, but %d connections had to be cut off", cut)


def _tasks(*parts: Coroutine[Any, Any, Any]) -> tuple[asyncio.Future[Any], ...]:
    return tuple(asyncio.ensure_future(part) for part in parts)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, int]) -> int | None:
    """The result of `work`; None, and `work` is cancelled, when the event comes before it."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None


def _who_died(lasting: Collection[asyncio.Future[Any]], ending: Iterable[asyncio.Future[Any]]) -> bool:
    """Log the parts that ended although they serve for ever, and those that may end but failed."""
    found = False
    ended = {part: _error(part) for part in (*lasting, *ending) if part.done()}
    for part, error in ended.items():
        if error is not None or part in lasting:
            found = True
            log.critical("a part of the worker died, so the worker ends: %r", error or part, exc_info=error)
    return found


def _error(part: asyncio.Future[Any]) -> BaseException | None:
    return None if part.cancelled() else part.exception()


def _log_event(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody awaited: never silence. One connection's failure does not end the worker."""
    log.error("%s", context.get("message", "error in the event loop"), exc_info=context.get("exception"))


def _stop_while_loading(*_: object) -> None:
    """Nothing is served yet, so there is nothing to drain."""
    sys.exit(0)
