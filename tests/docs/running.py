"""A page as one shell session: every command that it shows is typed, and what is printed is held against the page."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tests.docs.pages import Command, Page

_MARK: Final = "@@@"
_SEALIFT: Final = "exec {python} -m sealift"


@dataclass(frozen=True)
class Place:
    """Where a page is run.

    `swaps`: what the page says -> what it is here, for paths and ports. `before` is typed first, unseen.
    `environment` is added, `wrap` runs the shell, `shims` are commands of that text.
    """

    folder: Path
    root: Path
    swaps: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    wrap: Sequence[str] = ()
    shims: Mapping[str, str] = field(default_factory=dict)
    longest_s: float = 120.0

    def here(self, text: str) -> str:
        """The page's words for this place."""
        for said, found in self.swaps.items():
            text = text.replace(said, found)
        return text


def as_pattern(expected: str) -> re.Pattern[str]:
    """`...` in a line is any text of the line; a line of nothing but `...` is any number of lines."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n")
    return re.compile("".join(parts))


def require_as_printed(page: Page, place: Place) -> None:
    """Type every command of the page, in order, in one session.

    Raises: AssertionError: a command failed or printed something else than the page says; shows both.
    """
    output = _run(_script(page, place), place)
    number = 0
    for number, command in enumerate(page.commands()):
        before, mark, rest = output.partition(f"{_MARK}{number} ")
        code, _, output = rest.partition("\n")
        where = f"{command.place}: $ {command.typed}\n{before}"
        assert mark, f"{where}\nthe session ended here"
        assert code == "0", f"{where}\nended with {code}: a page writes `; echo $?` where that is meant"
        if command.expected is not None:
            expected = place.here(command.expected)
            assert as_pattern(expected).fullmatch(before), f"{where}\nexpected:\n{expected}"


def free_port() -> str:
    """A port of the loopback that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _script(page: Page, place: Place) -> str:
    """One bash session: a file of the page appears in its place, a mark with the exit code after each command."""
    lines = ["exec 2>&1", "set -o pipefail", place.before]
    number = 0
    for step in page.steps():
        if isinstance(step, Command):
            lines += [place.here(step.typed), f"echo '{_MARK}{number} '$?"]
            number += 1
        else:
            folder = Path(step.title or "").parent
            lines.append(
                f"mkdir -p {folder}\ncat > {step.title} <<'END_OF_FILE'\n{place.here(step.text)}END_OF_FILE"
            )
    return "\n".join([*lines, ""])


def _run(script: str, place: Place) -> str:
    """All that the session printed after what came before the page. Whatever it left running is ended."""
    _write_shims(place)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")}
    environment = {
        **kept,
        "PATH": f"{place.folder / '.bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(place.root / "src"),
        **place.environment,
    }
    (place.folder / ".script").write_text(script)
    with (place.folder / ".said").open("wb") as said:
        _run_session([*place.wrap, "bash", ".script"], place, environment, said)
    return (place.folder / ".said").read_text(errors="replace")


def _run_session(argv: Sequence[str], place: Place, environment: Mapping[str, str], said: IO[bytes]) -> None:
    session = subprocess.Popen(
        argv,
        cwd=place.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=said,
        start_new_session=True,
    )
    try:
        session.wait(place.longest_s)
    except subprocess.TimeoutExpired:
        said.write(b"\n(not done in time)\n")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session.pid, signal.SIGKILL)
        session.wait()


def _write_shims(place: Place) -> None:
    """`sealift` and `python` as an installation offers them; `sudo`, for a prefix of one's own."""
    folder = place.folder / ".bin"
    folder.mkdir(exist_ok=True)
    texts = {
        "sealift": _SEALIFT.format(python=sys.executable) + ' "$@"',
        "python": f'exec {sys.executable} "$@"',
        "sudo": 'exec "$@"',
        **place.shims,
    }
    for name, text in texts.items():
        shim = folder / name
        shim.write_text(f"#!/bin/sh\n{text}\n")
        shim.chmod(0o755)
