"""What both acts stand on: the demo's folder, the screen, and commands shown, run and timed."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from sealift.bundle import layout
from sealift.demo.commands import Background, Completed, Runner
from sealift.demo.namespace import OfflineState
from sealift.demo.screen import Screen
from sealift.demo.workplace import tree_size

PROJECT: Final = "project"
"""The project's folder; not the service's name, which `serve` would then take for the folder."""
PREFIX: Final = ("--prefix", "box")
SIGNING: Final = ("--keys", "keys", "--passphrase-file", "passphrase", "--no-input")
SEALIFT: Final = (sys.executable, "-m", "sealift")


class Gap(Protocol):
    """Where the box's commands run; `AirGap` is the real one."""

    state: OfflineState

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside."""
        ...


class CommandFailed(Exception):
    """A command of the demo ended as it should not; `code` is its exit code, and it was shown already."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Box:
    """The service that the first act leaves running: where it runs, and where it answers."""

    gap: Gap
    server: Background
    url: str
    photos: tuple[Path, ...]


@dataclass(slots=True)
class Stage:
    """Runs commands in the demo's folder, and keeps what took how long and the bytes of each bundle."""

    screen: Screen
    folder: Path
    runner: Runner
    times: list[tuple[str, float]] = field(default_factory=list)
    bundles: list[tuple[str, int]] = field(default_factory=list)

    def sealift(
        self, title: str, argv: list[str], gap: Gap | None = None, *, live: bool = False, ends_with: int = 0
    ) -> Completed:
        """Show the command, run it, show what it said.

        Args:
            title: its line in the table of times; "" for none.
            gap: the box it runs on; None for the engineer's machine.
            live: messages and progress bars go to the terminal if there is one.
            ends_with: the exit code that the story wants; it is shown where it is not 0.
        Raises: CommandFailed: it ended with another one.
        """
        self.screen.command(["sealift", *argv])
        command = [*SEALIFT, *argv]
        done = self.runner.run(gap.wrap(command) if gap else command, live=live)
        if title:
            self.times.append((title, done.seconds))
        if done.code != ends_with:
            self.fail(done)
        self.screen.echo(done.output)
        if done.code != 0:
            self.screen.echo(_message(done.errors))
            self.screen.note(f"exit code {done.code}")
        return done

    def quiet(self, argv: list[str]) -> dict[str, Any]:
        """The JSON document that a command prints; nothing is shown. Raises: CommandFailed."""
        done = self.runner.run(argv)
        if done.code != 0:
            self.fail(done)
        document: dict[str, Any] = json.loads(done.output)
        return document

    def fail(self, done: Completed) -> NoReturn:
        """Show what the command said. Raises: CommandFailed: always."""
        self.screen.echo(done.output)
        self.screen.failure(done.errors)
        code = exit_code(done)
        self.screen.failure(f"the command above failed with exit code {code}; the story ends here")
        raise CommandFailed(code or 1)

    def carried(self) -> list[Path]:
        """The bundles on the folder `usb`."""
        return sorted(path for path in (self.folder / "usb").iterdir() if path.suffix == layout.SUFFIX)

    def weigh(self, title: str) -> None:
        """Remember the size of what is on `usb` now, for the table of sizes."""
        self.bundles.append((title, tree_size(self.folder / "usb")[1]))

    @contextlib.contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """A line in the table of times."""
        start = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - start))

    def note_within(self, title: str, part: str, seconds: float) -> None:
        """A line below that of `title`, indented: a part of its time."""
        place = [name for name, _ in self.times].index(title)
        self.times.insert(place + 1, (f"  {part}", seconds))


def exit_code(done: Completed) -> int:
    """As a shell shows it: 128 and the signal's number for a command that a signal ended."""
    return done.code if done.code >= 0 else 128 - done.code


def _message(errors: str) -> str:
    """Without the progress lines before it."""
    place = errors.find("sealift ")
    return errors[max(place, 0) :]


def megabytes(size: int) -> str:
    """`88.8`, in 10^6 bytes."""
    return f"{size / 1e6:.1f}"
