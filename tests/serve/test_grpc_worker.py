"""The gRPC port of real workers: loaded only where there is one, and no gap when they follow each other."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.serve.grpc_process import WORKER, end, start
from tests.serve.nets import fraud
from tests.serve.simulated import Simulation, supervised
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from sealift.serve.care import Advice, WorkerLaunch
from sealift.serve.listening import bind
from sealift.serve.supervisor import Supervisor

pytestmark = pytest.mark.slow


def zeros() -> triton.InferInput:
    return triton.InferInput("x", [1, 3], "FP32").set_data_from_numpy(np.zeros((1, 3), np.float32))


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with bind("127.0.0.1", 0) as http, bind("127.0.0.1", 0) as second:
        yield http, second


def test_without_a_port_nothing_of_grpc_is_loaded(
    tmp_path: Path, sockets: tuple[socket.socket, socket.socket]
) -> None:
    process, channel = start(fraud(tmp_path).path, sockets[0], None)
    loaded = end(process, channel)
    assert "sealift.serve.http.routes" in loaded
    assert [name for name in loaded if name.startswith(("hpack", "google.protobuf", "grpc"))] == []
    assert [name for name in loaded if name.startswith("sealift.serve.grpc")] == []


def test_with_a_port_both_faces_answer_and_the_metrics_count_them(
    tmp_path: Path, sockets: tuple[socket.socket, socket.socket]
) -> None:
    process, channel = start(fraud(tmp_path).path, *sockets)
    with triton.InferenceServerClient(f"127.0.0.1:{sockets[1].getsockname()[1]}") as client:
        assert client.infer("fraud", [zeros()]).as_numpy("score").shape == (1, 1)
        with pytest.raises(InferenceServerException, match="expected shape"):
            client.infer(
                "fraud", [triton.InferInput("x", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))]
            )
        metrics = _get(sockets[0].getsockname(), "/metrics")
    assert 'sealift_requests_total{path="grpc/ModelInfer",model="fraud",status="200"} 1' in metrics
    assert 'sealift_requests_total{path="grpc/ModelInfer",model="fraud",status="400"} 1' in metrics
    loaded = end(process, channel)
    assert {"hpack", "google.protobuf", "sealift.serve.grpc.server"} <= loaded
    assert "grpc" not in loaded


def _get(address: tuple[str, int], path: str) -> str:
    from http.client import HTTPConnection

    connection = HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class Crowd:
    """Clients that ask and ask over long-lived channels, with gRPC's own defaults."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.failures: list[str] = []
        self.answers: dict[str, int] = {}
        self._target = f"127.0.0.1:{address[1]}"
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        request = service_pb2.ModelInferRequest(model_name="fraud")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        request.raw_input_contents.append(bytes(12))
        # As clients come: no retry policy. A pool of its own gives each thread a connection of its own.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._target, options=options) as channel:
            infer: Any = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                service_pb2.ModelInferRequest.SerializeToString,
                service_pb2.ModelInferResponse.FromString,
            )
            while not self._over.is_set():
                try:
                    _, call = infer.with_call(request, timeout=20)
                except grpc.RpcError as error:
                    self.failures.append(f"{error.code()} {error.details()}")
                    return
                release = dict(call.initial_metadata())["x-sealift-release"]
                with self._lock:
                    self.answers[release] = self.answers.get(release, 0) + 1


def real(box: Simulation, model: Path, second: socket.socket) -> None:
    """From now on workers are real ones with a gRPC port; the release's name is its version."""
    (box.folder / "real.py").write_text(WORKER)

    def launch(name: str) -> WorkerLaunch:
        return WorkerLaunch(
            [sys.executable, str(box.folder / "real.py"), str(model), name], f"fraud@{name}", None, name
        )

    box.care._launch = launch
    box.supervisor = Supervisor(box.care, box.listener, box.control, box.options, grpc=second)


def test_busy_clients_meet_no_failure_through_switches_reloads_and_a_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    model = fraud(tmp_path).path
    second = bind("127.0.0.1", 0)

    async def scenario(box: Simulation) -> None:
        assert box.supervisor.status()["grpc_port"] == second.getsockname()[1]
        crowd = await asyncio.to_thread(Crowd, second.getsockname(), 8)
        try:
            for turn in ("two", "one", "reload", "two", "back"):
                if turn == "reload":
                    assert (await box.ask("reload"))["ok"]
                elif turn == "back":
                    box.care.advise = lambda seen: Advice.FALL_BACK if seen.beat else Advice.WATCH
                    await box.until(lambda: box.care.active == "one", "the fall back")
                else:
                    assert (await box.ask("switch", to=turn, back=False))["ok"]
                served = f"fraud@{box.care.active}"
                seen = crowd.answers.get(served, 0)
                await box.until(lambda served=served, seen=seen: crowd.answers.get(served, 0) > seen + 100)  # type: ignore[misc]
        finally:
            await asyncio.to_thread(crowd.end)
        assert crowd.failures == []
        assert set(crowd.answers) == {"fraud@one", "fraud@two"}
        assert min(crowd.answers.values()) > 100

    with second:
        supervised(tmp_path, scenario, lambda box: real(box, model, second), hang_s=20)
