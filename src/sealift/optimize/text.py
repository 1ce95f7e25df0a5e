"""QualityReport -> what the terminal shows: a table, the verdict, why not the others, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import TextWrapper
from typing import Final

from sealift.optimize.drawn.frontier import first_comparison
from sealift.optimize.drawn.markup import printable
from sealift.optimize.figures import (
    SHARES,
    UNKNOWN,
    digits,
    interval,
    metric_difference,
    metric_name,
    plain,
    rate,
    size,
    speedup_words,
    standing_words,
)
from sealift.optimize.report import Comparison, QualityReport, Speed, Standing, Suspicion, Variant

WIDTH: Final = 100
"""Columns of a line at most."""
_GAP: Final = 2
_NONE: Final = "-"
_SHORTEST: Final = 8
_READABLE: Final = 12
"""Letters of a name below which the column of p99 is left out instead; the page has it."""
_P99: Final = 3


def summary(report: QualityReport, place: str = ".") -> str:
    """The whole summary, every line at most `WIDTH` columns and printable.

    Args:
        place: the project's folder, as the next command names it.
    """
    first = first_comparison(report)
    rows = [_header(first), *(_row(report, variant, first) for variant in report.variants)]
    parts = [_table(rows), "", *_wrapped(report.verdict)]
    for variant in report.variants:
        parts += _why(variant)
    for suspicion in report.suspicions:
        parts += _suspicion(suspicion)
    parts += [line for note in report.notes for line in _wrapped(f"note: {note}", "  ")]
    return "\n".join([*parts, *_next(report, place)])


def _header(first: Comparison | None) -> list[str]:
    head = ["variant", "size", "p50 ms", "p99 ms", "rows/s", "speed-up"]
    if first is not None:
        head.append(metric_name(first.metric) + (", points" if first.metric in SHARES else " change"))
    return [*head, "standing"]


def _row(report: QualityReport, variant: Variant, first: Comparison | None) -> list[str]:
    is_reference = variant is report.variants[0]
    cells = [
        variant.name,
        size(variant.size) if variant.size else _NONE,
        *_speed(variant.speed, is_reference),
    ]
    if first is not None:
        cells.append(_accuracy(variant, first.metric))
    stays = is_reference and variant.standing in (Standing.PASSED, Standing.REFUSED)
    return [*cells, "reference" if stays else variant.standing.value]


def _speed(speed: Speed | None, is_reference: bool) -> list[str]:
    if speed is None:
        return [_NONE] * 4
    faster = "1" if is_reference else speedup_words(speed).replace(" to ", "-")
    figures = (digits(speed.p50_ms), digits(speed.p99_ms), rate(speed.rows_per_s).removesuffix("/s"), faster)
    return [figure.replace(UNKNOWN, "?") for figure in figures]


def _accuracy(variant: Variant, metric: str) -> str:
    found = next((c for c in variant.comparisons if c.metric == metric), None)
    if found is None:
        return _NONE
    difference = metric_difference(metric, found.difference).split("\u202fpoints")[0]
    return f"{difference} ({interval(found.interval, metric)})".replace(UNKNOWN, "?")


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns apart; names give way until the rest fits, then p99, and what is still too long is cut."""
    told = [[_plain(cell) for cell in row] for row in rows]
    widths = _widths(told)
    if widths[0] < min(_READABLE, max(len(row[0]) for row in told)):
        told = [row[:_P99] + row[_P99 + 1 :] for row in told]
        widths = _widths(told)
    last = len(widths) - 1
    lines = []
    for row in told:
        cells = [
            _cut(cell, width).ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_cut((" " * _GAP).join(cells).rstrip(), WIDTH))
    return "\n".join(lines)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    over = sum(widths) + _GAP * (len(widths) - 1) - WIDTH
    widths[0] = max(min(widths[0], _SHORTEST), widths[0] - max(0, over))
    return widths


def _why(variant: Variant) -> Iterator[str]:
    """What there is to say of one variant: its reasons; of what travels also how it compares."""
    first, *more = variant.reasons or ("",)
    if first:
        yield from _wrapped(f"{variant.name} {variant.standing.value}: {first}")
    for reason in more:
        yield from _wrapped(reason, "    ")
    if variant.standing in (Standing.SHIPS, Standing.TRAVELS):
        for comparison in variant.comparisons:
            yield from _wrapped(standing_words(comparison), "    ")


def _suspicion(suspicion: Suspicion) -> Iterator[str]:
    how = "suspected" if suspicion.certain else "suspected (chance is not excluded)"
    yield from _wrapped(f"{how}: {suspicion.what}. {suspicion.sentence}")
    for alternative in suspicion.alternatives:
        change = "; ".join(alternative.change.splitlines())
        yield from _wrapped(f"{change}  ->  {standing_words(alternative.comparison)}", "    ")


def _next(report: QualityReport, place: str) -> list[str]:
    if report.suspicions:
        return _wrapped(f"next: correct sealift.toml, then sealift optimize {place}")
    return _wrapped(f"next: sealift pack {place}")


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    wrapper = TextWrapper(
        WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )
    return wrapper.wrap(_plain(text))


def _plain(text: str) -> str:
    return plain(printable(text))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."
