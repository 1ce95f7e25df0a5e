"""Every call of a worker's gRPC face, and how a message gets from there to an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from sealift.engine.protocol import Arrays
from sealift.errors import NotFound
from sealift.model.service import ServedModel, Service
from sealift.model.words import nearest
from sealift.serve import oip_documents as documents
from sealift.serve.grpc import messages
from sealift.serve.grpc.call import Answer, Call, Handler, Method
from sealift.serve.grpc.tensors import decode, message, parse, read_arrays, write
from sealift.serve.metrics import ServeMetrics
from sealift.serve.oip import OipModel, refuse_foreign, timeout_s
from sealift.serve.ticket import Ticket

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"


class Infers(Protocol):
    """What runs one model."""

    def infer(self, inputs: Arrays, outputs: Sequence[str] | None, ticket: Ticket) -> Awaitable[Arrays]:
        """The outputs; in the event loop's thread.

        Raises: RequestError: refused, too late or failed.
        """
        ...


class RunsAside(Protocol):
    """What keeps long work out of the event loop."""

    def begin(self, work: Callable[[], None], claim: Ticket) -> None:
        """Do `work`, which never raises, on a thread. Raises: Unavailable: too much waits already."""
        ...

    def tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Have the event loop call `what` soon; from any thread."""
        ...


class GrpcService:
    """The calls by their path. Used in the event loop's thread.

    Args:
        lanes: one per model of the service.
        aside: for requests whose tensors are costly to read.
    """

    def __init__(
        self, service: Service, lanes: Mapping[str, Infers], aside: RunsAside, metrics: ServeMetrics
    ) -> None:
        self.draining = False
        self.release = service.release
        self._service = service
        self._lanes = lanes
        self._aside = aside
        self._metrics = metrics
        self._faces = {model.name: OipModel(model, service.version) for model in service.models}
        self._infers = {name: metrics.account("grpc/ModelInfer", name, infers=True) for name in self._faces}
        self._other = metrics.account("grpc/other", "")
        self.methods: Mapping[bytes, Method] = {
            f"/{home}/{name}".encode(): Method(handler, metrics.account(f"grpc/{name}", ""))
            for home, name, handler in self._table()
        }

    def method(self, path: bytes) -> Method:
        """The call at `path`; for an unknown one a method that says so."""
        return self.methods.get(path) or Method(_unknown(path), self._other)

    def _table(self) -> Sequence[tuple[str, str, Handler]]:
        return (
            (INFERENCE, "ModelInfer", self._infer),
            (INFERENCE, "ServerLive", lambda *_: Answer(parts=message(messages.ServerLive, live=True))),
            (INFERENCE, "ServerReady", self._server_ready),
            (INFERENCE, "ModelReady", self._model_ready),
            (INFERENCE, "ServerMetadata", self._server_metadata),
            (INFERENCE, "ModelMetadata", self._model_metadata),
            (INFERENCE, "ModelConfig", self._model_config),
            (INFERENCE, "ModelStatistics", self._model_statistics),
            (INFERENCE, "RepositoryIndex", self._repository_index),
            (HEALTH, "Check", self._health),
        )

    # ------------------------------------------------------------------ inference

    async def _infer(self, call: Call, data: memoryview) -> Answer:
        parsed = parse(data)
        request = parsed.message
        face = self._face(request.model_name, request.model_version)
        call.account = self._infers[face.model.name]
        if parsed.parameters:
            refuse_foreign(parsed.parameters, "parameters")
            _shorten(call, timeout_s(parsed.parameters))
        wanted = face.wanted(parsed.outputs(), binary=True)
        if parsed.is_costly:
            arrays = await self._beside(lambda: read_arrays(parsed, face), call)
        else:
            arrays = read_arrays(parsed, face)
        call.decode_s = time.perf_counter() - call.arrived - call.queue_s
        lane = self._lanes[face.model.name]
        outputs = await lane.infer(arrays, [one.name for one in wanted], call)
        return Answer(parts=write(face, request.id, wanted, outputs))

    async def _beside(self, work: Callable[[], Arrays], call: Call) -> Arrays:
        """The result of `work`, done on a thread; what it raises."""
        future: asyncio.Future[Arrays | Exception] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            call.queue_s = time.perf_counter() - call.arrived
            try:
                call.check()
                outcome: Arrays | Exception = work()
            except Exception as error:  # noqa: BLE001 - handed to the call, which answers for it
                outcome = error
            self._aside.tell(_settle, future, outcome)

        self._aside.begin(begin, call)
        found = await future
        if isinstance(found, Exception):
            raise found
        return found

    def _face(self, name: str, version: str) -> OipModel:
        face = self._faces.get(name)
        if face is None:
            near = nearest(name, self._faces)
            advice = f"did you mean {near}?" if near else f"this release serves {', '.join(self._faces)}"
            raise NotFound(f"no such model: {name[:200]}; {advice}", code="not_found")
        if version not in ("", face.version):
            text = f"{name}: no such version: {version[:200]}; this release serves {face.version}"
            raise NotFound(text, code="not_found")
        return face

    # ------------------------------------------------------------------ documents

    def _server_ready(self, _: Call, data: memoryview) -> Answer:  # noqa: ARG002
        return Answer(parts=message(messages.ServerReady, ready=not self.draining))

    def _model_ready(self, _: Call, data: memoryview) -> Answer:
        """As Triton: a model that is not here is not ready, no error."""
        request = decode(messages.ModelRequest, data)
        is_here = request.name in self._faces and request.version in ("", self._service.version)
        return Answer(parts=message(messages.ModelReady, ready=is_here and not self.draining))

    def _server_metadata(self, _: Call, data: memoryview) -> Answer:  # noqa: ARG002
        return _document(messages.ServerMetadata, documents.server_metadata())

    def _model_metadata(self, _: Call, data: memoryview) -> Answer:
        model = self._asked_for(data)
        return _document(messages.ModelMetadata, documents.model_metadata(model, self._service.version))

    def _model_config(self, _: Call, data: memoryview) -> Answer:
        return _document(messages.ModelConfig, {"config": documents.model_config(self._asked_for(data))})

    def _model_statistics(self, _: Call, data: memoryview) -> Answer:
        request = decode(messages.ModelRequest, data)
        models = self._service.models
        if request.name:
            models = (self._face(request.name, request.version).model,)
        self._metrics.fold()
        version, stages = self._service.version, self._metrics.stages
        entries = [documents.statistics(model, version, stages(model.name)) for model in models]
        return _document(messages.ModelStatistics, {"model_stats": entries})

    def _repository_index(self, _: Call, data: memoryview) -> Answer:
        decode(messages.RepositoryIndexRequest, data)
        return _document(messages.RepositoryIndex, {"models": documents.repository_index(self._service)})

    def _health(self, _: Call, data: memoryview) -> Answer:
        asked = decode(messages.HealthRequest, data).service
        if asked not in ("", INFERENCE):
            raise NotFound(f"no such service: {asked[:200]}; there is {INFERENCE}", code="not_found")
        status = messages.NOT_SERVING if self.draining else messages.SERVING
        return Answer(parts=message(messages.Health, status=status))

    def _asked_for(self, data: memoryview) -> ServedModel:
        request = decode(messages.ModelRequest, data)
        return self._face(request.name, request.version).model


def _shorten(call: Call, seconds: float | None) -> None:
    """The earlier of what the call and its message say; the message's counts from its arrival."""
    if seconds is not None:
        until = call.arrived + seconds
        call.deadline = until if call.deadline is None else min(until, call.deadline)


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


def _document(kind: type[Any], document: dict[str, Any]) -> Answer:
    from google.protobuf.json_format import ParseDict

    made = ParseDict(document, kind(), ignore_unknown_fields=True)
    return Answer(parts=(made.SerializeToString(),))


def _unknown(path: bytes) -> Handler:
    def handle(_: Call, data: memoryview) -> Answer:  # noqa: ARG001
        shown = path[:200].decode("latin-1")
        return Answer(
            501, error=f"no such call: {shown}; this release answers calls of {INFERENCE} and {HEALTH}"
        )

    return handle
