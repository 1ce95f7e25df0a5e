"""Worker processes as the supervisor holds them: started, heard, told, ended. Standard library only.

A worker gets the listening socket and its end of a socket pair (`--listen-fd`, `--supervisor-fd`). Over that
pair go JSON lines of protocol 2 (`serve.link` is the other end); SIGTERM says that the service itself stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sealift.errors import NotServing
from sealift.meter.beat import Beat
from sealift.serve import control
from sealift.serve.care import WorkerLaunch
from sealift.serve.listening import GRPC_FD

log = logging.getLogger("sealift.supervisor")

_SUPERVISORS_OWN: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
                           "LISTEN_FDNAMES", GRPC_FD)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """Seconds, unless said otherwise.

    `ready_s`: load, warm up and report ready. `drain_s`: finish what is in flight, and how long a worker that
    was replaced keeps idle connections. `exit_s`: end by itself after closing the channel. The pause before
    a restart grows from `first_backoff_s` to `longest_backoff_s`, and begins anew after `healthy_s` without a
    crash. A worker is hung when it has not beaten for `hang_s`, or a request is older than `stuck_s`.
    `user`: the account workers run under, None for the supervisor's own. `loading_nice`: how much a worker
    yields to the one that serves while it loads.
    """

    ready_s: float = 120.0
    drain_s: float = 30.0
    exit_s: float = 2.0
    first_backoff_s: float = 0.2
    longest_backoff_s: float = 10.0
    healthy_s: float = 60.0
    hang_s: float = 20.0
    stuck_s: float = 120.0
    user: str | None = None
    loading_nice: int = 5


class RunningWorker:
    """One worker process and the channel to it; belongs to the event loop's thread.

    Args:
        on_news: called at every beat, and when the process has ended.
    """

    def __init__(
        self,
        launch: WorkerLaunch,
        process: asyncio.subprocess.Process,
        channel: asyncio.StreamWriter,
        on_news: Callable[[RunningWorker], None],
    ) -> None:
        self.launch = launch
        self.pid = process.pid
        self.beat: Beat | None = None
        self.silent_ticks = 0
        self.hung = ""
        self.is_expected_to_end = False
        self.has_served = False
        self._process = process
        self._channel = channel
        self._on_news = on_news
        self._answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._canary_s = 0.0
        self._is_terminated = False

    @property
    def has_ended(self) -> bool:
        """Claims that the process is gone."""
        return self._process.returncode is not None

    @property
    def status(self) -> str:
        """How the process ended, in words."""
        code = self._process.returncode
        if code is None:
            return "it runs"
        if code < 0:
            return f"ended by {_signal_name(-code)}"
        return f"exit status {code}"

    async def is_ready(self, timeout_s: float, stop: asyncio.Event) -> bool:
        """True once it said so; False when its channel closed, the time ran out or `stop` came first."""
        stopping = asyncio.ensure_future(stop.wait())
        either: set[asyncio.Future[Any]] = {self._answered, stopping}
        try:
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        return self._answered.done() and self._answered.result()

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what it says until its channel closes."""
        with contextlib.suppress(
            ConnectionError, ValueError
        ):  # a line too long: deaf from here, so found hung
            while line := await reader.readline():
                self._hear(control.decode(line) or {})
        if not self._answered.done():
            self._answered.set_result(False)

    async def follow(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()
        self._channel.close()
        self._on_news(self)

    def retire(self, keep_s: float) -> None:
        """Another worker serves: accept nothing more, keep idle connections for `keep_s`, end."""
        self._tell({"retire": keep_s})

    def canary_every(self, period_s: float) -> None:
        """Have a canary run every `period_s` seconds; 0: none."""
        if period_s != self._canary_s:
            self._canary_s = period_s
            self._tell({"canary_s": period_s})

    def terminate(self) -> None:
        """The service stops: drain soon, end."""
        if not self._is_terminated:  # a second signal would end the drain
            self._is_terminated = True
            self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End it now, and whatever it has started."""
        self._signal(os.killpg, signal.SIGKILL)

    async def ended(self, timeout_s: float | None = None) -> None:
        """Wait for its end; kill it after `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
            return
        log.error("%s: worker process %d did not end in time, killed", self.launch.release, self.pid)
        self.kill()
        await self._process.wait()

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("ready") is True and not self._answered.done():
            self._answered.set_result(True)
        if isinstance(message.get("beat"), dict):
            self.silent_ticks = 0
            try:
                self.beat = Beat.decode(message["beat"])
            except ValueError as error:
                log.error("worker process %d: its beat says nothing: %s", self.pid, error)
            self._on_news(self)

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._channel.is_closing():
            self._channel.write(control.encode(message))

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        # Not process.send_signal(): it polls, and so takes the exit status away from asyncio's watcher.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                send(self.pid, number)


class Workers:
    """Starts workers on one listening socket, or two.

    Args:
        grpc: the second one, None where gRPC is not served.
        stop: set when the supervisor stops; a worker that is not ready by then is ended.
        on_news: as `RunningWorker`.
    """

    def __init__(
        self,
        listener: socket.socket,
        options: SupervisorOptions,
        stop: asyncio.Event,
        on_news: Callable[[RunningWorker], None],
        grpc: socket.socket | None = None,
    ) -> None:
        self._listener = listener
        self._grpc = grpc
        self._options = options
        self._stop = stop
        self._on_news = on_news
        self._may_become_less_nice = _may_become_less_nice()
        self._tasks: set[asyncio.Future[None]] = set()

    async def start(self, launch: WorkerLaunch, *, beside: bool) -> RunningWorker:
        """A worker that is ready. `beside`: another one serves meanwhile, so this one yields while it loads.

        Raises: NotServing: it did not get ready; nothing is left of it.
        """
        worker = await self._spawn(launch)
        nice = self._options.loading_nice if beside and self._may_become_less_nice else 0
        if nice:
            _be_nice(worker.pid, nice)
        try:
            is_ready = await worker.is_ready(self._options.ready_s, self._stop)
        except asyncio.CancelledError:
            await self._discard(worker, 0)
            raise
        if not is_ready:
            # A closed channel: it is on its way out, see its status.
            await self._discard(worker, 0 if self._stop.is_set() else self._options.exit_s)
            raise NotServing(
                f"{launch.release}: the worker did not get ready ({worker.status})",
                next_step="read what it said above",
            )
        if nice:
            _be_nice(worker.pid, 0)
        log.info("%s serves, worker process %d", launch.release, worker.pid)
        return worker

    async def _spawn(self, launch: WorkerLaunch) -> RunningWorker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        listen = self._listener.fileno()
        environ = {name: value for name, value in os.environ.items() if name not in _SUPERVISORS_OWN}
        inherited = [listen, theirs.fileno()]
        if self._grpc is not None:
            inherited.append(self._grpc.fileno())
            environ[GRPC_FD] = str(self._grpc.fileno())
        account: dict[str, Any] = {}
        if (user := self._options.user) is not None:
            account = {"user": user, "group": user, "extra_groups": ()}
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                f"--listen-fd={listen}",
                f"--supervisor-fd={theirs.fileno()}",
                pass_fds=inherited,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env=environ,
                **account,
            )
        except OSError as error:
            ours.close()
            raise NotServing(f"{launch.release}: cannot start {launch.argv[0]}: {error.strerror}") from error
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=control.MAX_LINE)
        worker = RunningWorker(launch, process, writer, self._on_news)
        for work in (worker.listen(reader), worker.follow()):
            self._keep(asyncio.ensure_future(work))
        return worker

    async def _discard(self, worker: RunningWorker, timeout_s: float) -> None:
        worker.is_expected_to_end = True
        if not timeout_s:
            worker.kill()
        await worker.ended(timeout_s or None)

    def _keep(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._drop)

    def _drop(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a worker is not heard any more: %r", error, exc_info=error)


def _be_nice(pid: int, more: int) -> None:
    """Make a worker with all of its threads (it leads a group of its own) nicer than this process by `more`."""
    with contextlib.suppress(OSError):  # it has ended
        os.setpriority(os.PRIO_PGRP, pid, os.getpriority(os.PRIO_PROCESS, 0) + more)


def _may_become_less_nice() -> bool:
    """Claims that a worker that was made nicer can be brought back: root's right, or RLIMIT_NICE's.

    Asking the kernel is the only way to know, containers being what they are: try it on oneself.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, own - 1)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, own)
    return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
