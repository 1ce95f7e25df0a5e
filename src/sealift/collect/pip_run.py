"""Run pip for a target through `pip_start.py`: no argument on the command line, no password in what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealift.collect.pip_start import END_OF_RUN
from sealift.collect.tags import abi_of, markers_of, platforms_of
from sealift.events import Progress, Silent
from sealift.target.target import Target

_START = Path(__file__).with_name("pip_start.py")
_SECRET = re.compile(r"(?<=://)[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Said:
    """`code` is pip's exit code, `lines` all it said, in order, without passwords.

    `files` is what the indexes listed: file name -> size in bytes, None where the index states none.
    """

    code: int
    lines: tuple[str, ...]
    files: dict[str, int | None] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def run_pip(
    arguments: Sequence[str],
    target: Target | None = None,
    *,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> Said:
    """Run pip with the markers of `target` (None: this machine's own).

    Args:
        progress: each package that pip takes up is one advance.
        timeout_s: then pip is ended, and its exit code is negative.
    """
    return _start([arguments], target, progress or Silent(), timeout_s)


def run_pips(
    runs: Sequence[Sequence[str]], target: Target | None = None, *, timeout_s: float | None = None
) -> list[Said]:
    """Several runs, one after the other in one process: pip takes longer to start than to ask an index.

    Returns: one for each run; a negative exit code for those that `timeout_s` did not leave time for. `files` is the
    same in all: what the indexes listed in any of them.
    """
    said = _start(runs, target, Silent(), timeout_s)
    if len(runs) == 1:
        return [said]
    ended: list[Said] = []
    lines: list[str] = []
    for line in said.lines:
        if line.startswith(END_OF_RUN):
            ended.append(Said(int(line.rpartition(" ")[2]), tuple(lines), said.files))
            lines = []
        else:
            lines.append(line)
    return [*ended, *(Said(-1, tuple(lines), said.files) for _ in range(len(runs) - len(ended)))]


def _start(
    runs: Sequence[Sequence[str]], target: Target | None, progress: Progress, timeout_s: float | None
) -> Said:
    with tempfile.TemporaryDirectory(prefix="sealift-pip-") as folder:
        order, files = Path(folder) / "order.json", Path(folder) / "files.json"
        told = {
            "runs": [["--disable-pip-version-check", "--no-input", *arguments] for arguments in runs],
            "markers": None if target is None else markers_of(target),
            "files": str(files),
        }
        order.write_text(json.dumps(told), "utf-8")
        code, lines = _spoken(order, progress, timeout_s)
        listed = json.loads(files.read_text("utf-8")) if files.exists() else {}
    return Said(code, tuple(lines), listed)


def _spoken(order: Path, progress: Progress, timeout_s: float | None) -> tuple[int, list[str]]:
    command = [sys.executable, "-P", str(_START), str(order)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        if timeout_s is not None:
            try:
                output, _ = pip.communicate(timeout=timeout_s)
                lines = output.splitlines()
            except subprocess.TimeoutExpired:
                pip.kill()
            return pip.wait(), [without_secrets(line) for line in lines]
        assert pip.stdout is not None  # noqa: S101  asked for above
        for line in pip.stdout:
            lines.append(without_secrets(line.rstrip()))
            if line.lstrip().startswith(("Collecting ", "Processing ")):
                progress.advance()
    return pip.returncode, lines


def without_secrets(text: str) -> str:
    """`https://user:password@host/` -> `https://****@host/`."""
    return _SECRET.sub("****@", text)


def target_arguments(target: Target) -> list[str]:
    """pip compares platform tags by name: each level of the C library must be spelled out."""
    words = ["--python-version", target.python, "--implementation", "cp", "--abi", abi_of(target)]
    return words + [word for name in platforms_of(target) for word in ("--platform", name)]
