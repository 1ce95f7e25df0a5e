"""A page -> lines for a terminal; nothing of a bundle reaches it unescaped."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from sealift.inspect.page import Page, Section
from sealift.inspect.visible import visible


def draw(page: Page) -> str:
    """The page; its first line says whether anybody vouches."""
    state = "VERIFIED" if page.verified else "NOT VERIFIED"
    lines = [f"{state}  {visible(page.product)} {visible(page.version)}  sha256:{page.identity}"]
    lines += [f"  {name:>11} {visible(value)}" for name, value in page.head]
    if page.missing:
        lines += ["  still missing:", *(f"    - {visible(sentence)}" for sentence in page.missing)]
    lines += [f"  warning: {visible(warning)}" for warning in page.warnings]
    for section in page.sections:
        lines += ["", visible(section.title), *_rows(section)]
    return "\n".join(lines)


def _rows(section: Section) -> list[str]:
    rows = [tuple(visible(cell) for cell in row) for row in section.rows]
    if not section.header and rows and len(rows[0]) == 2:
        return [f"  {label:<6}  {value}" for label, value in rows]
    return [f"  {line}" for line in columns(rows, section.right)]


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of cells two spaces apart; `right` lists the columns to align right."""
    if not rows:
        return []
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> list[str]:
    cells = []
    for column, cell in enumerate(row):
        space = " " * (widths[column] - _width(cell))
        cells.append(space + cell if column in right else cell + space)
    return cells


def _width(text: str) -> int:
    """Places on a terminal: a Chinese character takes two."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
