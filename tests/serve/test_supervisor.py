"""The supervisor keeps a ready worker on its socket, with workers that are real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sealift.errors import NotServing
from sealift.serve import control
from sealift.serve.supervisor import Supervisor, SupervisorOptions, WorkerLaunch, bind

WORKER = """
import json, os, signal, socket, sys
flags = dict(arg.lstrip("-").split("=") for arg in sys.argv[2:])
if sys.argv[1] == "broken":
    sys.exit(3)
listener = socket.socket(fileno=int(flags["listen-fd"]))
listener.setblocking(True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(int(flags["ready-fd"]), json.dumps({"protocol": 1, "ready": True}).encode() + b"\\n")
while True:
    connection, _ = listener.accept()
    connection.sendall(f"{sys.argv[1]} {os.getpid()}".encode())
    connection.close()
"""

pytestmark = pytest.mark.slow
OPTIONS = SupervisorOptions(ready_s=30, drain_s=5, first_backoff_s=0.01, longest_backoff_s=0.05)


class Service:
    """A supervisor in this process, with whichever worker the test wants next."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "worker.py"
        self.script.write_text(WORKER)
        self.wanted = "one"
        self.listener = bind("127.0.0.1", 0)
        self.control = folder / "run" / "x.sock"
        self.supervisor = Supervisor(self.plan, self.listener, self.control, OPTIONS)

    def plan(self) -> WorkerLaunch:
        return WorkerLaunch(
            [sys.executable, "-I", "-S", str(self.script), self.wanted], f"x@{self.wanted}", self.wanted
        )

    async def ask(self) -> tuple[str, int]:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        name, process = (await reader.read()).decode().split()
        writer.close()
        return name, int(process)


def supervised(folder: Path, scenario: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
    """Run `scenario` beside a supervisor, then stop it and make sure that nothing is left."""

    async def both() -> None:
        service = Service(folder)
        serving = asyncio.Event()
        running = asyncio.ensure_future(service.supervisor.run(serving.set))
        ready = asyncio.ensure_future(serving.wait())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if running.done():
                running.result()
            await scenario(service)
        finally:
            ready.cancel()
            service.supervisor._stop.set()
            await asyncio.wait({running})
            service.listener.close()
        running.result()
        assert not service.control.exists()

    asyncio.run(asyncio.wait_for(both(), 60))


def test_it_serves_and_tells_its_status_over_the_control_socket(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        name, process = await service.ask()
        assert name == "one"
        status = await asyncio.to_thread(control.ask, service.control, "status")
        assert status["state"] == "SERVING"
        assert status["release"] == "x@one"
        assert status["worker"] == process
        assert status["port"] == service.listener.getsockname()[1]
        unknown = await asyncio.to_thread(control.ask, service.control, "dance")
        assert unknown["ok"] is False

    supervised(tmp_path, scenario)


def test_a_crashed_worker_is_replaced(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        _, first = await service.ask()
        os.kill(first, signal.SIGKILL)
        name, second = await service.ask()
        assert name == "one"
        assert second != first
        assert service.supervisor.status()["restarts"] == 1

    supervised(tmp_path, scenario)


def test_a_switch_starts_the_new_worker_and_ends_the_old_one(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        _, first = await service.ask()
        old = service.supervisor._worker
        assert old is not None
        service.wanted = "two"
        answer = await asyncio.to_thread(control.ask, service.control, "switch", 30)
        assert answer["ok"]
        assert answer["release"] == "x@two"
        await old.process.wait()
        name, second = await service.ask()
        assert name == "two"
        assert second != first

    supervised(tmp_path, scenario)


def test_a_switch_to_a_broken_worker_keeps_the_old_one(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        _, first = await service.ask()
        service.wanted = "broken"
        answer = await asyncio.to_thread(control.ask, service.control, "switch", 30)
        assert answer["ok"] is False
        assert answer["error"] == "x@broken: the worker did not get ready (exit status 3)"
        assert await service.ask() == ("one", first)
        assert service.supervisor.status()["state"] == "SERVING"

    supervised(tmp_path, scenario)


def test_a_first_worker_that_is_broken_ends_the_supervisor_with_an_error(tmp_path: Path) -> None:
    async def broken() -> None:
        service = Service(tmp_path)
        service.wanted = "broken"
        try:
            with pytest.raises(NotServing, match="did not get ready"):
                await service.supervisor.run()
        finally:
            service.listener.close()
        assert not service.control.exists()

    asyncio.run(broken())


def test_a_second_supervisor_of_the_same_name_is_refused(tmp_path: Path) -> None:
    async def scenario(service: Service) -> None:
        with pytest.raises(NotServing, match=f"already served by process {os.getpid()}"):
            await asyncio.to_thread(control.bind_control, service.control)

    supervised(tmp_path, scenario)


def test_the_socket_file_of_a_crashed_supervisor_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "x.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    control.bind_control(path).close()


def test_a_control_socket_works_below_a_very_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()

    async def scenario(service: Service) -> None:
        assert (await asyncio.to_thread(control.ask, service.control, "status"))["ok"]

    supervised(folder, scenario)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with (
        bind("127.0.0.1", 0) as first,
        pytest.raises(NotServing, match=r"127\.0\.0\.1:\d+: Address already in use"),
    ):
        bind("127.0.0.1", first.getsockname()[1])
