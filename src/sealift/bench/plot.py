"""Latency against rate as text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sealift.bench.ladder import Curve
from sealift.bench.report import in_ms
from sealift.bench.tally import Step

_COLUMNS: Final = 64
_ROWS: Final = 16


def text_plot(curve: Curve) -> str:
    """p50 (`o`) and p99 (`#`) against the rate offered, both axes from the data; `|` is the knee, `-` the SLO."""
    steps = [step for step in curve.ladder if step.p50_ms and step.p99_ms]
    if len(steps) < 2:
        return ""
    low, high, most = axes_of(curve, steps)
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
        label = in_ms(ms) if number % 5 == 0 else ""
        lines.append(f"{label:>8} |{''.join(line).rstrip()}")
    lines.append(f"{'ms':>8} +{'-' * _COLUMNS}")
    right = f"{most:,.0f} requests/s"
    lines.append(f"{'':>8}  0{right:>{_COLUMNS - 1}}")
    legend = "o p50   # p99" + ("   | knee" if curve.knee.step else "") + ("   - SLO" if curve.slo_ms else "")
    return "\n".join([*lines, f"{'':>10}{legend}"])


def axes_of(curve: Curve, steps: Sequence[Step]) -> tuple[float, float, float]:
    """log10 of the lowest and the highest latency shown, and the highest rate."""
    times = [ms for step in steps for ms in (step.p50_ms, step.p99_ms) if ms]
    if curve.slo_ms is not None:
        times.append(curve.slo_ms)
    low, high = math.log10(min(times)), math.log10(max(times))
    return low, max(high, low + 0.1), max(step.offered_rps or 0.0 for step in steps)
