"""Latency against rate: as text for a terminal, as SVG and as a self-contained HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Final

from sealift.bench.knee import is_good
from sealift.bench.ladder import Curve
from sealift.bench.tally import Step

_COLUMNS: Final = 64
_ROWS: Final = 16
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 720, 400, 70, 30, 20, 50
_HEADER: Final = (
    "load",
    "offered/s",
    "answered/s",
    "p50 ms",
    "p90",
    "p99",
    "p99.9",
    "rejected",
    "errors",
    "generator",
)


def rows(curve: Curve) -> list[tuple[str, ...]]:
    """The table: a header, then one row per step; `*` marks the knee, `!` a busy generator."""
    found: list[tuple[str, ...]] = [_HEADER]
    for step in (*curve.closed, *curve.ladder):
        what = f"{step.connections} clients" if step.offered_rps is None else "constant rate"
        mark = " *" if step is curve.knee.step else ""
        offered = "" if step.offered_rps is None else f"{step.offered_rps:,.0f}{mark}"
        times = (_ms(step.p50_ms), _ms(step.p90_ms), _ms(step.p99_ms), _ms(step.p999_ms))
        busy = f"{step.generator_cores:.2f}{'!' if step.generator_was_the_limit else ''}"
        errors = str(step.errors or "") + _error_statuses(step)
        found.append(
            (what, offered, f"{step.achieved_rps:,.0f}", *times, str(step.rejected or ""), errors, busy)
        )
    return found


def sentences(curve: Curve) -> list[str]:
    """What the figures mean, the knee first."""
    knee = curve.knee.step
    if not curve.ladder:
        lines = []
    elif knee is None:
        lines = [f"knee: none: already the lowest rate is answered badly ({curve.knee.rule})"]
    else:
        lines = [f"knee: {knee.offered_rps:,.0f} requests/s, p99 {_ms(knee.p99_ms)} ms ({curve.knee.rule})"]
        if knee is curve.ladder[-1]:
            lines.append("  it is the highest rate that was tried: name higher ones with --rates")
        elif any(is_good(step, curve.knee.bound_ms or 0.0) for step in _above(curve)):
            lines.append(
                "  higher rates passed again: the machine was not quiet; try again with longer --seconds"
            )
    if curve.generator_was_the_limit:
        lines.append(
            "warning: at the rows with ! the load generator was busy or late: what they show may be its limit, "
            "not the server's; use a generator on another machine with --url"
        )
    lines += [f"warning: {problem}" for problem in curve.problems]
    return lines


def text_plot(curve: Curve) -> str:
    """p50 (`o`) and p99 (`#`) against the rate offered, both axes from the data; `|` is the knee, `-` the SLO."""
    steps = [step for step in curve.ladder if step.p50_ms and step.p99_ms]
    if len(steps) < 2:
        return ""
    low, high, most = _bounds(curve, steps)
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]

    def column(rate: float) -> int:
        return min(_COLUMNS - 1, round(rate / most * (_COLUMNS - 1)))

    def row(ms: float) -> int:
        share = (math.log10(ms) - low) / (high - low)
        return _ROWS - 1 - min(_ROWS - 1, max(0, round(share * (_ROWS - 1))))

    if curve.knee.step is not None:
        for line in grid:
            line[column(curve.knee.step.offered_rps or 0.0)] = "|"
    if curve.slo_ms is not None:
        grid[row(curve.slo_ms)] = ["-" if mark == " " else mark for mark in grid[row(curve.slo_ms)]]
    for step in steps:
        at = column(step.offered_rps or 0.0)
        grid[row(step.p50_ms or 1.0)][at] = "o"
        grid[row(step.p99_ms or 1.0)][at] = "#"
    lines = []
    for number, line in enumerate(grid):
        ms = 10 ** (high - (high - low) * number / (_ROWS - 1))
        label = _ms(ms) if number % 5 == 0 else ""
        lines.append(f"{label:>8} |{''.join(line).rstrip()}")
    lines.append(f"{'ms':>8} +{'-' * _COLUMNS}")
    right = f"{most:,.0f} requests/s"
    lines.append(f"{'':>8}  0{right:>{_COLUMNS - 1}}")
    legend = "o p50   # p99" + ("   | knee" if curve.knee.step else "") + ("   - SLO" if curve.slo_ms else "")
    return "\n".join([*lines, f"{'':>10}{legend}"])


def svg(curve: Curve, title: str) -> str:
    """The same plot as one SVG picture that needs nothing else; '' of fewer than two rates."""
    steps = [step for step in curve.ladder if step.p50_ms and step.p99_ms]
    if len(steps) < 2:
        return ""
    low, high, most = _bounds(curve, steps)
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(rate: float) -> float:
        return round(_LEFT + rate / most * wide, 1)

    def y(ms: float) -> float:
        return round(_TOP + (high - math.log10(ms)) / (high - low) * tall, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{html.escape(title)}</text>',
    ]
    for ms in _ticks(low, high):
        parts.append(f'<path d="M{_LEFT} {y(ms)}H{_LEFT + wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(ms) + 4}" text-anchor="end">{ms:g} ms</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<text x="{x(most * share)}" y="{_HEIGHT - 28}" text-anchor="middle">{most * share:,.0f}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 8}" text-anchor="middle">requests/s offered</text>'
    )
    if curve.slo_ms is not None:
        at = y(curve.slo_ms)
        parts.append(f'<path d="M{_LEFT} {at}H{_LEFT + wide}" stroke="#b00" stroke-dasharray="6 4"/>')
        parts.append(f'<text x="{_LEFT + 4}" y="{at - 4}" fill="#b00">SLO {curve.slo_ms:g} ms</text>')
    if (knee := curve.knee.step) is not None:
        at = x(knee.offered_rps or 0.0)
        parts.append(f'<path d="M{at} {_TOP}V{_TOP + tall}" stroke="#777" stroke-dasharray="2 3"/>')
        parts.append(
            f'<text x="{at - 4}" y="{_TOP + 12}" text-anchor="end">knee {knee.offered_rps:,.0f}/s</text>'
        )
    for colour, name, values in (
        ("#06c", "p50", [(step.offered_rps, step.p50_ms) for step in steps]),
        ("#d60", "p99", [(step.offered_rps, step.p99_ms) for step in steps]),
    ):
        points = [(x(rate or 0.0), y(ms or 1.0)) for rate, ms in values]
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" '
            f'points="{" ".join(f"{a},{b}" for a, b in points)}"/>'
        )
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(
            f'<text x="{points[-1][0] - 6}" y="{points[-1][1] - 8}" text-anchor="end" fill="{colour}">{name}</text>'
        )
    return "".join([*parts, "</svg>"])


def page(curve: Curve, title: str, facts: Sequence[str]) -> str:
    """The whole report as one HTML file: no script, nothing loaded from elsewhere."""
    header, *body = rows(curve)
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    said = "".join(f"<p>{html.escape(line)}</p>" for line in (*facts, *sentences(curve)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:15px sans-serif;margin:2em;max-width:60em}td,th{text-align:right;padding:.2em .7em}"
        "td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f4f4f4}"
        "table{border-collapse:collapse}</style>"
        f"<h1>{html.escape(title)}</h1>{said}{svg(curve, title)}"
        f"<table><tr>{cells}</tr>{lines}</table></html>\n"
    )


def _bounds(curve: Curve, steps: Sequence[Step]) -> tuple[float, float, float]:
    """log10 of the lowest and the highest latency shown, and the highest rate."""
    times = [ms for step in steps for ms in (step.p50_ms, step.p99_ms) if ms]
    if curve.slo_ms is not None:
        times.append(curve.slo_ms)
    low, high = math.log10(min(times)), math.log10(max(times))
    return low, max(high, low + 0.1), max(step.offered_rps or 0.0 for step in steps)


def _above(curve: Curve) -> list[Step]:
    knee = curve.knee.step
    rate = knee.offered_rps or 0.0 if knee is not None else 0.0
    return [step for step in curve.ladder if (step.offered_rps or 0.0) > rate]


def _ticks(low: float, high: float) -> list[float]:
    found = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= math.log10(digit * 10.0**power) <= high
    ]
    return found or [float(f"{10**low:.2g}"), float(f"{10**high:.2g}")]


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _error_statuses(step: Step) -> str:
    """` (500: 3, no answer: 2)`."""
    parts = [f"{status}: {n}" for status, n in sorted(step.statuses.items()) if status not in (200, 429, 503)]
    parts += [f"broken: {step.failures}"] if step.failures else []
    parts += [f"no answer: {step.unanswered}"] if step.unanswered else []
    return f" ({', '.join(parts)})" if parts else ""
