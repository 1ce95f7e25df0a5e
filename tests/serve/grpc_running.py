"""The gRPC face on a real socket for tests, without the rest of a worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.serve.running import LoopThread

from sealift.engine.choose import engine_for
from sealift.engine.protocol import Arrays
from sealift.errors import RequestError
from sealift.meter.meter import Meter
from sealift.model.service import Service
from sealift.serve.crew import Crew
from sealift.serve.grpc.connections import GrpcLimits
from sealift.serve.grpc.server import GrpcServer
from sealift.serve.grpc.service import GrpcService
from sealift.serve.lane import Lane, Tally
from sealift.serve.metrics import ServeMetrics
from sealift.serve.predictor import Predictor, load_predictor
from sealift.serve.ticket import Ticket


class HeldLane(Lane):
    """A lane that can hold its requests back, or raise `error` instead."""

    def __init__(self, predictor: Predictor, tally: Tally) -> None:
        super().__init__(predictor, tally)
        self.tickets: list[Ticket] = []
        self.arrived = threading.Semaphore(0)
        self.runs = 0
        self.error: Exception | None = None
        self._gate: asyncio.Event | None = None

    async def infer(self, arrays: Arrays, outputs: Sequence[str] | None, ticket: Ticket) -> Arrays:
        self.tickets.append(ticket)
        self.arrived.release()
        if self._gate is not None:
            await self._gate.wait()
        ticket.check()
        if self.error is not None:
            raise self.error
        self.runs += 1
        return await super().infer(arrays, outputs, ticket)

    def hold(self) -> None:
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        if self._gate is not None:
            self._gate.set()


class GrpcServing:
    """A gRPC port in a thread; `stop` drains it."""

    def __init__(
        self,
        service: Service,
        limits: GrpcLimits | None = None,
        tls: ssl.SSLContext | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.thread = LoopThread()
        loop = self.thread.loop
        self.metrics = ServeMetrics(Meter(), service)
        self.lanes = {
            model.name: HeldLane(
                load_predictor(model, engine_for(model.path)), self.metrics.stages(model.name)
            )
            for model in service.models
        }
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.host = f"127.0.0.1:{self.address[1]}"

        async def begin() -> None:
            self.threads = Crew(2, 16, loop, tuple(self.lanes.values()))
            self.threads.start()
            face = GrpcService(service, self.lanes, self.threads, self.metrics)
            self.server = GrpcServer(face, limits, tls)
            await self.server.listen(self.listener.dup())
            self.sweeping = asyncio.ensure_future(self.server.sweep(0.02))

        self.thread.run(begin())

    def statuses(self, path: str = "grpc/ModelInfer") -> dict[str, int]:
        """How many calls of a method ended with each HTTP status."""
        self.thread.call(self.metrics.fold)
        found: dict[str, int] = {}
        for (at, _, status), counter in self.metrics._requests.children.items():
            if at == path:
                found[status] = found.get(status, 0) + int(counter.value)
        return found

    def stop(self, drain_s: float = 5.0) -> int:
        cut = self.thread.run(self.server.drain(drain_s))
        self.thread.call(self.sweeping.cancel)
        self.thread.call(self.threads.stop)
        self.thread.close()
        self.listener.close()
        return cut


def echo_service(folder: Path) -> Service:
    from tests.serve.nets import echo, fraud, served, service

    return service(fraud(folder), served("echo", echo(folder / "echo.onnx")))


__all__ = ["GrpcServing", "HeldLane", "RequestError", "echo_service"]
