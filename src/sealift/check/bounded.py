"""Run a command within bounds of time and memory, with everything that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

TIMEOUT_S: Final = 600.0
OVERSHOOT: Final = 1.25
"""How far above its limit a command may go before it is ended: below, its own report tells the figure."""

_LOOK_S: Final = 0.05
_LAST_WORDS_S: Final = 5.0
_KEPT_BYTES: Final = 2**20
_FIRST_VICTIM: Final = "1000"


@dataclass(frozen=True, slots=True)
class Bounds:
    """`memory_mb`: what the command and its children may hold resident, in 10^6 bytes; None: no bound.

    It is ended above 1.25 times that.
    """

    timeout_s: float = TIMEOUT_S
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `why` is a sentence where it was ended by us, else empty.

    `peak_mb` is the most that was seen of the whole group, in 10^6 bytes.
    """

    code: int
    stdout: str
    stderr: str
    peak_mb: float
    why: str = ""

    @property
    def words(self) -> str:
        """`ended with 1`, `ended by SIGSEGV`."""
        if self.why:
            return self.why
        if self.code >= 0:
            return f"ended with {self.code}"
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-self.code).name}"
        return f"ended by signal {-self.code}"


def run_bounded(command: Sequence[str], bounds: Bounds) -> Ended:
    """Run a command to its end or to its bounds; nothing that it started in its group outlives it.

    When the machine itself runs out of memory, the kernel ends this command before any service.

    Raises: OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    group = _Group(process.pid)
    try:
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(_FIRST_VICTIM)
        heard = [_Heard(stream) for stream in (process.stdout, process.stderr) if stream is not None]
        why = _wait(process, group, bounds)
    finally:
        group.kill()  # before the leader is reaped: until then its number can be nobody else's
        code = process.wait()
    stdout, stderr = (stream.text() for stream in heard)
    return Ended(code, stdout, stderr, group.peak_mb, why)


def _wait(process: subprocess.Popen[bytes], group: _Group, bounds: Bounds) -> str:
    """Wait without reaping; a sentence when a bound was passed."""
    end = time.monotonic() + bounds.timeout_s
    bound_mb = None if bounds.memory_mb is None else bounds.memory_mb * OVERSHOOT
    while not _has_ended(process.pid):
        resident_mb = group.look()
        if bound_mb is not None and resident_mb > bound_mb and group.shared_out_mb() > bound_mb:
            return f"took more than {resident_mb:.0f} MB of memory, permitted are {bounds.memory_mb:.0f}: it was ended"
        if time.monotonic() >= end:
            return f"did not end within {bounds.timeout_s:.0f} s"
        time.sleep(_LOOK_S)
    return ""


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@dataclass(slots=True)
class _Group:
    """The processes of one session, by the number of its leader."""

    leader: int
    peak_mb: float = field(default=0.0)

    def look(self) -> float:
        """What all of them hold resident now, in 10^6 bytes; pages that they share count for each."""
        total = sum(_status_kb(pid, "VmRSS") for pid in self._members()) * 1024 / 1e6
        self.peak_mb = max(self.peak_mb, total)
        return total

    def shared_out_mb(self) -> float:
        """As `look`, but a page that several share is divided among them; slower, so asked last."""
        return sum(_proportional_kb(pid) for pid in self._members()) * 1024 / 1e6

    def kill(self) -> None:
        """End whatever of it is left, also what made a process group of its own."""
        with contextlib.suppress(OSError):
            os.killpg(self.leader, signal.SIGKILL)
        for pid in self._members():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _members(self) -> Iterator[int]:
        for name in os.listdir("/proc"):  # noqa: PTH208 - names only, 20 times a second
            if name.isdigit() and _session_of(int(name)) == self.leader:
                yield int(name)


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _status_kb(pid: int, field_name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field_name}:"):
                return int(line.split()[1])
    return 0


def _proportional_kb(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return _status_kb(pid, "VmRSS")


class _Heard:
    """What a stream says, its last mebibyte; read on a thread, so that no pipe fills up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                self._kept += chunk
                del self._kept[:-_KEPT_BYTES]

    def text(self) -> str:
        """All of it; a process that got away and holds the stream open is not waited for."""
        self._thread.join(_LAST_WORDS_S)
        return bytes(self._kept).decode(errors="replace")
