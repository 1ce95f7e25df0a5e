"""One worker process: loads a service, serves it on an inherited socket, drains, ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import uvloop

from sealift.engine.choose import engine_of
from sealift.errors import Unavailable
from sealift.meter.beat import Beat
from sealift.meter.meter import Meter
from sealift.model.service import Service
from sealift.serve.canary import Canaries, Canary
from sealift.serve.crew import Crew
from sealift.serve.heap import keep_freed_memory
from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits, within_descriptors
from sealift.serve.http.routes import Routes
from sealift.serve.http.server import HttpServer
from sealift.serve.http.tls import TlsFiles, server_context
from sealift.serve.lane import Lane
from sealift.serve.link import Link
from sealift.serve.metrics import ServeMetrics
from sealift.serve.predictor import Predictor, PredictorOptions, load_predictor
from sealift.serve.ticket import Ticket

if TYPE_CHECKING:
    from sealift.serve.grpc.server import GrpcServer

log = logging.getLogger(__name__)

_REST_S: Final = 30.0
FAILED: Final = 1
"""Exit code of a worker of which a part died; the supervisor starts another."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker serves.

    `run` is per model. `threads`: requests that are worked on outside the loop at once (0: one per core).
    `promised_s`: 99 of 100 answers within, kept by refusing what would come too late; None: nothing is promised.
    `queue_limit`: requests that may wait for a thread, more get 503. `drain_s`: how long requests
    and idle connections are still served after SIGTERM; `grace_s`: an idle connection goes after this.
    `beat_s`: seconds between two beats to the supervisor. `tls`: speak HTTPS with these; read once, at start.
    """

    run: PredictorOptions = field(default_factory=PredictorOptions)
    http: HttpLimits = field(default_factory=HttpLimits)
    threads: int = 0
    promised_s: float | None = None
    queue_limit: int = 256
    drain_s: float = 30.0
    grace_s: float = 1.0
    beat_s: float = 1.0
    tls: TlsFiles | None = None


def run_worker(
    service: Service,
    listener: socket.socket,
    options: WorkerOptions,
    *,
    render_metrics: Callable[[Meter], bytes],
    channel: socket.socket,
    canary: Canary | None = None,
    grpc: socket.socket | None = None,
) -> int:
    """Load every model, then serve `listener` until told to retire, SIGTERM or SIGINT; main thread only.

    The listener is bound and listening already, and stays open in whoever handed it over. A second
    signal ends the drain at once.

    Args:
        render_metrics: the answer to `/metrics`.
        channel: to the supervisor (`serve.link`); its end is as SIGTERM.
        canary: what to run when the supervisor wants canaries.
        grpc: a second socket like `listener`, where gRPC is answered; without one nothing of it is loaded.
    Returns: the process' exit code: 0 after a drain, 1 when a thread or task died (see the log).
    Raises:
        ModelError, ProjectError: a model or handler cannot be loaded here.
        BadSettings: no TLS with these files.
    """
    options = replace(options, http=within_descriptors(options.http))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_while_loading)
    predictors = load_all(service, options.run)
    # What is loaded now stays: the collector need not walk it during requests. What loading has left goes back to
    # the system, and from then on what requests free is kept for the next ones.
    gc.collect()
    gc.freeze()
    for predictor in predictors.values():
        predictor.wide.idle()
    keep_freed_memory()
    worker = Worker(service, predictors, options, render_metrics, canary)
    return uvloop.run(_led(worker, listener, channel, options.beat_s, grpc))


async def _led(
    worker: Worker,
    listener: socket.socket,
    channel: socket.socket,
    beat_s: float,
    grpc: socket.socket | None,
) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    link = Link(channel, worker, beat_s)
    return await worker.serve(listener, link.tell_ready, (link.run(),), grpc)


def load_all(service: Service, options: PredictorOptions) -> dict[str, Predictor]:
    """Every model of the service, loaded, warm and measured.

    Raises: ModelError, ProjectError.
    """
    return {model.name: load_predictor(model, engine_of(model), options) for model in service.models}


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
        self._crew: Crew
        self._metrics: ServeMetrics
        self._canaries: Canaries
        self._grpc: GrpcServer | None = None

    async def serve(
        self,
        listener: socket.socket,
        on_ready: Callable[[], None],
        beside: Sequence[Coroutine[Any, Any, None]] = (),
        grpc: socket.socket | None = None,
    ) -> int:
        """Serve until told to leave, then drain; the exit code as `run_worker`.

        Args:
            on_ready: called once, when the first request can be answered.
            beside: what runs as long; when one ends the worker leaves as after `stop`.
            grpc: as `run_worker`.
        """
        asyncio.get_running_loop().set_exception_handler(_log_event)
        server, routes = self._compose(with_grpc=grpc is not None)
        self._crew.start()
        sweeping = [one.sweep() for one in (server, self._grpc) if one is not None]
        lasting = (*_tasks(*sweeping, self._canaries.run(), self._rest()), self._crew.failed)
        ending = _tasks(*beside)
        (leaving,) = _tasks(self._leave.wait())
        await server.listen(listener)
        if self._grpc is not None and grpc is not None:
            await self._grpc.listen(grpc)
        on_ready()
        await asyncio.wait({leaving, *lasting, *ending}, return_when=asyncio.FIRST_COMPLETED)
        died = _who_died(lasting, ending)
        await asyncio.gather(self._drain(server, routes), self._drain_grpc())
        died = died or _who_died(lasting, ending)
        self._crew.stop()
        for part in (leaving, *lasting, *ending):
            part.cancel()
        return FAILED if died else 0

    def _compose(self, *, with_grpc: bool) -> tuple[HttpServer, Routes]:
        loop, options = asyncio.get_running_loop(), self._options
        self._metrics = metrics = ServeMetrics(Meter(), self._service, options.promised_s)
        lanes = {
            name: Lane(predictor, metrics.stages(name), options.promised_s)
            for name, predictor in self._predictors.items()
        }
        self._crew = crew = Crew(self._thread_count(), options.queue_limit, loop, tuple(lanes.values()))
        self._canaries = Canaries(self._canary, self._predictors, crew)
        routes = Routes(self._service, lanes, crew, metrics, self._render_metrics, options.http)
        connections = Connections(routes, self._service.release, options.http, loop.time)
        connections.writer.degraded = degraded = self._tell_degraded(metrics)
        metrics.connections.follow(lambda: len(connections))
        if with_grpc:
            # Imported here: a worker without a gRPC port does not pay for it.
            from sealift.serve.grpc.server import grpc_server

            self._grpc = grpc_server(self._service, lanes, crew, metrics, options.http, options.tls)
            self._grpc.connections.tell_degraded(degraded)
        context = server_context(options.tls) if options.tls is not None else None
        return HttpServer(connections, context), routes

    def _tell_degraded(self, metrics: ServeMetrics) -> str:
        """Count the models that do not run on their first device; `cuda->cpu` for the only one, else with names."""
        moves: dict[str, str] = {}
        for name, predictor in self._predictors.items():
            if predictor.wide.degraded:
                wanted, device = predictor.model.device[0], predictor.wide.device
                metrics.degraded.labels(name, device, wanted).set(1)
                moves[name] = f"{wanted}->{device}"
        return ", ".join(
            move if len(self._predictors) == 1 else f"{name}: {move}" for name, move in moves.items()
        )

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
        return replace(beat, oldest_s=self._crew.oldest_s(), degraded=_degraded(self._predictors))

    async def _rest(self) -> None:
        """Once nobody has asked for a while, let the engines give back what they only keep to be quick."""
        before, rests = -1, False
        while True:
            await asyncio.sleep(_REST_S)
            requests = self._metrics.beat().requests
            if requests == before and not rests:
                with contextlib.suppress(Unavailable):
                    self._crew.begin(self._give_back, Ticket())
            before, rests = requests, requests == before

    def _give_back(self) -> None:
        for predictor in self._predictors.values():
            for session in (predictor.wide, predictor.narrow):
                if session is not None:
                    session.idle()

    def _thread_count(self) -> int:
        """One per core; where runs have a device of their own, one more hands them over."""
        cores = self._options.threads or len(os.sched_getaffinity(0))
        apart = any(not predictor.layouts.cores for predictor in self._predictors.values())
        return max(cores, 2) + apart

    async def _drain_grpc(self) -> None:
        """Clients go elsewhere at once, whoever serves there; what they have asked is answered."""
        grpc = self._grpc
        if grpc is None:
            return
        grpc.service.draining = self._stop.is_set()
        cut = await _unless(self._hurry, grpc.drain(self._options.drain_s))
        if cut is None:
            cut = grpc.connections.abort_all()
        if cut:
            log.warning("drained, but %d gRPC connections had to be cut off", cut)

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


def _degraded(predictors: Mapping[str, Predictor]) -> str:
    """Which models do not run on the device that comes first for them, and why; empty when all do."""
    return "; ".join(
        f"{name} runs on {predictor.wide.device}: {predictor.wide.degraded}"
        for name, predictor in predictors.items()
        if predictor.wide.degraded
    )


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
