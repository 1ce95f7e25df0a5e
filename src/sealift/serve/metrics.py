"""What a worker counts, declared in one place; names follow Prometheus' conventions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sealift.engine.concurrency import Layout
from sealift.meter.beat import LATENCY_BOUNDS_S, Beat
from sealift.meter.meter import FOLD_AT, LATENCY_BUCKETS_S, Counter, Histogram, Meter
from sealift.model.service import Service
from sealift.serve.memory import resident_bytes
from sealift.serve.ticket import Ticket

CLIENT_GONE: Final = 499
"""The status of a request that nobody waits for any more; nobody is sent it."""


class Stages:
    """Where the seconds of one model's requests go, and what its runs were."""

    __slots__ = ("batch_rows", "decode", "dropped", "encode", "inference", "queue", "runs")

    def __init__(
        self,
        seconds: Callable[[str], Histogram],
        batch_rows: Histogram,
        runs: Mapping[Layout, Counter],
        dropped: Callable[[str], Counter],
    ) -> None:
        self.decode = seconds("decode")
        self.queue = seconds("queue")
        self.inference = seconds("inference")
        self.encode = seconds("encode")
        self.batch_rows = batch_rows
        self.runs = runs
        self.dropped = dropped

    def ran(self, rows: int, layout: Layout) -> None:
        """As `lane.Tally.ran`."""
        self.runs[layout].value += 1
        self.batch_rows.observe(rows)

    def spent(
        self, decode_s: float, queue_s: float, inference_s: float, encode_s: float, requests: int
    ) -> None:
        """As `lane.Tally.spent`."""
        self.decode.observe(decode_s, requests)
        self.queue.observe(queue_s, requests)
        self.inference.observe(inference_s, requests)
        self.encode.observe(encode_s if encode_s > 0.0 else 0.0, requests)

    def drop(self, reason: str) -> None:
        """A request was refused, or its work not done, for a reason other than what it asked."""
        self.dropped(reason).add()


class ServeMetrics:
    """The worker's metrics; `account` gives a route the children it updates.

    Args:
        slo_s: 99 of 100 answers within; the latencies have a bucket that ends there. None: nothing is promised.
    """

    def __init__(self, meter: Meter, service: Service, slo_s: float | None = None) -> None:
        self.meter = meter
        bounds = tuple(sorted({*LATENCY_BUCKETS_S, *(() if slo_s is None else (slo_s,))}))
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
            "sealift_request_seconds",
            "From the last byte of a request to its answer.",
            ("path", "model"),
            bounds,
        )
        self._seconds = meter.histogram(
            "sealift_stage_seconds",
            "Time of a request in one stage: decode, queue, inference, encode.",
            ("model", "stage"),
            bounds,
        )
        self._batch_rows = meter.histogram(
            "sealift_batch_rows", "Rows of one run.", ("model",), (1, 2, 4, 8, 16, 32, 64, 128)
        )
        self._runs = meter.counter(
            "sealift_runs_total", "Runs on all cores (wide) or on one (narrow).", ("model", "layout")
        )
        self._refused = meter.counter(
            "sealift_refused_total",
            "Requests not worked on: overload, queue_full, deadline or abandoned.",
            ("model", "reason"),
        )
        self._received = meter.counter("sealift_request_bytes_total", "Bytes of request bodies.").labels()
        self._sent = meter.counter("sealift_response_bytes_total", "Bytes of answers' bodies.").labels()
        self.in_flight = meter.gauge("sealift_requests_in_flight", "Requests being worked on.").labels()
        self.queue_depth = meter.gauge("sealift_queue_depth", "Requests waiting for a thread.").labels()
        self.connections = meter.gauge("sealift_connections", "Open connections.").labels()
        self.degraded = meter.gauge(
            "sealift_degraded",
            "1 where a model does not run on its first device.",
            ("model", "device", "wanted"),
        )
        meter.gauge("process_start_time_seconds", "Start of the process since the epoch.").labels().set(
            time.time()
        )
        self._tally = Histogram(LATENCY_BOUNDS_S[:-1])
        self._accounts: list[Account] = []
        self._inferring: list[Account] = []
        self._stages: dict[str, Stages] = {}
        resident = meter.gauge("process_resident_memory_bytes", "Resident memory.").labels()
        resident.follow(resident_bytes)

    def stages(self, model: str) -> Stages:
        """The stages of one model."""
        found = self._stages.get(model)
        if found is None:
            found = self._stages[model] = Stages(
                lambda stage: self._seconds.labels(model, stage),
                self._batch_rows.labels(model),
                {layout: self._runs.labels(model, layout.name.lower()) for layout in Layout},
                lambda reason: self._refused.labels(model, reason),
            )
        return found

    def account(self, path: str, model: str, *, infers: bool = False) -> Account:
        """The account of one route; `path` is its pattern, never what a client sent.

        Only routes that infer have histograms: twenty routes of documents would bury them.
        """
        account = Account(
            lambda status: self._requests.labels(path, model, status),
            (self._latency.labels(path, model), self._tally) if infers else None,
            (self._received, self._sent),
        )
        self._accounts.append(account)
        if infers:
            self._inferring.append(account)
        return account

    def fold(self) -> None:
        """Have every account hand on what it has counted; before somebody reads the meter."""
        for account in self._accounts:
            account.fold()

    def beat(self) -> Beat:
        """What the routes that infer have answered so far; canaries and `oldest_s` are for others to add."""
        self.fold()
        answered: dict[int, int] = {}
        for account in self._inferring:
            for status, number in account.by_status():
                answered[status] = answered.get(status, 0) + number
        answered.pop(CLIENT_GONE, None)
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


class Account:
    """Counts the requests of one route; cheap enough for every request."""

    __slots__ = ("_by_status", "_latencies", "_pending", "_received", "_sent", "_start")

    def __init__(
        self,
        start: Callable[[str], Counter],
        latencies: tuple[Histogram, Histogram] | None,
        volume: tuple[Counter, Counter],
    ) -> None:
        self._start = start
        self._by_status: dict[int, Counter] = {}
        self._latencies = latencies
        self._pending: list[float] = []
        self._received, self._sent = volume

    def count(self, status: int, seconds: float, ticket: Ticket, received: int, sent: int) -> None:
        """One request: seconds from arrival to answer, what it claimed of the engine, bytes of both bodies."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._start(str(status))
        counter.value += 1
        self._received.value += received
        self._sent.value += sent
        if self._latencies is None:
            return
        if status < 400 or ticket.inference_s:
            pending = self._pending
            pending.append(seconds)
            if len(pending) >= FOLD_AT:
                self.fold()
        else:
            self._latencies[0].observe(seconds)

    def fold(self) -> None:
        """Hand on the latencies that were kept back: many at once cost a fraction of one by one."""
        if self._pending and self._latencies is not None:
            for histogram in self._latencies:
                histogram.observe_all(self._pending)
            self._pending.clear()

    def by_status(self) -> Iterator[tuple[int, int]]:
        """How many requests ended with each status."""
        return ((status, int(counter.value)) for status, counter in self._by_status.items())
