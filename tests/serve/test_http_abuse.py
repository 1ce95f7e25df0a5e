"""Clients that mean harm or know no better, against a real worker process: it must not crash, hang or grow."""

from __future__ import annotations

import contextlib
import random
import resource
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.serve.nets import fraud
from tests.serve.process import WorkerProcess
from tests.serve.running import Answer, Client
from tests.serve.test_smuggling import READINGS, REFUSALS

pytestmark = pytest.mark.slow

GET: Final = b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n"
POST: Final = b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ROW: Final = b'{"inputs": {"x": [[1, 2, 3]]}}'
PREDICT: Final = POST + b"Content-Length: %d\r\n\r\n%b" % (len(ROW), ROW)
HASTY: Final = {
    "head_s": 1.0, "body_s": 1.0, "idle_s": 1.0, "write_s": 1.0, "linger_s": 0.5, "connections": 300,
    "body_bytes": 1_000_000, "total_body_bytes": 3_000_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker with little patience."""
    with WorkerProcess(fraud(tmp_path_factory.mktemp("model")).path, HASTY) as worker:
        yield worker
        assert worker.is_well()


def dribble(client: Client, data: bytes, *, pause_s: float = 0.05) -> Answer:
    """Send byte by byte, slower than patience lasts; what the worker says to it."""
    for at in range(len(data)):
        readable, _, _ = select.select([client.socket], [], [], pause_s)
        if readable:
            break
        client.send(data[at : at + 1])
    return client.answer()


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (b"", GET * 9),
        (b"GET /healthz HTTP/1.1\r\nHost: box\r\n", b"A: b\r\n" * 99),
        (POST + b"Content-Length: 900\r\n\r\n", b"x" * 900),
        (CHUNKED, b"1\r\nx\r\n" * 99),
    ],
    ids=["request line", "fields", "body", "chunks"],
)
def test_slow_clients_are_given_up_while_others_are_served(
    hasty: WorkerProcess, begin: bytes, rest: bytes
) -> None:
    """Slowloris: time counts from the first byte, whatever trickles in afterwards."""
    with hasty.connect() as slow:
        began = time.monotonic()
        slow.send(begin)
        answer = dribble(slow, rest.replace(GET * 9, b"GET /healthz?" + b"a" * 200))
        took = time.monotonic() - began
        assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert slow.is_closed()
        assert 0.9 < took < 5
        assert hasty.is_well()


def test_a_hundred_slow_clients_cost_the_others_nothing(hasty: WorkerProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(hasty.connect()).send(b"GET /")
        for _ in range(20):
            assert hasty.is_well()


def test_idle_connections_are_closed(hasty: WorkerProcess) -> None:
    with hasty.connect() as silent, hasty.connect() as used:
        assert used.send(GET).answer().status == 200
        assert used.is_closed()
        assert silent.is_closed()


@pytest.mark.parametrize(
    ("flood", "status"),
    [
        (b"GET /" + b"a" * 10_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: box\r\n" + b"A: b\r\n" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: box\r\nA: " + b"b" * 10_000_000, 431),
        (CHUNKED + b"1;" + b"a" * 10_000_000, 400),
        (CHUNKED + b"1;a=b\r\nx\r\n" * 1_000_000, 400),
        (CHUNKED + b"1\r\nx\r\n" * 1_000_000, 400),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 1_000_000, 400),
        (POST + b"Content-Length: 99999999\r\n\r\n" + b"x" * 10_000_000, 413),
        (CHUNKED + b"f4241\r\n" + b"x" * 10_000_000, 413),
    ],
    ids=["target", "fields", "field", "extension", "extensions", "tiny chunks", "trailers", "body", "chunk"],
)
def test_floods_are_refused_early_and_cost_no_memory(hasty: WorkerProcess, flood: bytes, status: int) -> None:
    before = hasty.resident_bytes
    with hasty.connect() as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while it still sends
            client.send(flood)
        with contextlib.suppress(ConnectionResetError):  # it sent on for longer than anybody lingers
            assert client.answer().status == status
    assert hasty.resident_bytes - before < 30_000_000
    assert hasty.is_well()


def test_a_client_that_never_reads_is_dropped_and_costs_little(hasty: WorkerProcess) -> None:
    before = hasty.resident_bytes
    request = GET.replace(b"/healthz", b"/metrics")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hasty.connect()) for _ in range(10)]
        for client in clients:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.socket.settimeout(3)
            with pytest.raises((TimeoutError, ConnectionError)):
                send_for_ever(client, request * 1000)
        assert hasty.resident_bytes - before < 60_000_000
        for client in clients:
            with pytest.raises((TimeoutError, ConnectionError)):
                send_for_ever(client, request * 1000)
    assert hasty.is_well()


def send_for_ever(client: Client, data: bytes) -> None:
    while True:
        client.send(data)


def test_a_thousand_pipelined_predictions_are_answered_in_order(hasty: WorkerProcess) -> None:
    with hasty.connect() as client:
        for number in range(1000):
            client.send(PREDICT.replace(b"Host: box", b"Host: box\r\nX-Request-Id: n%d" % number))
        answers = [client.answer() for _ in range(1000)]
    assert [answer.headers["x-request-id"] for answer in answers] == [f"n{number}" for number in range(1000)]
    assert {answer.status for answer in answers} == {200}


def test_one_connection_too_many_is_told_so_and_a_crowd_is_dropped(hasty: WorkerProcess) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hasty.connect()) for _ in range(700)]
        said = [first_words(client) for client in clients]
        assert said.count(b"HTTP/1.1 503") >= 100
        assert said.count(b"") + said.count(b"HTTP/1.1 503") == 700  # the others went idle
    until_gone(hasty)
    assert hasty.is_well()


def first_words(client: Client) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return client.socket.recv(12)
    return b""


def until_gone(worker: WorkerProcess, files: int = 20) -> None:
    """Wait until the worker has let go of its clients."""
    deadline = time.monotonic() + 10
    while worker.open_files > files:
        assert time.monotonic() < deadline, worker.open_files
        time.sleep(0.05)


@pytest.mark.parametrize("files", [80, 400])
def test_a_worker_short_of_descriptors_serves_as_many_as_it_can(tmp_path: Path, files: int) -> None:
    """It knows its bound, so that it never fails to accept; whoever waits is served when others have gone."""
    with WorkerProcess(fraud(tmp_path).path, {"linger_s": 0.2}, files=files) as worker:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(worker.connect()) for _ in range(1000)]
            served = [client for client in clients if is_served(client)]
            assert files // 2 - 20 <= len(served) <= files
            assert worker.open_files <= files
            for client in served:
                assert client.send(GET).answer().status == 200
        until_gone(worker)
        assert worker.is_well()


def is_served(client: Client) -> bool:
    with contextlib.suppress(ConnectionError, EOFError):
        return client.send(GET).answer().status == 200
    return False


# ------------------------------------------------------------------ a hundred thousand requests


SEEDS: Final = (
    GET, PREDICT, GET.replace(b"GET", b"HEAD"), GET.replace(b"/healthz", b"/nowhere"), GET.replace(b"GET", b"PUT"),
    CHUNKED + b"1e\r\n" + ROW + b"\r\n0\r\n\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: 30\r\n\r\n" + ROW,
    POST + b"Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + ROW,
    POST.replace(b"application/json", b"multipart/form-data; boundary=b")
    + b"Content-Length: 53\r\n\r\n--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--",
    b'POST /v2/models/fraud/infer HTTP/1.1\r\nHost: box\r\nContent-Length: 81\r\n\r\n{"inputs":[{"name":"x",'
    b'"datatype":"FP32","shape":[1,3],"data":[0.5,1.5,2.5]}]}    ',
    *(data for _, data in REFUSALS.values()), *(data for _, data in READINGS.values()),
)  # fmt: skip
TOKENS: Final = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"0", b"ffffffff", b"-1", b"\xff", b"HTTP/1.1", b"%00",
    b"{", b"[" * 50, b"Host: box\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"1e999", b'"',
)  # fmt: skip
ROUNDS: Final = 2000
AT_ONCE: Final = 50


def mutated(source: random.Random) -> bytes:
    """A request with up to four accidents; one of ten is noise from the start."""
    if source.random() < 0.1:
        return source.randbytes(source.randrange(1, 120))
    data = bytearray(source.choice(SEEDS))
    for _ in range(source.randrange(5)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(5)
        if kind == 0:
            data[at : at + 1] = source.randbytes(1)
        elif kind == 1:
            data[at:at] = source.choice(TOKENS)
        elif kind == 2:
            del data[at : at + source.randrange(1, 9)]
        elif kind == 3:
            data[at : at + 1] = bytes([data[at] ^ 1 << source.randrange(8)]) if at < len(data) else b""
        else:
            data += source.choice(SEEDS)[: source.randrange(99)]
    return bytes(data)


def throw(worker: WorkerProcess, requests: Sequence[bytes]) -> None:
    """One connection each; half of them hang up at once, the others wait for the end."""
    waiting = []
    for number, data in enumerate(requests):
        client = socket.create_connection(worker.address, timeout=10)
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        if number % 2:
            client.close()
        else:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            waiting.append(client)
    for client in waiting:
        with client, contextlib.suppress(ConnectionError):
            while client.recv(65536):
                pass


def test_a_hundred_thousand_mutated_requests_leave_no_trace(tmp_path: Path) -> None:
    source = random.Random(20261123)
    with WorkerProcess(fraud(tmp_path).path, {"linger_s": 0.2}) as worker:
        throw(worker, [mutated(source) for _ in range(5000)])  # what a warm worker has
        until_gone(worker)
        before = worker.resident_bytes
        for number in range(ROUNDS):
            throw(worker, [mutated(source) for _ in range(AT_ONCE)])
            if number % 200 == 0:
                assert worker.is_well()
        until_gone(worker)
        assert worker.resident_bytes - before < 10_000_000
        assert worker.is_well()


# ------------------------------------------------------------------ ten thousand idle connections


def test_ten_thousand_idle_connections_cost_little_and_no_latency(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.skip("this machine lets a process open fewer than 12,000 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with WorkerProcess(fraud(tmp_path).path) as worker, contextlib.ExitStack() as stack:
            assert worker.is_well()
            alone = latencies(worker)
            before = worker.resident_bytes
            for _ in range(100):
                some = [stack.enter_context(worker.connect()) for _ in range(100)]
                for client in some:
                    client.send(PREDICT)
                assert {client.answer().status for client in some} == {200}
            assert worker.open_files > 10_000
            cost = worker.resident_bytes - before
            crowded = latencies(worker)
            print(
                f"{cost / 10_000:.0f} bytes a connection; median {alone * 1e6:.0f} -> {crowded * 1e6:.0f} us"
            )
            assert cost < 200_000_000
            assert crowded < 3 * alone  # a sweep over all of them in one go would be seen, noise is not
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def latencies(worker: WorkerProcess) -> float:
    """The median of a second's requests of one client."""
    found = []
    end = time.monotonic() + 1
    with worker.connect() as client:
        while time.monotonic() < end:
            began = time.perf_counter()
            client.send(PREDICT).answer()
            found.append(time.perf_counter() - began)
    return sorted(found)[len(found) // 2]
