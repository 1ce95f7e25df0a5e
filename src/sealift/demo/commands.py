"""Runs the real command line as a person would: one subprocess a command, in the demo's folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from sealift.demo.namespace import module_environment

STOP_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command said, how it ended, how long it took; `errors` is empty where the terminal got them."""

    code: int
    output: str
    errors: str
    seconds: float


class Background(Protocol):
    """A command that runs on."""

    def ended(self) -> Completed | None:
        """How it ended, or None while it runs."""
        ...

    def stop(self) -> Completed:
        """Ask it to end, insist after `STOP_WITHIN_S`, and wait; again is harmless."""
        ...


class Runner(Protocol):
    """Starts commands; whatever it started is ended when the caller leaves, however that happens."""

    def run(self, argv: Sequence[str], *, live: bool = False) -> Completed:
        """Run to the end. `live`: messages and progress bars go to the terminal if there is one."""
        ...

    def start(self, argv: Sequence[str]) -> Background:
        """Start and return at once."""
        ...


class Subprocesses:
    """The real command line. A context manager: leaving it ends what still runs.

    Every command is a session of its own, so that ending it ends its workers too, and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[_Process] = []

    def __enter__(self) -> Subprocesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self._running.pop().stop()

    def run(self, argv: Sequence[str], *, live: bool = False) -> Completed:
        """As `Runner.run`."""
        process = self._start(argv, inherit_errors=live and sys.stderr.isatty())
        done = process.wait()
        self._running.remove(process)
        return done

    def start(self, argv: Sequence[str]) -> Background:
        """As `Runner.start`."""
        return self._start(argv, inherit_errors=False)

    def _start(self, argv: Sequence[str], *, inherit_errors: bool) -> _Process:
        with _uninterrupted():
            process = _Process(argv, self._folder, inherit_errors=inherit_errors)
            self._running.append(process)
        return process


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back: an interrupt inside Popen would lose sight of a running process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda got, _: pending.append(got))) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        for got in pending[:1]:
            signal.raise_signal(got)


class _Process:
    """Output goes to unnamed files: a pipe that nobody reads would stop a long-running command."""

    def __init__(self, argv: Sequence[str], folder: Path, *, inherit_errors: bool) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the command ended
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._started = time.monotonic()
        self._completed: Completed | None = None
        self._popen = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=module_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=None if inherit_errors else self._errors,
            start_new_session=True,
        )

    def ended(self) -> Completed | None:
        return self.wait() if self._popen.poll() is not None else None

    def wait(self) -> Completed:
        if self._completed is None:
            code = self._popen.wait()
            self._completed = Completed(
                code, _read(self._output), _read(self._errors), time.monotonic() - self._started
            )
        return self._completed

    def stop(self) -> Completed:
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_WITHIN_S
            while not self._exited() and time.monotonic() < deadline:
                time.sleep(0.02)
            # Its number is still taken (not reaped yet), so this reaches its own workers and nobody else.
            os.killpg(self._popen.pid, signal.SIGKILL)
        return self.wait()

    def _exited(self) -> bool:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, options) is not None


def _read(stream: IO[bytes]) -> str:
    with stream:
        stream.seek(0)
        return stream.read().decode(errors="replace")
