"""What the demo prints: headings, commands with a `$`, their output indented, tables; 100 columns at most."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Sequence
from typing import Final, TextIO

WIDTH: Final = 100
_MAX_LINES: Final = 48


class Screen:
    """Writes to `out` and flushes each time, so that the order holds beside a progress bar on stderr.

    Colours only on a terminal, and never with NO_COLOR set (https://no-color.org) or TERM=dumb.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._colours = out.isatty() and not dumb

    def title(self, text: str) -> None:
        """The first line."""
        self._write(self._paint(text, "1"))

    def step(self, text: str) -> None:
        """A heading after an empty line."""
        self._write("")
        self._write(self._paint(text, "1;36"))

    def command(self, argv: Sequence[str], *, background: bool = False) -> None:
        """The command as it would be typed, folded with backslashes where it is long."""
        lines = _fold([*map(shlex.quote, argv), *(["&"] if background else [])], WIDTH - 6)
        for number, line in enumerate(lines):
            self._write(self._paint(f"{'$ ' if number == 0 else '    '}{line}", "32"))

    def echo(self, text: str) -> None:
        """A command's own output, indented and wrapped; a long one is cut, and it says so.

        What fills the screen to its edge keeps its lines, and is not indented.
        """
        given = [line.expandtabs() for line in text.rstrip().splitlines()]
        indent = "" if max(map(len, given), default=0) in (WIDTH - 1, WIDTH) else "  "
        lines = [part for line in given for part in _wrap(line, WIDTH - len(indent))]
        for line in lines[:_MAX_LINES]:
            self._write(f"{indent}{line}".rstrip())
        if len(lines) > _MAX_LINES:
            self._write(f"  ... and {len(lines) - _MAX_LINES} more lines")

    def note(self, text: str) -> None:
        """A remark of the demo's own."""
        for line in _fold(text.split(), WIDTH - 2, " "):
            self._write(self._paint("  " + line, "2"))

    def failure(self, text: str) -> None:
        """What went wrong, wrapped and never cut."""
        for line in text.rstrip("\n").splitlines():
            for part in textwrap.wrap(line, WIDTH, subsequent_indent="    ", replace_whitespace=False) or [
                ""
            ]:
                self._write(self._paint(part, "31"))

    def table(self, rows: Sequence[Sequence[str]], left: int = 1) -> None:
        """The first row is the heading; the first `left` columns stand left, the others right."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [
                cell.ljust(width) if column < left else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            line = _cut("  " + "  ".join(cells).rstrip(), WIDTH)
            self._write(self._paint(line, "2") if number == 0 else line)

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def _wrap(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())] + "    "
    return textwrap.wrap(line, width, subsequent_indent=indent[: width // 2], break_on_hyphens=False)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _fold(words: Sequence[str], width: int, end: str = " \\") -> list[str]:
    lines, current = [], ""
    for word in words:
        if current and len(current) + 1 + len(word) > width:
            lines.append((current + end).rstrip())
            current = word
        else:
            current = f"{current} {word}" if current else word
    return [*lines, current]
