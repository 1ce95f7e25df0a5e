"""What a person sees: progress on stderr, results on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

from sealift.events import Progress, Silent

JSON_SCHEMA: Final = 1
_WIDTH: Final = 28


@contextmanager
def progress_of(args: argparse.Namespace) -> Iterator[Progress]:
    """Bars on a terminal, one line a step elsewhere, nothing when quiet; leaves a whole line behind."""
    if args.quiet or args.json:
        yield Silent()
        return
    bars = Bars(sys.stderr)
    try:
        yield bars
    finally:
        bars.finish()


class Bars:
    """One bar at a time, redrawn at most every hundredth of its way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._title = ""
        self._total = 0
        self._done = 0
        self._drawn = -1

    def start(self, title: str, total: int | None = None) -> None:
        """As `Progress.start`."""
        self.finish()
        self._title, self._total, self._done, self._drawn = title, total or 0, 0, -1
        self._draw() if self._live else self._line(title)

    def advance(self, amount: int = 1) -> None:
        """As `Progress.advance`."""
        self._done += amount
        if self._live:
            self._draw()

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        self.finish()
        self._line(f"note: {text}")

    def finish(self) -> None:
        """Leave the line as it stands."""
        if self._live and self._title:
            self._stream.write("\n")
        self._title = ""

    def _draw(self) -> None:
        hundredth = self._done * 100 // self._total if self._total else 0
        if hundredth == self._drawn:
            return
        self._drawn = hundredth
        filled = min(_WIDTH, hundredth * _WIDTH // 100)
        bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {min(hundredth, 100):3d} %" if self._total else ""
        self._stream.write(f"\r  {self._title:<32} {bar}\x1b[K")
        self._stream.flush()

    def _line(self, text: str) -> None:
        self._stream.write(f"  {text}\n")
        self._stream.flush()


def print_result(args: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """The result once: as JSON with its schema number, or as text unless quiet."""
    if args.json:
        print(json.dumps({"schema": JSON_SCHEMA, **result}, indent=2, sort_keys=True))
    elif not args.quiet:
        print(text)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns two spaces apart; `right` lists the columns to align right."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def megabytes(size: int) -> str:
    """`12.3 MB`, 10^6 bytes."""
    return f"{size / 1e6:.1f} MB"
