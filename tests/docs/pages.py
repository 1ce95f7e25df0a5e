"""The documents as data: pages, fenced blocks, the commands that a page has its reader type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"(?:^<!-- shown by (?P<shown>\S+) -->\n\n?)?^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_SHELL: Final = ("sh", "console")


@dataclass(frozen=True)
class Fence:
    """A fenced block: `language`, the `title` where one is given (a file to write), its text and place.

    `shown_by` names the test that does what the block says, where the page's own session cannot.
    """

    language: str
    title: str | None
    text: str
    place: str
    shown_by: str | None = None

    @property
    def is_shell(self) -> bool:
        """Commands to type."""
        return self.language in _SHELL


@dataclass(frozen=True)
class Command:
    """What is typed, what the page says it prints (None: it does not say), and where it stands."""

    typed: str
    expected: str | None
    place: str = ""


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def fences(self) -> list[Fence]:
        """In order."""
        found = []
        for match in _FENCE.finditer(self.text):
            language, _, rest = match["info"].strip().partition(" ")
            title = rest.removeprefix("title=") if rest.startswith("title=") else None
            line = self.text.count("\n", 0, match.start("info")) + 1
            found.append(Fence(language, title, match["text"], f"{self.name}:{line}", match["shown"]))
        return found

    def commands(self) -> list[Command]:
        """Every command that the reader types, but those that another test shows."""
        return [step for step in self.steps() if isinstance(step, Command)]

    def steps(self) -> Iterator[Command | Fence]:
        """What the reader does, in order: commands, and files to write."""
        for fence in self.fences():
            if fence.title is not None:
                yield fence
            elif fence.is_shell and fence.shown_by is None:
                yield from _commands(fence)


def page(name: str) -> Page:
    """A page by its path below docs/."""
    return Page(ROOT / "docs" / name)


def all_pages() -> list[Page]:
    """Every page that a reader may open."""
    return [Page(path) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))]


def _commands(fence: Fence) -> Iterator[Command]:
    """`$` lines of a console with what they print; every line of a script. A backslash goes on."""
    lines = fence.text.replace("\\\n", "\\\0").splitlines()
    if fence.language == "sh":
        yield from (Command(line.replace("\0", "\n"), None, fence.place) for line in lines if line.strip())
        return
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:].replace("\0", "\n"), "", fence.place))
        else:
            last = found.pop()
            found.append(Command(last.typed, f"{last.expected}{line}\n".replace("\0", "\n"), fence.place))
    yield from found
