"""Every path of a worker, and how a request gets from there to an answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import quote, unquote

from sealift.errors import DeadlinePassed, InvalidInput, RequestError, Unavailable
from sealift.meter.meter import Meter
from sealift.model.service import ServedModel, Service
from sealift.serve import oip_documents as documents
from sealift.serve.crew import Crew
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import JSON, Outcome, Reply, Request, error_reply, json_reply, problem
from sealift.serve.infer import InferFace
from sealift.serve.lane import FOREIGN, LOOP_BYTES, OVERLOADED, Job, Lane, internal
from sealift.serve.metrics import CLIENT_GONE, Account, ServeMetrics
from sealift.serve.oip import OipModel
from sealift.serve.openapi import openapi
from sealift.serve.predict import ListReply, PredictFace

Handler = Callable[[Request], Outcome]

_METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Route:
    """One path: its methods, its account, and the lane of the model that it asks."""

    methods: Mapping[bytes, Handler]
    account: Account
    lane: Lane | None = None


class Routes:
    """The application behind the front. Called from the event loop's thread only.

    Args:
        lanes: one per model of the service.
        crew: for everything that does not fit into a turn of the event loop.
        render_metrics: the meter as Prometheus text.
    """

    def __init__(
        self,
        service: Service,
        lanes: Mapping[str, Lane],
        crew: Crew,
        metrics: ServeMetrics,
        render_metrics: Callable[[Meter], bytes],
        limits: HttpLimits,
    ) -> None:
        self.draining = False
        self._service = service
        self._lanes = lanes
        self._crew = crew
        self._metrics = metrics
        self._render_metrics = render_metrics
        self._limits = limits
        self._in_flight = 0
        self._routes: dict[bytes, Route] = {}
        self._nowhere = Route({}, metrics.account("other", ""))
        self._add_common()
        for model in service.models:
            self._add_model(model)
        self._near = lru_cache(maxsize=256)(self._find_near)
        metrics.in_flight.follow(lambda: self._in_flight)
        metrics.queue_depth.follow(lambda: crew.waiting)

    # ------------------------------------------------------------------ the front's calls

    def admit(self, request: Request) -> Reply | None:
        """As `message.Application.admit`."""
        self._in_flight += 1
        route: Route | None = request.route or self._routes.get(request.path)
        if route is None and b"%" in request.path:
            route = self._routes.get(quote(unquote(request.path.decode("latin-1"))).encode())
        if route is None:
            request.route = self._nowhere
            path = request.path.decode("latin-1")
            return problem(404, "not_found", f"no such path: {path[:200]}{self._near(path)}")
        request.route = route
        if request.method not in route.methods:
            allowed = ", ".join(method.decode() for method in route.methods)
            text = f"{request.method.decode('latin-1')} is not allowed here; allowed: {allowed}"
            return problem(405, "method_not_allowed", text, headers=(("Allow", allowed),))
        lane = route.lane
        if lane is not None and not lane.in_turn and not lane.admission.has_room():
            lane.refuse("overload")
            return problem(503, "overloaded", OVERLOADED)
        return None

    def _enter(self, lane: Lane, request: Request) -> None:
        """Let in a request that is here, whole. Raises: Unavailable: it would not be answered in time."""
        if not lane.admission.enter(request.arrived):
            lane.refuse("overload")
            raise Unavailable(OVERLOADED, code="overloaded")
        request.admission = lane.admission

    def again(self, request: Request) -> Outcome:
        """As `message.Application.again`."""
        lane = request.route.lane
        if lane is None or not lane.in_turn:
            request.refusal = self.admit(request)
            return request.refusal or self.answer(request)
        self._in_flight += 1
        return self.answer(request)

    def answer(self, request: Request) -> Outcome:
        """As `message.Application.answer`."""
        try:
            handler: Handler = request.route.methods[request.method]
            return handler(request)
        except RequestError as error:
            return error_reply(error)
        except FOREIGN:
            return internal(request)

    def finished(self, request: Request, status: int, sent: int, now: float) -> None:
        """As `message.Application.finished`."""
        seconds = now - request.arrived if request.arrived else 0.0
        route: Route | None = request.route
        if route is None:
            route = self._nowhere  # refused before it came to a route
        else:
            self._in_flight -= 1
        if request.admission is not None:
            request.admission.left(now, seconds, counts=request.inference_s > 0.0)
            if route.lane is not None:
                route.lane.spent(request, seconds)
        if status == CLIENT_GONE and route.lane is not None and not request.inference_s:
            route.lane.refuse("abandoned")
        route.account.count(status, seconds, request, len(request.body), sent)

    # ------------------------------------------------------------------ the table

    def _add_common(self) -> None:
        ready = self._ready
        self._get("/", lambda _: json_reply(self._index()))
        self._get("/healthz", lambda _: ready({"status": self._status(), "release": self._service.release}))
        self._get("/metrics", lambda _: Reply(200, self._exposed(), _METRICS_TYPE))
        self._get("/openapi.json", fixed(openapi(self._service)))
        self._get("/v2", fixed(documents.server_metadata()))
        self._get("/v2/health/live", fixed({"live": True}))
        self._get("/v2/health/ready", lambda _: ready({"ready": not self.draining}))
        self._get("/v2/models/stats", lambda _: json_reply(self._stats(self._service.models)))
        self._add("/v2/repository/index", "", {b"POST": fixed(documents.repository_index(self._service))})
        if len(self._service.models) > 1:
            self._add("/predict", "", {b"POST": self._which_model})

    def _add_model(self, model: ServedModel) -> None:
        name, version = model.name, self._service.version
        lane = self._lanes[name]
        infer = self._infer(lane, OipModel(model, version))
        metadata = fixed(documents.model_metadata(model, version))
        predicting = self._add("/predict/{model}", name, {b"POST": self._predict(lane)}, lane)
        if len(self._service.models) == 1:
            self._routes[b"/predict"] = predicting
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            self._add(f"{base}/infer", name, {b"POST": infer}, lane)
            self._get(base, metadata, name)
            self._get(f"{base}/config", fixed(documents.model_config(model)), name)
            self._get(
                f"{base}/ready", lambda _: self._ready({"name": name, "ready": not self.draining}), name
            )
            self._get(f"{base}/stats", lambda _: json_reply(self._stats((model,))), name)

    def _get(self, pattern: str, handler: Handler, model: str = "") -> None:
        self._add(pattern, model, {b"GET": handler, b"HEAD": handler})

    def _add(
        self, pattern: str, model: str, methods: Mapping[bytes, Handler], lane: Lane | None = None
    ) -> Route:
        path = pattern.replace("{model}", model).replace("{version}", self._service.version)
        account = self._metrics.account(
            pattern.replace("/versions/{version}", ""), model, infers=lane is not None
        )
        route = self._routes[quote(path).encode()] = Route(methods, account, lane)
        return route

    def _find_near(self, path: str) -> str:
        known = [path.decode() for path in self._routes if b"/versions/" not in path]
        near = get_close_matches(path[:200], known, n=1)
        if near:
            return f"; did you mean {near[0]}?"
        models = ", ".join(model.name for model in self._service.models)
        return f"; this release serves {models}, see /openapi.json"

    # ------------------------------------------------------------------ documents

    def _status(self) -> str:
        return "draining" if self.draining else "ready"

    def _ready(self, document: Any) -> Reply:
        return json_reply(document, 503 if self.draining else 200)

    def _exposed(self) -> bytes:
        self._metrics.fold()
        return self._render_metrics(self._metrics.meter)

    def _stats(self, models: Iterable[ServedModel]) -> dict[str, Any]:
        version = self._service.version
        self._metrics.fold()
        entries = [documents.statistics(one, version, self._metrics.stages(one.name)) for one in models]
        return {"model_stats": entries}

    def _index(self) -> dict[str, Any]:
        models = [model.name for model in self._service.models]
        return {
            "release": self._service.release,
            "identity": self._service.identity,
            "models": {name: f"/predict/{name}" for name in models},
            "see": ["/openapi.json", "/healthz", "/metrics", "/v2"],
        }

    def _which_model(self, _: Request) -> Reply:
        paths = ", ".join(f"/predict/{model.name}" for model in self._service.models)
        return problem(400, "model_required", f"this release has several models; post to one of {paths}")

    # ------------------------------------------------------------------ inference

    def _predict(self, lane: Lane) -> Handler:
        face = PredictFace(lane, self._service.release, self._limits.body_bytes)
        crew = self._crew

        def in_turn(request: Request) -> None:
            payloads, is_list = face.items(request)
            if is_list:
                self._enter(lane, request)
                spread(request, payloads)
                return
            job = face.single(request, payloads[0])
            _decoded_now(job, request)
            lane.add(job)

        def spread(request: Request, payloads: Sequence[Any]) -> None:
            items = ListReply(request, len(payloads), crew.tell)

            def prepare(index: int) -> None:
                job = face.listed(request, payloads[index], items, index)
                if job is not None:
                    crew.put(lane, [job])

            def prepare_all() -> None:
                jobs = (face.listed(request, payload, items, at) for at, payload in enumerate(payloads))
                crew.put(lane, [job for job in jobs if job is not None])

            if lane.predictor.prepares_quickly:
                crew.spread([partial(self._guarded, request, prepare_all)], request)
                return
            parts = [
                partial(self._guarded, request, partial(prepare, index)) for index in range(len(payloads))
            ]
            crew.spread(parts, request)

        def work(request: Request) -> None:
            payloads, is_list = face.items(request)
            if is_list:
                spread(request, payloads)
                return
            job = face.single(request, payloads[0])
            request.decode_s = time.perf_counter() - request.arrived - request.queue_s
            crew.put(lane, [job])

        quickly = in_turn if lane.predictor.prepares_quickly else None
        return self._either(lane, face.row_job, quickly, work)

    def _infer(self, lane: Lane, oip: OipModel) -> Handler:
        face = InferFace(lane, oip, self._limits.body_bytes)
        crew = self._crew

        def in_turn(request: Request) -> None:
            job = face.job(request)
            _decoded_now(job, request)
            lane.add(job)

        def work(request: Request) -> None:
            job = face.job(request)
            request.decode_s = time.perf_counter() - request.arrived - request.queue_s
            crew.put(lane, [job])

        return self._either(lane, face.row_job, in_turn, work)

    def _either(
        self,
        lane: Lane,
        row_job: Callable[[Request], Job | None],
        in_turn: Callable[[Request], None] | None,
        work: Callable[[Request], None],
    ) -> Handler:
        """In this turn of the event loop where that is quick for certain, else on a thread.

        Args:
            row_job: the short way.
            in_turn: the long way in the loop; None: it is not quick.
            work: the long way on a thread.
        """
        crew, begins = self._crew, time.perf_counter

        def handle(request: Request) -> Outcome:
            headers = request.headers
            if b"x-sealift-timeout-ms" in headers:
                request.deadline = request.arrived + _timeout_s(request)
            if lane.in_turn and len(request.body) <= LOOP_BYTES and b"content-encoding" not in headers:
                job = row_job(request)
                if job is not None:
                    lane.add(job)
                    return None
                if in_turn is not None:
                    in_turn(request)
                    return None

            self._enter(lane, request)

            def begin() -> None:
                request.queue_s = begins() - request.arrived
                request.check()
                work(request)

            try:
                crew.begin(partial(self._guarded, request, begin), request)
            except Unavailable:
                lane.refuse("queue_full")
                raise
            return None

        return handle

    def _not_prepared(self, request: Request, error: RequestError) -> None:
        lane: Lane | None = request.route.lane
        if isinstance(error, DeadlinePassed) and not request.abandoned and lane is not None:
            lane.refuse("deadline")
        request.connection.reply(request, error_reply(error))

    def _guarded(self, request: Request, work: Callable[[], None]) -> None:
        """Prepare on a thread; whatever is raised becomes the answer."""
        try:
            work()
        except RequestError as error:
            self._crew.tell(self._not_prepared, request, error)
        except FOREIGN:
            self._crew.tell(partial(request.connection.reply, request, internal(request)))


def _decoded_now(job: Job, request: Request) -> None:
    job.since = now = time.perf_counter()
    request.decode_s = now - request.arrived


def _timeout_s(request: Request) -> float:
    """How long the client waits, by its header. Raises: InvalidInput: that is no number of milliseconds."""
    text = request.headers[b"x-sealift-timeout-ms"]
    try:
        timeout_s = float(text) / 1000
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < 86_400:
        raise InvalidInput(
            f"X-Sealift-Timeout-Ms: expected milliseconds above 0, got {text.decode('latin-1')!r}",
            code="invalid_header",
        )
    return timeout_s


def fixed(document: Any) -> Handler:
    """A handler that always gives the same JSON, encoded once."""
    body = json_reply(document).body
    return lambda _: Reply(200, body, JSON)
