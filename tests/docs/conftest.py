"""The documents as data: pages, fenced blocks, command lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block: `language`, the `title` where one is given (a file to write), its text and place."""

    language: str
    title: str | None
    text: str
    place: str


@dataclass(frozen=True)
class Command:
    """A console line: what is typed, and what the page says it prints."""

    typed: str
    expected: str


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
            line = self.text.count("\n", 0, match.start()) + 1
            found.append(Fence(language, title, match["text"], f"{self.name}:{line}"))
        return found

    def commands(self) -> list[Command]:
        """Every command of the console blocks, with its expected output."""
        found: list[Command] = []
        for fence in self.fences():
            if fence.language == "console":
                found += _console(fence.text)
        return found


def _console(text: str) -> list[Command]:
    joined = text.replace("\\\n", "\\\0")  # a continued command is one line
    found: list[Command] = []
    for line in joined.splitlines():
        line = line.replace("\\\0", "\\\n")
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        else:
            last = found.pop()
            found.append(Command(last.typed, f"{last.expected}{line}\n"))
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> list[Page]:
    """Every page that a reader may open."""
    return [Page(path) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))]


@pytest.fixture(scope="session")
def quickstart() -> Page:
    """The tutorial in English."""
    return Page(ROOT / "docs" / "tutorial" / "quickstart.md")


@pytest.fixture(scope="session")
def quickstart_zh() -> Page:
    """The tutorial in Chinese."""
    return Page(ROOT / "docs" / "tutorial" / "quickstart.zh-CN.md")
