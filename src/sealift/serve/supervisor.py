"""The supervisor: owns the listening socket, keeps one ready worker on it, switches without a gap.

Standard library only: it outlives every release it serves, so it must not load any of their code.
Supervisor and worker speak over the worker's argv (`--listen-fd`, `--ready-fd`), one JSON line on the
ready pipe (protocol 1), and SIGTERM for "drain and end".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sealift.errors import NotServing, SealiftError
from sealift.serve import control

log = logging.getLogger("sealift.supervisor")


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """How to start a worker: argv without the descriptors, and which release it will serve."""

    argv: Sequence[str]
    release: str
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """Seconds. `ready_s`: load, warm up and report ready; `drain_s`: finish what is in flight;
    `exit_s`: end by itself after closing the ready pipe."""

    ready_s: float = 120.0
    drain_s: float = 30.0
    exit_s: float = 2.0
    first_backoff_s: float = 0.2
    longest_backoff_s: float = 10.0


class State(Enum):
    """What the supervisor does at the moment, as `status` shows it."""

    STARTING = "STARTING"
    SERVING = "SERVING"
    SWITCHING = "SWITCHING"
    RESTARTING = "RESTARTING"
    STOPPING = "STOPPING"


@dataclass(slots=True)
class _Worker:
    launch: WorkerLaunch
    process: asyncio.subprocess.Process
    expected_to_end: bool = field(default=False)


class Supervisor:
    """Serves `plan()`'s release on `listener` until SIGTERM or SIGINT.

    Args:
        plan: decides which worker to start; asked again at every start, so it follows `current`.
        listener: bound and listening; stays open over every worker.
        control_path: where to listen for `status` and `switch`, or None.
    """

    def __init__(
        self,
        plan: Callable[[], WorkerLaunch],
        listener: socket.socket,
        control_path: Path | None,
        options: SupervisorOptions,
    ) -> None:
        self._plan = plan
        self._listener = listener
        self._control_path = control_path
        self._options = options
        self._state = State.STARTING
        self._worker: _Worker | None = None
        self._restarts = 0
        self._switching = asyncio.Lock()
        self._stop = asyncio.Event()
        self._crashed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, on_serving: Callable[[], None] = lambda: None) -> None:
        """Serve until stopped.

        Raises: NotServing: the first worker did not get ready, or another supervisor has the name.
        """
        server = await self._open_control()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._worker = await self._start(self._plan())
            self._state = State.SERVING
            on_serving()
            await self._keep_serving()
        finally:
            self._state = State.STOPPING
            if server is not None and self._control_path is not None:
                server.close()
                self._control_path.unlink(missing_ok=True)
            if self._worker is not None:
                await self._retire(self._worker)

    async def switch(self) -> None:
        """Start the planned worker beside the old one; when it is ready, drain the old one.

        Raises: NotServing: the new worker did not get ready; the old one serves on.
        """
        async with self._switching:
            before, self._state = self._state, State.SWITCHING
            try:
                new = await self._start(self._plan())
            except SealiftError:
                self._state = before
                raise
            old, self._worker = self._worker, new
            self._state = State.SERVING
            if old is not None:
                self._spawn(self._retire(old))

    async def _keep_serving(self) -> None:
        while not self._stop.is_set():
            crash = asyncio.ensure_future(self._crashed.wait())
            stop = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait({crash, stop}, return_when=asyncio.FIRST_COMPLETED)
            crash.cancel()
            stop.cancel()
            if self._crashed.is_set() and not self._stop.is_set():
                self._crashed.clear()
                await self._restart()

    async def _restart(self) -> None:
        pause = self._options.first_backoff_s
        async with self._switching:
            if self._worker is not None and self._worker.process.returncode is None:
                return  # a switch has replaced the crashed worker meanwhile
            self._state = State.RESTARTING
            while not self._stop.is_set():
                self._restarts += 1
                try:
                    self._worker = await self._start(self._plan())
                except SealiftError as error:
                    log.error("worker did not start: %s; again in %.1f s", error.message, pause)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), pause)
                    pause = min(pause * 2, self._options.longest_backoff_s)
                else:
                    self._state = State.SERVING
                    return

    async def _start(self, launch: WorkerLaunch) -> _Worker:
        ready_read, ready_write = os.pipe()
        listen = self._listener.fileno()
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                f"--listen-fd={listen}",
                f"--ready-fd={ready_write}",
                pass_fds=(listen, ready_write),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            os.close(ready_read)
            raise NotServing(f"{launch.release}: cannot start {launch.argv[0]}: {error.strerror}") from error
        finally:
            os.close(ready_write)
        worker = _Worker(launch, process)
        if not await self._is_ready(ready_read):
            worker.expected_to_end = True
            with contextlib.suppress(TimeoutError):  # a closed pipe: it is on its way out, see its status
                await asyncio.wait_for(process.wait(), self._options.exit_s)
            await self._end_now(process)
            raise NotServing(
                f"{launch.release}: the worker did not get ready (exit status {process.returncode})",
                next_step="read what it said above",
            )
        self._spawn(self._watch(worker))
        log.info("%s serves, worker process %d", launch.release, process.pid)
        return worker

    async def _is_ready(self, ready_read: int) -> bool:
        """True once the ready line came; False when the pipe closed, the time ran out or we stop."""
        reader = asyncio.StreamReader(limit=control.MAX_LINE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ready_read, "rb")
        )
        line = asyncio.ensure_future(reader.readline())
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(
                {line, stop}, timeout=self._options.ready_s, return_when=asyncio.FIRST_COMPLETED
            )
            message = control.decode(line.result()) if line.done() else None
            return message is not None and message.get("ready") is True
        finally:
            line.cancel()
            stop.cancel()
            transport.close()

    async def _watch(self, worker: _Worker) -> None:
        status = await worker.process.wait()
        if not worker.expected_to_end and worker is self._worker:
            log.error(
                "%s: worker process %d ended with %d", worker.launch.release, worker.process.pid, status
            )
            self._crashed.set()

    async def _retire(self, worker: _Worker) -> None:
        worker.expected_to_end = True
        _signal(worker.process, signal.SIGTERM)
        try:
            await asyncio.wait_for(worker.process.wait(), self._options.drain_s + 5)
        except TimeoutError:
            log.error("%s: worker did not drain in time, ended", worker.launch.release)
            await self._end_now(worker.process)

    async def _end_now(self, process: asyncio.subprocess.Process) -> None:
        _signal(process, signal.SIGKILL)
        await process.wait()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_control(self) -> asyncio.AbstractServer | None:
        if self._control_path is None:
            return None
        listener = control.bind_control(self._control_path)
        return await asyncio.start_unix_server(self._answer, sock=listener, limit=control.MAX_LINE)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            request = control.decode(await reader.readline()) or {}
            writer.write(control.encode(await self._decide(request.get("do"))))
            await writer.drain()
        writer.close()

    async def _decide(self, request: object) -> dict[str, Any]:
        if request == "status":
            return {"ok": True, **self.status()}
        if request == "switch":
            try:
                await self.switch()
            except SealiftError as error:
                return {"ok": False, "error": error.message, **self.status()}
            return {"ok": True, **self.status()}
        return {"ok": False, "error": f"unknown request {request!r}"}

    def status(self) -> dict[str, Any]:
        """State, release, process ids, address and restarts, as `sealift status` reads them."""
        host, port = self._listener.getsockname()[:2]
        worker = self._worker
        return {
            "host": host,
            "identity": worker.launch.identity if worker else None,
            "port": port,
            "release": worker.launch.release if worker else None,
            "restarts": self._restarts,
            "state": self._state.value,
            "supervisor": os.getpid(),
            "worker": worker.process.pid if worker else None,
        }


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Not process.send_signal(): it polls, and so takes the exit status away from asyncio's watcher.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def bind(host: str, port: int) -> socket.socket:
    """Bind and listen once; every worker inherits this descriptor (never SO_REUSEPORT, DESIGN 3).

    Raises: NotServing: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise NotServing(
            f"{host}:{port}: {error.strerror}", next_step="choose another with --port, or stop who holds it"
        ) from error
    listener.setblocking(False)
    return listener
