"""The tutorial is run as it is printed, and says in both languages the same."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

PRINTED_PORT = "8000"
LONGEST_S = 560


class Command(Protocol):
    """As `conftest.Command`."""

    @property
    def typed(self) -> str: ...
    @property
    def expected(self) -> str: ...


class Fence(Protocol):
    """As `conftest.Fence`."""

    @property
    def language(self) -> str: ...
    @property
    def title(self) -> str | None: ...
    @property
    def text(self) -> str: ...


class Page(Protocol):
    """As `conftest.Page`."""

    def fences(self) -> list[Fence]: ...
    def commands(self) -> list[Command]: ...


def files_of(page: Page) -> dict[str, str]:
    """The files that the reader is asked to write, by name."""
    return {fence.title: fence.text for fence in page.fences() if fence.title is not None}


def test_both_languages_have_the_same_commands_and_files(quickstart: Page, quickstart_zh: Page) -> None:
    english = [(command.typed, command.expected) for command in quickstart.commands()]
    chinese = [(command.typed, command.expected) for command in quickstart_zh.commands()]
    assert chinese == english
    assert len(english) > 10
    assert files_of(quickstart_zh) == files_of(quickstart)


def as_pattern(expected: str) -> re.Pattern[str]:
    """`...` in a line is any text of the line; a line of nothing but `...` is any number of lines."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n")
    return re.compile("".join(parts))


def test_dots_stand_for_text_and_for_lines() -> None:
    assert as_pattern("a ... c\n...\nend\n").fullmatch("a b c\n1\n2\nend\n")
    assert not as_pattern("a ... c\n").fullmatch("a b\n")
    assert not as_pattern("end\n").fullmatch("1\nend\n")


def free_port() -> str:
    """A port of the loopback that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def write_shims(folder: Path) -> None:
    """`sealift` and `python` as a virtual environment would offer them."""
    folder.mkdir()
    for name, module in (("sealift", "-m sealift"), ("python", "")):
        shim = folder / name
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        shim.chmod(0o755)


def script_of(page: Page, port: str) -> str:
    """One bash session: files appear just before the command that follows them, a mark before each command."""
    lines = ["set -eu -o pipefail", "exec 2>&1"]
    number = 0
    for fence in page.fences():
        if fence.title is not None:
            folder = Path(fence.title).parent
            lines.append(f"mkdir -p {folder}\ncat > {fence.title} <<'END_OF_FILE'\n{fence.text}END_OF_FILE")
        elif fence.language == "console":
            count = sum(line.startswith("$ ") for line in fence.text.splitlines())
            for command in page.commands()[number : number + count]:
                lines += [f"echo '@@@{number}'", command.typed.replace(PRINTED_PORT, port)]
                number += 1
    return "\n".join([*lines, "echo '@@@end'", ""])


def run_bash(script: str, folder: Path, root: Path) -> str:
    """All that the session printed. Whatever it left running is ended."""
    write_shims(folder / ".bin")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")}
    environment = kept | {"PATH": f"{folder / '.bin'}:{os.environ['PATH']}", "PYTHONPATH": str(root / "src")}
    session = subprocess.Popen(
        ["bash", "-s"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = session.communicate(script, timeout=LONGEST_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session.pid, signal.SIGKILL)
    return output


@pytest.mark.slow
def test_the_quickstart_works_as_it_is_printed(quickstart: Page, tmp_path: Path, root: Path) -> None:
    """From an empty folder to an updated service, through every command, with what the page says they print."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    port = free_port()
    output = run_bash(script_of(quickstart, port), tmp_path, root)
    commands = quickstart.commands()
    assert "@@@end" in output, f"a command failed:\n{output[-3000:]}"
    for number, command in enumerate(commands):
        following = str(number + 1) if number + 1 < len(commands) else "end"
        printed = output.partition(f"@@@{number}\n")[2].partition(f"@@@{following}\n")[0]
        expected = command.expected.replace(PRINTED_PORT, port)
        assert as_pattern(expected).fullmatch(printed), f"$ {command.typed}\n{printed}\nexpected:\n{expected}"
