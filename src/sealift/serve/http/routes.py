"""Every path of a worker, and how a request gets from there to an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote

from sealift.errors import ModelFailed, RequestError
from sealift.meter.meter import Meter
from sealift.model.service import ServedModel, Service
from sealift.serve import oip_documents as documents
from sealift.serve import predict
from sealift.serve.codings import decoded, encoded
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import JSON, Outcome, Reply, Request, error_reply, json_reply, problem
from sealift.serve.metrics import Account, ServeMetrics
from sealift.serve.oip import HEADER_LENGTH, OipModel
from sealift.serve.openapi import openapi
from sealift.serve.predictor import Predictor
from sealift.serve.threads import Ticket, WorkThreads

log = logging.getLogger(__name__)

Handler = Callable[[Request], Outcome]

_METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_LOOP_BODY_BYTES: Final = 16 * 1024
"""A larger body is read on a thread, however quick its model: parsing alone would hold up everybody."""
_FOREIGN: Final = (Exception, SystemExit)
"""What a route may raise: engines and handler modules are foreign code, and one calls `sys.exit`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path: its methods and its account."""

    methods: Mapping[bytes, Handler]
    account: Account


class Routes:
    """The application behind the front. Called from the event loop's thread only.

    Args:
        predictors: one per model of the service, loaded.
        threads: for everything that does not fit into a turn of the event loop.
        render_metrics: the meter as Prometheus text.
    """

    def __init__(
        self,
        service: Service,
        predictors: Mapping[str, Predictor],
        threads: WorkThreads,
        metrics: ServeMetrics,
        render_metrics: Callable[[Meter], bytes],
        limits: HttpLimits,
    ) -> None:
        self.draining = False
        self._service = service
        self._predictors = predictors
        self._threads = threads
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
        metrics.queue_depth.follow(lambda: threads.waiting)

    # ------------------------------------------------------------------ the front's calls

    def admit(self, request: Request) -> Reply | None:
        """As `message.Application.admit`."""
        self._in_flight += 1
        route = self._routes.get(request.path)
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
        return None

    def answer(self, request: Request) -> Outcome:
        """As `message.Application.answer`."""
        try:
            handler: Handler = request.route.methods[request.method]
            return handler(request)
        except RequestError as error:
            return error_reply(error)
        except _FOREIGN:
            return self._internal(request)

    def finished(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """As `message.Application.finished`."""
        route: Route | None = request.route
        if route is None:
            route = self._nowhere  # refused before it came to a route
        else:
            self._in_flight -= 1
        route.account.count(status, seconds, request.inference_s, len(request.body), sent)

    # ------------------------------------------------------------------ the table

    def _add_common(self) -> None:
        ready = self._ready
        self._get("/", lambda _: json_reply(self._index()))
        self._get("/healthz", lambda _: ready({"status": self._status(), "release": self._service.release}))
        self._get("/metrics", lambda _: Reply(200, self._render_metrics(self._metrics.meter), _METRICS_TYPE))
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
        predictor = self._predictors[name]
        infer = self._infer(predictor, OipModel(model, version))
        metadata = fixed(documents.model_metadata(model, version))
        predicting = self._add("/predict/{model}", name, {b"POST": self._predict(predictor)}, infers=True)
        if len(self._service.models) == 1:
            self._routes[b"/predict"] = predicting
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            self._add(f"{base}/infer", name, {b"POST": infer}, infers=True)
            self._get(base, metadata, name)
            self._get(f"{base}/config", fixed(documents.model_config(model)), name)
            self._get(
                f"{base}/ready", lambda _: self._ready({"name": name, "ready": not self.draining}), name
            )
            self._get(f"{base}/stats", lambda _: json_reply(self._stats((model,))), name)

    def _get(self, pattern: str, handler: Handler, model: str = "") -> None:
        self._add(pattern, model, {b"GET": handler, b"HEAD": handler})

    def _add(
        self, pattern: str, model: str, methods: Mapping[bytes, Handler], *, infers: bool = False
    ) -> Route:
        path = pattern.replace("{model}", model).replace("{version}", self._service.version)
        account = self._metrics.account(pattern.replace("/versions/{version}", ""), model, infers=infers)
        route = self._routes[quote(path).encode()] = Route(methods, account)
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

    def _stats(self, models: Iterable[ServedModel]) -> dict[str, Any]:
        version = self._service.version
        entries = [documents.statistics(one, version, self._metrics.inferences(one.name)) for one in models]
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

    def _predict(self, predictor: Predictor) -> Handler:
        release = self._service.release

        def handle(request: Request) -> Outcome:
            ticket = Ticket()

            def work() -> Reply:
                body, kind = self._body(request), request.headers.get(b"content-type")
                return predict.answer(predictor, body, kind, release, ticket)

            return self._perform(
                request, ticket, work, in_turn=predictor.quick and predictor.prepares_quickly
            )

        return handle

    def _infer(self, predictor: Predictor, model: OipModel) -> Handler:
        def handle(request: Request) -> Outcome:
            ticket = Ticket()

            def work() -> Reply:
                parsed = model.parse(self._body(request), request.headers.get(HEADER_LENGTH))
                if parsed.timeout_s is not None:
                    ticket.deadline = request.arrived + parsed.timeout_s
                names = [output.name for output in parsed.outputs]
                reply = model.render(parsed, predictor.run(parsed.arrays, names, ticket))
                return encoded(reply, request.headers.get(b"accept-encoding"))

            return self._perform(request, ticket, work, in_turn=predictor.quick)

        return handle

    def _body(self, request: Request) -> bytes:
        return decoded(request.body, request.headers.get(b"content-encoding"), self._limits.body_bytes)

    def _perform(
        self, request: Request, ticket: Ticket, work: Callable[[], Reply], *, in_turn: bool
    ) -> Outcome:
        """In this turn of the event loop where that is quick for certain, else on a thread."""
        if in_turn and len(request.body) <= _LOOP_BODY_BYTES and b"content-encoding" not in request.headers:
            return self._guarded(request, ticket, work)
        return self._threads.submit(lambda: self._guarded(request, ticket, work), ticket)

    def _guarded(self, request: Request, ticket: Ticket, work: Callable[[], Reply]) -> Reply:
        """Do the work; whatever it raises becomes an answer. Runs on any thread."""
        try:
            return work()
        except RequestError as error:
            if isinstance(error, ModelFailed):
                log.warning("request %s: %s", request.request_id.decode(), error.message)
            return error_reply(error)
        except _FOREIGN:
            return self._internal(request)
        finally:
            request.inference_s = ticket.inference_s

    def _internal(self, request: Request) -> Reply:
        name = request.request_id.decode()
        log.exception("request %s failed", name)
        return problem(
            500, "internal", f"internal error; the log of the server has it under request id {name}"
        )


def fixed(document: Any) -> Handler:
    """A handler that always gives the same JSON, encoded once."""
    body = json_reply(document).body
    return lambda _: Reply(200, body, JSON)
