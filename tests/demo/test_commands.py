"""Commands are ended with their own workers, and nothing else is."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sealift.demo import commands as subject
from sealift.demo.commands import Subprocesses

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

WORKER = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, {handler})
worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open({path!r}, "w").write(str(worker.pid))
signal.pause()
"""


def ends(pid_descriptor: int) -> bool:
    """Whether the process behind a pidfd ends (within ten seconds; it was killed already)."""
    try:
        return bool(select.select([pid_descriptor], [], [], 10)[0])
    finally:
        os.close(pid_descriptor)


def written(path: Path) -> str:
    """The first text that appears in a FIFO."""
    with path.open() as stream:
        return stream.read()


def test_output_errors_code_and_folder_come_back(tmp_path: Path) -> None:
    done = Subprocesses(tmp_path).run(["sh", "-c", "pwd; echo wrong >&2; exit 3"])
    assert (done.code, done.output, done.errors) == (3, f"{tmp_path}\n", "wrong\n")
    assert done.seconds < 60


def test_a_command_that_ended_by_itself_is_seen(tmp_path: Path) -> None:
    background = Subprocesses(tmp_path).start(["sh", "-c", "echo gone; exit 5"])
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    ended = background.ended()
    assert ended is not None
    assert (ended.code, ended.output) == (5, "gone\n")
    assert background.stop() == ended


@pytest.mark.parametrize("handler", ["lambda *_: sys.exit(4)", "signal.SIG_IGN"])
def test_stopping_ends_the_command_and_its_workers(
    handler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that goes when asked, and one that must be killed; neither leaves its worker behind."""
    monkeypatch.setattr(subject, "STOP_WITHIN_S", 0.3)
    fifo = tmp_path / "worker"
    os.mkfifo(fifo)
    program = WORKER.format(handler=handler, path=str(fifo))
    background = Subprocesses(tmp_path).start([sys.executable, "-c", program])
    worker = os.pidfd_open(int(written(fifo)))
    assert background.ended() is None
    assert background.stop().code == (4 if "exit" in handler else -signal.SIGKILL)
    assert ends(worker)


@pytest.mark.parametrize("attempt", range(5))
def test_an_interrupt_ends_the_running_command_wherever_it_falls(attempt: int, tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    found: list[int] = []

    def interrupt() -> None:
        found.append(os.pidfd_open(int(written(fifo))))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), Subprocesses(tmp_path) as commands:
        commands.run(["sh", "-c", f"echo $$ > {fifo}; exec sleep 600"])
    thread.join()
    assert ends(found[0])


def test_leaving_ends_what_still_runs(tmp_path: Path) -> None:
    with Subprocesses(tmp_path) as commands:
        background = commands.start([sys.executable, "-c", "import signal; signal.pause()"])
        assert background.ended() is None
    ended = background.ended()
    assert ended is not None
    assert ended.code == -signal.SIGTERM


def test_an_interrupt_during_the_start_is_held_back_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment in which Popen has forked but not returned: the process must be known before it is raised."""
    real = subprocess.Popen

    def interrupted(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        started.append(process)
        return process

    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt), Subprocesses(tmp_path) as commands:
        commands.run(["sleep", "600"])
    assert started[0].returncode == -signal.SIGTERM
