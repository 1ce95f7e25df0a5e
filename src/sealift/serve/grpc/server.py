"""The gRPC face of one worker: accepting on an inherited socket, sweeping time-outs, draining."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping

from sealift.model.service import Service
from sealift.serve.grpc.connection import GrpcConnection
from sealift.serve.grpc.connections import GrpcConnections, GrpcLimits
from sealift.serve.grpc.service import GrpcService, Infers, RunsAside
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.tls import TlsFiles, server_context
from sealift.serve.metrics import ServeMetrics


class GrpcServer:
    """Accepts clients of `service`; everything runs in the event loop's thread.

    Args:
        tls: a server's context of its own; it gets ALPN `h2`.
    """

    def __init__(
        self, service: GrpcService, limits: GrpcLimits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.service = service
        self.connections = GrpcConnections(service, limits or GrpcLimits(), clock)
        self._tls = tls
        self._handshake_s = self.connections.limits.head_s if tls is not None else None
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self._listening: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept on a bound, listening socket; `drain` closes this process's copy of it, no other's."""
        listener.setblocking(False)
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: GrpcConnection(self.connections),
            sock=listener,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
        )

    async def sweep(self, tick_s: float = 0.25) -> None:
        """Look for what took too long, for ever."""
        while True:
            await asyncio.sleep(tick_s)
            self.connections.expire(self.connections.clock())

    async def drain(self, drain_s: float) -> int:
        """Stop accepting, tell every client to go elsewhere (GOAWAY), answer what is here; at most `drain_s`.

        Returns: the number of connections that had to be cut off.
        """
        empty = asyncio.Event()
        self.connections.on_empty = empty.set
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self.connections.drain()
        if not len(self.connections):
            return 0
        try:
            async with asyncio.timeout(drain_s):
                await empty.wait()
        except TimeoutError:
            return self.connections.abort_all()
        return 0


def grpc_server(
    service: Service,
    lanes: Mapping[str, Infers],
    crew: RunsAside,
    metrics: ServeMetrics,
    http: HttpLimits,
    tls: TlsFiles | None,
) -> GrpcServer:
    """The gRPC face beside an HTTP front: the same lanes, threads, limits, certificate and gauges.

    Raises: BadSettings: no TLS with these files.
    """
    context = server_context(tls) if tls is not None else None
    face = GrpcService(service, lanes, crew, metrics)
    server = GrpcServer(face, GrpcLimits.like(http), context)
    connections = server.connections
    metrics.connections.follow_too(lambda: len(connections))
    metrics.in_flight.follow_too(lambda: connections.in_flight)
    return server
