"""Clients that never retry meet no failure while real workers follow each other on one socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest
from tests.serve.nets import fraud
from tests.serve.running import Client
from tests.serve.simulated import Simulation, supervised

from sealift.serve.care import Advice, WorkerLaunch

pytestmark = pytest.mark.slow

WORKER = """
import socket, sys
from pathlib import Path
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.service import ServedModel, Service
from sealift.model.signature import Signature, TensorSpec
from sealift.observe.exposition import render
from sealift.serve.worker import WorkerOptions, run_worker

flags = dict(arg.lstrip("-").split("=") for arg in sys.argv[3:])
signature = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 3)),),
    outputs=(TensorSpec(name="score", datatype="FP32", shape=("batch", 1)),), batch_axis="batch",
)
model = ServedModel("fraud", Path(sys.argv[1]), signature, TensorInput(), TensorOutput())
sys.exit(run_worker(
    Service("fraud", sys.argv[2], (model,)), socket.socket(fileno=int(flags["listen-fd"])),
    WorkerOptions(drain_s=5, grace_s=0.2, beat_s=0.05), render_metrics=render,
    channel=socket.socket(fileno=int(flags["supervisor-fd"])),
))
"""
BODY = json.dumps({"inputs": {"x": [1, 2, 3]}}).encode()
REQUEST = b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Crowd:
    """Busy keep-alive clients; each opens a new connection only where it was told `Connection: close`."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.failures: list[str] = []
        self.answers: dict[str, int] = {}
        self._address = address
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
        client = Client(self._address)
        try:
            while not self._over.is_set():
                answer = client.send(REQUEST).answer()
                self._note(answer.status, answer.headers["x-sealift-release"])
                if answer.headers.get("connection") == "close":
                    client.socket.close()
                    client = Client(self._address)
        except (OSError, EOFError) as error:
            self.failures.append(repr(error))
        finally:
            client.socket.close()

    def _note(self, status: int, release: str) -> None:
        if status != 200:
            self.failures.append(f"{status} of {release}")
        with self._lock:
            self.answers[release] = self.answers.get(release, 0) + 1


def real(box: Simulation, model: Path) -> None:
    """From now on workers are real ones with that model; the release's name is its version."""
    (box.folder / "real.py").write_text(WORKER)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

    def launch(name: str) -> WorkerLaunch:
        return WorkerLaunch(
            [sys.executable, str(box.folder / "real.py"), str(model), name], f"fraud@{name}", None, name
        )

    box.care._launch = launch


def ask(client: Client) -> tuple[int, str]:
    answer = client.send(REQUEST).answer()
    return answer.status, answer.headers["x-sealift-release"]


def test_busy_and_idle_connections_are_answered_through_switches_reloads_and_a_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    model = fraud(tmp_path).path

    async def scenario(box: Simulation) -> None:
        address: tuple[str, int] = box.listener.getsockname()
        crowd = await asyncio.to_thread(Crowd, address, 16)
        try:
            for turn in ("two", "one", "reload", "two", "back"):
                idle = [await asyncio.to_thread(Client, address) for _ in range(4)]
                before = {(await asyncio.to_thread(ask, client)) for client in idle}
                assert len(before) == 1
                if turn == "reload":
                    assert (await box.ask("reload"))["ok"]
                elif turn == "back":
                    box.care.advise = lambda seen: Advice.FALL_BACK if seen.beat else Advice.WATCH
                    await box.until(lambda: box.care.active == "one", "the fall back")
                else:
                    assert (await box.ask("switch", to=turn, back=False))["ok"]
                # Idle since before the switch: the worker that retires has kept them, and answers once more.
                assert {(await asyncio.to_thread(ask, client)) for client in idle} == before
                for client in idle:
                    client.socket.close()
                served = f"fraud@{box.care.active}"
                seen = crowd.answers.get(served, 0)
                await box.until(lambda served=served, seen=seen: crowd.answers.get(served, 0) > seen + 100)  # type: ignore[misc]
        finally:
            await asyncio.to_thread(crowd.end)
        assert crowd.failures == []
        assert min(crowd.answers.values()) > 100
        assert set(crowd.answers) == {"fraud@one", "fraud@two"}

    supervised(tmp_path, scenario, lambda box: real(box, model), hang_s=20)


def test_a_worker_that_hangs_costs_only_the_requests_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket queues new connections meanwhile: who was not accepted yet is answered by the next worker."""
    monkeypatch.setenv("PYTHONPATH", "")
    model = fraud(tmp_path).path

    async def scenario(box: Simulation) -> None:
        worker = box.supervisor.status()["worker"]
        os.kill(worker, 19)
        waiting = [await asyncio.to_thread(Client, box.listener.getsockname()) for _ in range(8)]
        for client in waiting:
            client.socket.settimeout(30)
        answers = [await asyncio.to_thread(ask, client) for client in waiting]
        assert answers == [(200, "fraud@one")] * 8
        assert box.supervisor.status()["hung"] == 1
        for client in waiting:
            client.socket.shutdown(socket.SHUT_RDWR)
            client.socket.close()

    supervised(tmp_path, scenario, lambda box: real(box, model), hang_s=0.5)
