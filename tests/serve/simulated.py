"""A supervisor with simulated parts: a care that remembers, workers that do what a test asks for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealift.errors import NotInstalled, SealiftError
from sealift.meter.beat import Beat
from sealift.serve import control
from sealift.serve.care import Advice, Seen, WatchWish, WorkerLaunch
from sealift.serve.listening import bind
from sealift.serve.supervisor import Supervisor
from sealift.serve.workers import SupervisorOptions

WORKER = r"""
import json, os, signal, socket, sys, threading, time
from pathlib import Path
here, name = Path(sys.argv[1]), sys.argv[2]
flags = dict(arg.lstrip("-").split("=") for arg in sys.argv[3:])
channel = socket.socket(fileno=int(flags["supervisor-fd"]))
listener = socket.socket(fileno=int(flags["listen-fd"]))
listener.setblocking(True)
lock = threading.Lock()

def behaviour():
    try:
        return json.loads((here / f"{name}.json").read_text())
    except ValueError:
        return {}

def note(text):
    with lock, (here / "notes").open("a") as notes:
        notes.write(f"{name} {os.getpid()} {text}\n")

def tell(message):
    channel.sendall(json.dumps({"protocol": 2, **message}).encode() + b"\n")

def beats():
    while not behaviour().get("mute"):
        tell({"beat": behaviour().get("beat", {})})
        time.sleep(0.02)

def orders():
    for line in channel.makefile():
        order = json.loads(line)
        note(json.dumps({key: order[key] for key in order if key != "protocol"}))
        if "retire" in order:
            os._exit(0)
    note("alone")
    os._exit(0)

note("starts")
if "fails" in behaviour():
    sys.exit(behaviour()["fails"])
def terminate(*_):
    if not behaviour().get("stubborn"):
        note("SIGTERM")
        os._exit(0)

signal.signal(signal.SIGTERM, terminate)
while behaviour().get("loads"):
    time.sleep(0.01)
code = behaviour().get("crashes")
tell({"ready": True, "pid": os.getpid()})
if code is not None:
    os._exit(code)
threading.Thread(target=orders, daemon=True).start()
threading.Thread(target=beats, daemon=True).start()
while True:
    connection, _ = listener.accept()
    connection.sendall(f"{name} {os.getpid()}".encode())
    connection.close()
"""

OPTIONS = SupervisorOptions(
    ready_s=20, drain_s=5, first_backoff_s=0.01, longest_backoff_s=0.05, hang_s=20, loading_nice=0
)


class SimulatedCare:
    """Remembers every call; raises and advises what the test has put in. No disk, no clock."""

    def __init__(self, launch: Callable[[str], WorkerLaunch]) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.active = "one"
        self.before = ""
        self.watched = False
        self.canary_s = 5.0
        self.raises: dict[str, list[Exception]] = {}
        self.advise: Callable[[Seen], Advice] = lambda _: Advice.WATCH
        self.seen: list[Seen] = []
        self._launch = launch

    def names(self) -> list[object]:
        return [call[0] for call in self.calls]

    def start(self) -> WorkerLaunch:
        self._called("start")
        return self._launch(self.active)

    def launch(self, tree: str) -> WorkerLaunch:
        if tree == "nowhere":
            raise NotInstalled("nowhere is not installed")
        return self._launch(tree)

    def begin(self, tree: str, *, back: bool) -> None:
        self._called("begin", tree, back)

    def turned(self, tree: str, before: Beat | None) -> None:
        self._called("turned", tree, before)
        self.before, self.active, self.watched = self.active, tree, True

    def gave_up(self, tree: str, reason: str) -> None:
        self._called("gave_up", tree, reason)

    def watch(self) -> WatchWish | None:
        return WatchWish(self.canary_s) if self.watched else None

    def observe(self, seen: Seen) -> Advice:
        self.seen.append(seen)
        self._raise("observe")
        return self.advise(seen)

    def commit(self) -> None:
        self._called("commit")
        self.watched = False

    def fall_back(self) -> str:
        self._called("fall_back")
        return self.before

    def fell_back(self) -> None:
        self._called("fell_back")
        self.active, self.watched = self.before, False

    def _called(self, name: str, *details: object) -> None:
        self.calls.append((name, *details))
        self._raise(name)

    def _raise(self, name: str) -> None:
        errors = self.raises.get(name)
        if errors:
            raise errors.pop(0)


class Simulation:
    """A supervisor in this process over simulated workers that are real processes."""

    def __init__(self, folder: Path, options: SupervisorOptions = OPTIONS) -> None:
        self.folder = folder
        self.script = folder / "worker.py"
        self.script.write_text(WORKER)
        for name in ("one", "two"):
            self.behave(name)
        self.notes = folder / "notes"
        self.free: int | None = None
        self.memory: int | None = None
        self.care = SimulatedCare(self.launch)
        self.listener = bind("127.0.0.1", 0)
        self.control = folder / "run" / "x.sock"
        self.options = options
        self.supervisor = Supervisor(
            self.care, self.listener, self.control, options, available=lambda: self.free
        )

    def launch(self, name: str) -> WorkerLaunch:
        argv = [sys.executable, "-I", "-S", str(self.script), str(self.folder), name]
        return WorkerLaunch(argv, f"x@{name}", f"sha256:{name}", name, self.memory)

    def behave(self, name: str, **how: object) -> None:
        """From now on workers of that name behave so: fails, loads, crashes, mute, stubborn, beat."""
        path = self.folder / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(how))
        path.with_suffix(".new").rename(path)

    async def who_answers(self) -> tuple[str, int]:
        """Name and process of the worker that takes new connections, once those that retire have gone."""
        await self.until(lambda: not self.supervisor._stage._leaving, "the end of those that retire")
        answer: list[str] = []
        while len(answer) != 2:  # a worker that was just killed may still have accepted
            reader, writer = await asyncio.open_connection(*self.listener.getsockname())
            with contextlib.suppress(ConnectionError):
                answer = (await asyncio.wait_for(reader.read(), 20)).decode().split()
            writer.close()
        return answer[0], int(answer[1])

    async def ask(self, request: str, **details: object) -> dict[str, Any]:
        return await asyncio.to_thread(control.ask, self.control, {"do": request, **details}, 30)

    async def until(self, happened: Callable[[], object], what: str = "it") -> None:
        deadline = time.monotonic() + 20
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{what} did not happen in 20 s; {self.care.calls}, {self.supervisor.status()}"
                )
            await asyncio.sleep(0.005)

    def noted(self, process: int) -> list[str]:
        """What the worker with that process id has said of itself."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split(" ", 2)[2] for line in lines if int(line.split(" ", 2)[1]) == process]

    def started(self, name: str) -> int:
        """How many workers of that name were started."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return sum(line.startswith(f"{name} ") and line.endswith(" starts") for line in lines)


Scenario = Callable[[Simulation], Coroutine[Any, Any, None]]


def supervised(
    folder: Path,
    scenario: Scenario,
    prepare: Callable[[Simulation], None] = lambda _: None,
    **options: float,
) -> None:
    """Run `scenario` beside a supervisor that serves, then stop it and make sure that nothing is left."""

    async def both() -> None:
        simulation = Simulation(folder, replace(OPTIONS, **options))  # type: ignore[arg-type]
        prepare(simulation)
        serving = asyncio.Event()
        running = asyncio.ensure_future(simulation.supervisor.run(serving.set))
        ready = asyncio.ensure_future(serving.wait())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if running.done():
                running.result()
            await scenario(simulation)
        finally:
            ready.cancel()
            simulation.supervisor._stop.set()
            await asyncio.wait({running})
            simulation.listener.close()
        running.result()
        assert not simulation.control.exists()

    asyncio.run(asyncio.wait_for(both(), 60))


def fails_with(error: SealiftError) -> list[Exception]:
    """Raised once."""
    return [error]
