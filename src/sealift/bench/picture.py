"""Latency against rate as an SVG picture and a self-contained HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sealift.bench.ladder import Curve
from sealift.bench.plot import axes_of
from sealift.bench.report import rows, sentences

_WIDTH: Final = 720
_HEIGHT: Final = 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 30, 20, 50
_WIDE: Final = _WIDTH - _LEFT - _RIGHT
_TALL: Final = _HEIGHT - _TOP - _BOTTOM


@dataclass(frozen=True, slots=True)
class _Frame:
    """From rates and latencies to places in the picture; the latency's axis is logarithmic."""

    low: float
    high: float
    most: float

    def x(self, rate: float | None) -> float:
        return round(_LEFT + (rate or 0.0) / self.most * _WIDE, 1)

    def y(self, ms: float | None) -> float:
        return round(_TOP + (self.high - math.log10(ms or 1.0)) / (self.high - self.low) * _TALL, 1)


def svg(curve: Curve, title: str) -> str:
    """The same plot as one SVG picture that needs nothing else; '' of fewer than two rates."""
    steps = [step for step in curve.ladder if step.p50_ms and step.p99_ms]
    if len(steps) < 2:
        return ""
    frame = _Frame(*axes_of(curve, steps))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">'
        f"<title>{html.escape(title)}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f'<text x="{_LEFT}" y="18" font-size="14">{html.escape(title)}</text>'
    )
    p50 = [(frame.x(step.offered_rps), frame.y(step.p50_ms)) for step in steps]
    p99 = [(frame.x(step.offered_rps), frame.y(step.p99_ms)) for step in steps]
    lines = [*_line("p50", "#06c", p50), *_line("p99", "#d60", p99)]
    return "".join([head, *_axes(frame), *_marks(frame, curve), *lines, "</svg>"])


def _axes(frame: _Frame) -> Iterator[str]:
    for ms in _ticks(frame.low, frame.high):
        yield f'<path d="M{_LEFT} {frame.y(ms)}h{_WIDE}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{frame.y(ms) + 4}" text-anchor="end">{ms:g} ms</text>'
    for share in (0, 0.25, 0.5, 0.75, 1):
        rate = frame.most * share
        yield f'<text x="{frame.x(rate)}" y="{_HEIGHT - 28}" text-anchor="middle">{rate:,.0f}</text>'
    middle = _LEFT + _WIDE / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">requests/s offered</text>'


def _marks(frame: _Frame, curve: Curve) -> Iterator[str]:
    """The SLO across, the knee from top to bottom."""
    if curve.slo_ms is not None:
        at = frame.y(curve.slo_ms)
        yield f'<path d="M{_LEFT} {at}h{_WIDE}" stroke="#b00" stroke-dasharray="6 4"/>'
        yield f'<text x="{_LEFT + 4}" y="{at - 4}" fill="#b00">SLO {curve.slo_ms:g} ms</text>'
    if (knee := curve.knee.step) is not None:
        at = frame.x(knee.offered_rps)
        is_right = at > _LEFT + _WIDE / 2
        place = f'x="{at - 4}" text-anchor="end"' if is_right else f'x="{at + 4}"'
        yield f'<path d="M{at} {_TOP}v{_TALL}" stroke="#777" stroke-dasharray="2 3"/>'
        yield f'<text {place} y="{_TOP + 12}">knee {knee.offered_rps:,.0f}/s</text>'


def _line(name: str, colour: str, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    through = " ".join(f"{x},{y}" for x, y in points)
    yield f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{through}"/>'
    for x, y in points:
        yield f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
    x, y = points[-1]
    yield f'<text x="{x - 6}" y="{y - 8}" text-anchor="end" fill="{colour}">{name}</text>'


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


def _ticks(low: float, high: float) -> list[float]:
    found = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= math.log10(digit * 10.0**power) <= high
    ]
    return found or [float(f"{10**low:.2g}"), float(f"{10**high:.2g}")]
