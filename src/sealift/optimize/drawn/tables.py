"""Tables that stay tables for a screen reader when a phone shows their rows as cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sealift.optimize.drawn.markup import Markup, joined, tag

ABSENT: Final = "\u2013"
"""The cell of a figure that there is none of; a phone leaves it out."""
_SHORT: Final = 14


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: `share` 0..1 of the whole width, None where it is not known; `kind` is the colour's name."""

    name: str
    share: float | None
    value: str
    kind: str
    note: str = ""


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> Markup:
    """The first cell of a row is its header; markup in cells is kept, words are escaped."""
    head = joined(tag("th", cell, scope="col", class_=_kind(cell), role="columnheader") for cell in header)
    body = joined(_row(header, row) for row in rows)
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head, role="row"), role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
        class_=f"cards {kind}".strip(),
        role="table",
    )


def _row(header: Sequence[str], row: Sequence[str]) -> Markup:
    first = tag("th", row[0], scope="row", class_=_kind(row[0]), role="rowheader")
    cells = [_cell(label, cell) for label, cell in zip(header[1:], row[1:], strict=True)]
    return tag("tr", first, *cells, role="row")


def _cell(label: str, cell: str) -> Markup:
    words = tag("span", f"{label} ", class_="label", aria_hidden="true")
    return tag(
        "td", words, tag("span", cell), class_="absent" if cell == ABSENT else _kind(cell), role="cell"
    )


def _kind(cell: str) -> str:
    """`short` is never broken into two lines; a long word must be, or the table would leave the page."""
    return "short" if len(cell) <= _SHORT and not isinstance(cell, Markup) else "long"


def bars(
    caption: str, columns: tuple[str, str], rows: Sequence[Bar], grid: Sequence[float] | None = None
) -> Markup:
    """Names, horizontal bars and values; with `grid` in dense rows, and lines at each of its shares.

    Every bar is an SVG of its own that is as wide as its cell, so that type keeps its size on any screen.
    """
    head = joined(
        [
            tag("th", columns[0], scope="col", role="columnheader"),
            tag("th", columns[1], scope="col", role="columnheader"),
        ]
    )
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head, role="row"), class_="unseen", role="rowgroup"),
        tag("tbody", *(_bar_row(row, grid or ()) for row in rows), role="rowgroup"),
        class_="bars" if grid is None else "bars dense",
        role="table",
    )


def _bar_row(row: Bar, grid: Sequence[float]) -> Markup:
    name = tag("th", row.name, scope="row", class_=_kind(row.name), role="rowheader")
    note = tag("span", row.note, class_="note") if row.note else ""
    value = tag("span", tag("b", row.value), " ", note, class_="value")
    return tag("tr", name, tag("td", _bar(row, grid), value, role="cell"), role="row")


def _bar(row: Bar, grid: Sequence[float]) -> Markup:
    inside: list[str] = [
        tag("line", x1=f"{at * 100:.2f}%", x2=f"{at * 100:.2f}%", y1=0, y2="100%", class_="grid")
        for at in grid
    ]
    if row.share is not None:
        wide = max(0.6, min(1.0, row.share) * 100)
        inside.append(tag("rect", x=0, y=3, width=f"{wide:.2f}%", height=14, rx=3, class_=f"bar {row.kind}"))
    return tag("svg", *inside, class_="bar", height=20, aria_hidden="true")
