"""The worker as a process: inherited socket, readiness, signals, and no silent death."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.nets import fraud, one_echo, served, service
from tests.serve.running import Client, Serving

from sealift.engine.protocol import Arrays
from sealift.meter.beat import Beat
from sealift.model.service import ServedModel
from sealift.serve import control
from sealift.serve.http.message import Reply
from sealift.serve.http.server import HttpServer
from sealift.serve.predictor import Predictor, PredictorOptions
from sealift.serve.worker import WorkerOptions

SCRIPT = """
import logging, socket, sys
import numpy as np
from pathlib import Path
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.service import ServedModel, Service
from sealift.model.signature import Signature, TensorSpec
from sealift.observe.exposition import render
from sealift.serve.worker import WorkerOptions, run_worker

logging.basicConfig(level=logging.INFO)
signature = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 3)),),
    outputs=(TensorSpec(name="score", datatype="FP32", shape=("batch", 1)),), batch_axis="batch",
)
model = ServedModel("fraud", Path(sys.argv[2]), signature, TensorInput(), TensorOutput())
listener, channel = (socket.socket(fileno=int(fd)) for fd in sys.argv[1].split(","))

class Golden:
    def run(self, sessions):
        score = sessions["fraud"].run({"x": np.zeros((1, 3), np.float32)})["score"]
        return "" if score.shape == (1, 1) else f"shape {score.shape}"

sys.exit(run_worker(
    Service("fraud", "1.0", (model,)), listener, WorkerOptions(drain_s=5, grace_s=0.2, beat_s=0.02),
    render_metrics=render, channel=channel, canary=Golden(),
))
"""


class Process:
    """A worker process on a socket that the test owns; the test is its supervisor."""

    def __init__(self, model: Path, listener: socket.socket) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(20)
        fds = [listener.fileno(), theirs.fileno()]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, ",".join(map(str, fds)), str(model)],
                pass_fds=fds,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._heard = self.channel.makefile("rb")

    def hear(self) -> dict[str, Any]:
        """The next thing it says; empty once it has closed its end."""
        return control.decode(self._heard.readline()) or {}

    def tell(self, **order: float) -> None:
        self.channel.sendall(control.encode(order))

    def wait_ready(self) -> None:
        ready = self.hear()
        assert ready.get("ready") is True, self.process.communicate()
        assert ready["pid"] == self.process.pid

    def wait_beat(self, is_it: Callable[[Beat], bool]) -> Beat:
        """The first beat for which that is true."""
        while message := self.hear():
            beat = Beat.decode(message["beat"])
            if is_it(beat):
                return beat
        raise EOFError(self.process.communicate())

    def close(self) -> None:
        """What the kernel does when the supervisor dies."""
        self._heard.close()
        self.channel.close()

    def wait(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=20)
        self.close()
        return self.process.returncode, errors

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.wait()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def predicting(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def health(listener: socket.socket) -> int:
    host, port = listener.getsockname()
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(listener: socket.socket, tmp_path: Path, number: int) -> None:
    worker = Process(fraud(tmp_path).path, listener)
    worker.wait_ready()
    with Client(listener.getsockname()) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
        assert client.answer().status == 200
        code, errors = worker.end(number)
        assert client.is_closed()
    assert code == 0, errors
    assert "draining: 1 connections" in errors


@pytest.mark.slow
def test_the_next_worker_takes_over_the_same_socket_without_a_lost_connection(
    listener: socket.socket, tmp_path: Path
) -> None:
    model = fraud(tmp_path).path
    first = Process(model, listener)
    first.wait_ready()
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(health(listener))

    asking = threading.Thread(target=ask)
    asking.start()
    second = Process(model, listener)
    second.wait_ready()
    assert first.end(signal.SIGTERM)[0] == 0
    before = len(statuses)
    while len(statuses) < before + 20 and asking.is_alive():
        pass
    over.set()
    asking.join()
    assert second.end(signal.SIGTERM)[0] == 0
    assert len(statuses) >= before + 20
    assert set(statuses) <= {200, 503}  # 503: asked for health while draining
    assert statuses[-1] == 200


@pytest.mark.slow
def test_a_worker_beats_and_a_canary_runs_as_often_as_it_is_told(
    listener: socket.socket, tmp_path: Path
) -> None:
    worker = Process(fraud(tmp_path).path, listener)
    worker.wait_ready()
    with Client(listener.getsockname()) as client:
        assert client.send(predicting({"inputs": {"x": [1, 2, 3]}})).answer().status == 200
        assert client.send(predicting({"inputs": {"x": [1, 2]}})).answer().status == 400
        assert client.send(b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n").answer().status == 200
    beat = worker.wait_beat(lambda beat: beat.requests == 2)
    assert (beat.client_errors, beat.errors, sum(beat.latency), beat.canaries) == (1, 0, 1, 0)
    assert beat.resident_bytes > 10e6
    worker.tell(canary_s=0.01)
    beat = worker.wait_beat(lambda beat: beat.canaries > 2)
    assert (beat.canary_failures, beat.canary_problem, beat.requests) == (0, "", 2)
    assert worker.end(signal.SIGTERM)[0] == 0


@pytest.mark.slow
def test_a_retiring_worker_keeps_idle_connections_and_answers_on_them(
    listener: socket.socket, tmp_path: Path
) -> None:
    """A client that never retries must not meet a reset: its next request ends the connection politely."""
    model = fraud(tmp_path).path
    old = Process(model, listener)
    old.wait_ready()
    request = b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n"
    clients = [Client(listener.getsockname()) for _ in range(8)]
    assert [client.send(request).answer().status for client in clients] == [200] * 8
    new = Process(model, listener)
    new.wait_ready()
    old.tell(retire=30.0)
    while "close" not in clients[0].send(request).answer().headers.get("connection", ""):
        pass
    answers = [client.send(request).answer() for client in clients[1:]]
    assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 7
    assert old.wait()[0] == 0
    for client in clients:
        client.socket.close()
    assert new.end(signal.SIGTERM)[0] == 0


@pytest.mark.slow
def test_a_service_that_stops_hurries_a_worker_that_retires(listener: socket.socket, tmp_path: Path) -> None:
    worker = Process(fraud(tmp_path).path, listener)
    worker.wait_ready()
    with Client(listener.getsockname()) as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").answer().status == 200
        worker.tell(retire=600.0)
        assert worker.end(signal.SIGTERM)[0] == 0
        assert client.is_closed()


@pytest.mark.slow
def test_a_worker_ends_with_its_supervisor(listener: socket.socket, tmp_path: Path) -> None:
    worker = Process(fraud(tmp_path).path, listener)
    worker.wait_ready()
    worker.close()
    code, errors = worker.wait()
    assert code == 0
    assert "the supervisor is gone" in errors


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_worker_before_it_is_ready(
    listener: socket.socket, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    worker = Process(bad, listener)
    assert worker.hear() == {}
    code, errors = worker.wait()
    assert code == 1
    assert "bad.onnx" in errors


NEVER_QUICK = PredictorOptions(quick_s=0.0)
POST = (
    b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    b'{"x": [1, 2]}'
)


def slow(folder: Path) -> ServedModel:
    return served("slow", one_echo(folder / "slow.onnx", "FP32", ["n", 2]))


def replace_runs(predictor: Predictor, run: Callable[..., Arrays]) -> None:
    """From now on the engine does what the test says, in both layouts."""

    class Session:
        device, degraded = "cpu", ""

        def run(self, inputs: object, outputs: object = None) -> Arrays:
            return run(inputs, outputs)

        def with_threads(self, threads: int, *, may_copy: bool) -> None:
            return None

        def idle(self) -> None:
            pass

    predictor.wide = predictor.narrow = Session()


def test_a_dead_thread_ends_the_worker_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving = Serving(service(slow(tmp_path)), WorkerOptions(run=NEVER_QUICK, drain_s=0.05, grace_s=0))

    def die(*_: object) -> Arrays:
        raise KeyboardInterrupt

    replace_runs(serving.predictors["slow"], die)
    with serving.connect() as client:
        client.send(POST)
        assert serving.exit_code.result(10) == 1
        assert client.is_closed()
    serving.thread.close()
    assert "a work thread died: KeyboardInterrupt" in caplog.text


def test_a_dead_sweeper_ends_the_worker_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_: HttpServer) -> None:
        raise ValueError("a bug in the sweeper")

    monkeypatch.setattr(HttpServer, "sweep", die)
    serving = Serving(service(fraud(tmp_path)))
    assert serving.exit_code.result(10) == 1
    serving.thread.close()
    assert "a bug in the sweeper" in caplog.text


def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    serving = Serving(service(fraud(tmp_path)), WorkerOptions(drain_s=60, grace_s=60))
    with serving.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
        assert client.answer().status == 200
        serving.thread.call(serving.worker.stop)
        serving.thread.call(serving.worker.stop)
        assert serving.exit_code.result(10) == 0
        assert client.is_closed()
    serving.thread.close()
    assert "1 connections had to be cut off" in caplog.text


def test_a_full_queue_is_503_with_retry_after(tmp_path: Path) -> None:
    options = WorkerOptions(run=NEVER_QUICK, threads=2, queue_limit=0, drain_s=5, grace_s=0)
    serving = Serving(service(slow(tmp_path)), options)
    gate, begun = threading.Event(), threading.Semaphore(0)

    def wait(*_: object) -> Arrays:
        begun.release()
        assert gate.wait(10)
        return {"y": np.zeros((1, 2), np.float32)}

    replace_runs(serving.predictors["slow"], wait)
    with serving.connect() as one, serving.connect() as two, serving.connect() as three:
        for client in (one, two):
            client.send(POST)
            assert begun.acquire(timeout=10)
        answer = three.send(POST).answer()
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (
            503,
            "queue_full",
            "1",
        )
        gate.set()
        assert [client.answer().status for client in (one, two)] == [200, 200]
    assert serving.stop() == 0


def test_reply_sizes_add_up() -> None:
    assert Reply(200, (b"ab", memoryview(b"cde"))).size == 5
