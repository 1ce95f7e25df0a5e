"""What this machine does while something is measured: a server's whole process tree, and everybody else."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOREIGN_CORES: Final = 0.1
"""More than this, used by neither the server nor the load generator, spoils a measurement: it is made once more."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc: CPU seconds of itself and of the children it has waited for."""

    pid: int
    parent: int
    session: int
    cpu_s: float


class Server:
    """A server process with everything below it, in a session of its own; killed whole at the end."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "server.log"
        self.began = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        put_first(self.process.pid)

    def alive(self) -> bool:
        return self.process.poll() is None

    def tree(self) -> list[Process]:
        """The process, its descendants, and what stayed in its session."""
        return tree(self.process.pid)

    def pss_mb(self) -> float:
        """Memory with shared pages split between their users: what the tree costs the machine."""
        return sum(pss_kb(one.pid) for one in self.tree()) / 1024

    def stop(self) -> None:
        """SIGTERM, two seconds, then SIGKILL to what is left of the tree."""
        members = self.tree()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        for one in {process.pid for process in (*members, *self.tree())}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.process.wait()


@dataclass
class Usage:
    """CPU cores used in the span of `watched`."""

    server: float = 0.0
    client: float = 0.0
    foreign: float = 0.0


@contextlib.contextmanager
def watched(pid: int | None) -> Iterator[Usage]:
    """Tell what the server's tree, this process with its children, and all others used meanwhile."""
    usage = Usage()
    before, began = _spent(pid), time.perf_counter()
    yield usage
    after, took = _spent(pid), time.perf_counter() - began
    busy, server, client = ((now - then) / took for now, then in zip(after, before, strict=True))
    usage.server, usage.client = max(0.0, server), client
    usage.foreign = max(0.0, busy - server - client)


def tree(pid: int) -> list[Process]:
    everybody = {one.pid: one for one in _processes()}
    if pid not in everybody:
        return []
    inside = {pid}
    for one in sorted(
        everybody.values(), key=lambda process: process.pid
    ):  # parents first, but for wrapped pids
        above, seen = one.pid, set()
        while above in everybody and above not in inside and above not in seen:
            seen.add(above)
            above = everybody[above].parent
        if above in inside or one.session == pid:
            inside.add(one.pid)
    return [everybody[one] for one in sorted(inside)]


def pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def resident_kb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0


def put_first(pid: int) -> None:
    """With autogroups on, `nice` of other jobs does not help us: our own session goes first (root only)."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-20")


def lone_session() -> None:
    """Go on in a child with a session of its own, and that session first: never the caller's."""
    child = os.fork()
    if child == 0:
        os.setsid()
        put_first(os.getpid())
        return
    try:
        _, status = os.waitpid(child, 0)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGINT)
        _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


def wait_quiet(limit_s: float = 2.0) -> None:
    """Wait, a little, for a moment when nobody else uses the machine."""
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end:
        with watched(None) as usage:
            time.sleep(0.25)
        if usage.foreign < 0.25:
            return


def free_ports(count: int) -> int:
    """The first of `count` neighbouring loopback ports that nobody listens on."""
    for first in range(18000 + os.getpid() % 500 * 20, 60000, 20):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise OSError("no free ports")


def description() -> dict[str, object]:
    """This machine in words, for the page that quotes the figures."""
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ":?"
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu.partition(":")[2].strip(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _spent(pid: int | None) -> tuple[float, float, float]:
    """CPU seconds so far of everybody, of the tree below `pid`, and of this process with its ended children."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    own = os.times()
    busy = sum(fields) - fields[3] - fields[4] - fields[7]
    server = sum(one.cpu_s for one in tree(pid)) if pid is not None else 0.0
    return busy / _TICKS, server, own.user + own.system + own.children_user + own.children_system


def _processes() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                cpu = sum(int(word) for word in words[11:15]) / _TICKS
                yield Process(int(entry.name), int(words[1]), int(words[3]), cpu)
