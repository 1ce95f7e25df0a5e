"""What a worker counts, declared in one place; names follow Prometheus' conventions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sealift.meter.beat import LATENCY_BOUNDS_S, Beat
from sealift.meter.meter import Counter, Histogram, Meter
from sealift.model.service import Service

_CLIENT_GONE: Final = 499
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ServeMetrics:
    """The worker's metrics; `account` gives a route the children it updates."""

    def __init__(self, meter: Meter, service: Service) -> None:
        self.meter = meter
        release = meter.gauge(
            "sealift_release_info", "The release that serves; always 1.", ("name", "version", "identity")
        )
        release.labels(service.name, service.version, service.identity or "").set(1)
        self._requests = meter.counter(
            "sealift_requests_total",
            "Requests answered; status 499: the client had gone.",
            ("path", "model", "status"),
        )
        self._latency = meter.histogram(
            "sealift_request_seconds", "From the last byte of a request to its answer.", ("path", "model")
        )
        self._inference = meter.histogram(
            "sealift_inference_seconds", "Time in the engine, per request that reached it.", ("model",)
        )
        self._received = meter.counter("sealift_request_bytes_total", "Bytes of request bodies.").labels()
        self._sent = meter.counter("sealift_response_bytes_total", "Bytes of answers' bodies.").labels()
        self.in_flight = meter.gauge("sealift_requests_in_flight", "Requests being worked on.").labels()
        self.queue_depth = meter.gauge("sealift_queue_depth", "Requests waiting for a thread.").labels()
        self.connections = meter.gauge("sealift_connections", "Open connections.").labels()
        meter.gauge("process_start_time_seconds", "Start of the process since the epoch.").labels().set(
            time.time()
        )
        self._tally = Histogram(LATENCY_BOUNDS_S[:-1])
        self._inferring: list[Account] = []
        resident = meter.gauge("process_resident_memory_bytes", "Resident memory.").labels()
        resident.follow(resident_bytes)

    def account(self, path: str, model: str, *, infers: bool = False) -> Account:
        """The account of one route; `path` is its pattern, never what a client sent.

        Only routes that infer have histograms: twenty routes of documents would bury them.
        """
        account = Account(
            lambda status: self._requests.labels(path, model, status),
            (self._latency.labels(path, model), self._tally) if infers else None,
            self._inference.labels(model) if infers else None,
            (self._received, self._sent),
        )
        if infers:
            self._inferring.append(account)
        return account

    def beat(self) -> Beat:
        """What the routes that infer have answered so far; canaries and `oldest_s` are for others to add."""
        answered: dict[int, int] = {}
        for account in self._inferring:
            for status, number in account.by_status():
                answered[status] = answered.get(status, 0) + number
        answered.pop(_CLIENT_GONE, None)
        return Beat(
            requests=sum(answered.values()),
            errors=sum(n for status, n in answered.items() if status >= 500 and status not in (503, 504)),
            refused=answered.get(503, 0),
            timeouts=answered.get(504, 0),
            client_errors=sum(n for status, n in answered.items() if 400 <= status < 500),
            latency=tuple(self._tally.counts),
            resident_bytes=int(resident_bytes()),
            in_flight=int(self.in_flight.value),
        )

    def inferences(self, model: str) -> Histogram:
        """The engine times of one model."""
        return self._inference.labels(model)


class Account:
    """Counts the requests of one route; cheap enough for every request."""

    __slots__ = ("_by_status", "_inference", "_latencies", "_received", "_sent", "_start")

    def __init__(
        self,
        start: Callable[[str], Counter],
        latencies: tuple[Histogram, Histogram] | None,
        inference: Histogram | None,
        volume: tuple[Counter, Counter],
    ) -> None:
        self._start = start
        self._by_status: dict[int, Counter] = {}
        self._latencies = latencies
        self._inference = inference
        self._received, self._sent = volume

    def count(self, status: int, seconds: float, inference_s: float, received: int, sent: int) -> None:
        """One request: seconds from arrival to answer, seconds in the engine (0: never got there), bytes."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._start(str(status))
        counter.value += 1
        if self._latencies is not None:
            exposed, tally = self._latencies
            exposed.observe(seconds)
            if status < 400 or inference_s:
                tally.observe(seconds)
        if inference_s and self._inference is not None:
            self._inference.observe(inference_s)
        self._received.value += received
        self._sent.value += sent

    def by_status(self) -> Iterator[tuple[int, int]]:
        """How many requests ended with each status."""
        return ((status, int(counter.value)) for status, counter in self._by_status.items())


def resident_bytes() -> float:
    """Resident memory of this process; 0 where /proc is not mounted."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * _PAGE_BYTES
