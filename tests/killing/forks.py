"""A process that has sealift loaded and forks once per command: three hundred commands in a minute.

Run as `python -m tests.killing.forks`; each line of JSON on stdin is one command:
`{"argv", "kill_at", "out"}` -> `{"code", "steps"}`. A child with `kill_at` N ends itself with SIGKILL after its
Nth durable step (0: never); `steps` lists what it reached, `code` is negative for a signal.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

VERBS = ("install", "activate", "rollback", "remove", "status", "serve")


@dataclass(frozen=True)
class Ran:
    """How a command ended, the durable steps it reached (`STEP path`), and what it said."""

    code: int
    steps: tuple[str, ...]
    said: str


class Forks:
    """The forking process, seen from the test."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "said.txt"
        self._steps = folder / "steps.txt"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def run(self, *argv: str | Path, kill_at: int = 0) -> Ran:
        """One command in a process of its own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {
            "argv": list(map(str, argv)),
            "kill_at": kill_at,
            "out": str(self._out),
            "steps": str(self._steps),
        }
        print(json.dumps(command), file=self._process.stdin, flush=True)
        code = json.loads(self._process.stdout.readline())["code"]
        steps = tuple(self._steps.read_text().splitlines())
        return Ran(code, steps, self._out.read_text())

    def start(self, *argv: str | Path, out: Path, kill_at: int = 0) -> int:
        """A command that runs on; its process id. It ends with this process at the latest."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {
            "argv": list(map(str, argv)),
            "kill_at": kill_at,
            "out": str(out),
            "steps": str(out) + ".steps",
            "background": True,
        }
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return int(json.loads(self._process.stdout.readline())["pid"])

    def wait(self, pid: int) -> int:
        """The exit code of a started command, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"wait": pid}), file=self._process.stdin, flush=True)
        return int(json.loads(self._process.stdout.readline())["code"])


def _child(command: dict[str, object]) -> None:
    from sealift.cli.main import run
    from sealift.store.steps import Step, watch_steps

    os.setsid()
    out = os.open(str(command["out"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    steps = os.open(str(command["steps"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    numbers = itertools.count(1)

    def count(step: Step, path: Path) -> None:
        number = next(numbers)  # atomic: two threads that stage objects never skip a number
        os.write(steps, f"{step.name} {path.name}\n".encode())
        if number == command["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_steps(count)
    code = 1
    try:
        code = run([str(word) for word in command["argv"]])  # type: ignore[attr-defined]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main() -> None:
    for verb in VERBS:
        importlib.import_module(f"sealift.cli.{verb}")
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            reply = {"code": os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])}
        else:
            pid = os.fork()
            if pid == 0:
                _child(command)
            if command.get("background"):
                reply = {"pid": pid}
            else:
                reply = {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    _main()
