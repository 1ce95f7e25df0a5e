"""One worker process: loads a service, serves it on an inherited socket, drains, ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from sealift.engine.choose import engine_for
from sealift.meter.meter import Meter
from sealift.model.service import Service
from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.routes import Routes
from sealift.serve.http.server import HttpServer
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
    """

    run: PredictorOptions = field(default_factory=PredictorOptions)
    http: HttpLimits = field(default_factory=HttpLimits)
    prepare_threads: int = 0
    queue_limit: int = 256
    drain_s: float = 30.0
    grace_s: float = 1.0


def run_worker(
    service: Service,
    listener: socket.socket,
    options: WorkerOptions,
    *,
    render_metrics: Callable[[Meter], bytes],
    on_ready: Callable[[], None],
) -> int:
    """Load every model, then serve `listener` until SIGTERM or SIGINT; blocks, main thread only.

    The listener is bound and listening already, and stays open in whoever handed it over. A second
    signal ends the drain at once.

    Args:
        render_metrics: the answer to `/metrics`.
        on_ready: called once, when the first request can be answered.
    Returns: the process' exit code: 0 after a drain, 1 when a thread or task died (see the log).
    Raises: ModelError, ProjectError: a model or handler cannot be loaded here.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_while_loading)
    predictors = load_all(service, options.run)
    # What is loaded now stays: the collector need not walk it during requests.
    gc.collect()
    gc.freeze()
    return uvloop.run(
        _until_signalled(Worker(service, predictors, options, render_metrics), listener, on_ready)
    )


async def _until_signalled(worker: Worker, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    return await worker.serve(listener, on_ready)


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
    ) -> None:
        self._service = service
        self._predictors = predictors
        self._options = options
        self._render_metrics = render_metrics
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def serve(self, listener: socket.socket, on_ready: Callable[[], None]) -> int:
        """Serve until `stop`, then drain; the exit code as `run_worker`."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_event)
        options = self._options
        threads = WorkThreads(self._thread_count(), options.queue_limit, loop)
        metrics = ServeMetrics(Meter(), self._service)
        routes = Routes(self._service, self._predictors, threads, metrics, self._render_metrics, options.http)
        connections = Connections(routes, self._service.release, options.http, loop.time)
        metrics.connections.follow(lambda: len(connections))
        server = HttpServer(connections)
        threads.start()
        sweeping = asyncio.create_task(server.sweep(), name="sweep")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await server.listen(listener)
        on_ready()
        parts: set[asyncio.Future[Any]] = {sweeping, stopping, threads.failed}
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        died = _who_died(sweeping, threads.failed)
        routes.draining = True
        await self._drain(server)
        died = died or _who_died(sweeping, threads.failed)
        threads.stop()
        for task in (sweeping, stopping):
            task.cancel()
        return FAILED if died else 0

    def stop(self) -> None:
        """Begin to drain; called again, end the drain at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _thread_count(self) -> int:
        """Threads beyond those that run models prepare the next inputs meanwhile."""
        prepare = self._options.prepare_threads or os.cpu_count() or 1
        return prepare + self._options.run.runs_at_once * len(self._predictors)

    async def _drain(self, server: HttpServer) -> None:
        options = self._options
        log.info("draining: %d connections", len(server.connections))
        draining = asyncio.create_task(server.drain(options.drain_s, options.grace_s))
        hurrying = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            draining.cancel()
            cut = server.connections.abort_all()
        else:
            cut = draining.result()
        if cut:
            log.warning("drained, but %d connections had to be cut off", cut)


def _who_died(*parts: asyncio.Future[Any]) -> bool:
    """Log the parts that ended although they serve for ever."""
    found = False
    for part in parts:
        if part.done():
            found = True
            error = None if part.cancelled() else part.exception()
            log.critical("a part of the worker died, so the worker ends: %r", error or part, exc_info=error)
    return found


def _log_event(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody awaited: never silence. One connection's failure does not end the worker."""
    log.error("%s", context.get("message", "error in the event loop"), exc_info=context.get("exception"))


def _stop_while_loading(*_: object) -> None:
    """Nothing is served yet, so there is nothing to drain."""
    sys.exit(0)
