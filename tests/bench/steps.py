"""Finished steps of load, made by hand."""

from __future__ import annotations

from typing import Any

from sealift.bench.knee import find_knee
from sealift.bench.ladder import Curve
from sealift.bench.tally import Step


def step(rate: float | None, p99_ms: float, **changed: Any) -> Step:
    """One second at `rate` (None: eight clients, 1,000 answers), everything answered with 200."""
    answered = round(rate or 1000)
    values: dict[str, Any] = {
        "offered_rps": rate,
        "connections": 8,
        "seconds": 1.0,
        "on_time": answered,
        "statuses": {200: answered},
        "failures": 0,
        "unanswered": 0,
        "p50_ms": p99_ms / 2,
        "p90_ms": p99_ms * 0.9,
        "p99_ms": p99_ms,
        "p999_ms": p99_ms * 1.5,
        "max_ms": p99_ms * 2,
        "generator_cores": 0.2,
        "lag_ms": 0.1,
    }
    return Step(**{**values, **changed})


def curve(*ladder: Step, slo_ms: float | None = 50.0, wrong: tuple[str, ...] = ()) -> Curve:
    """A closed-loop step and the ladder, with the knee found."""
    return Curve((step(None, 4.0),), ladder, find_knee(ladder, slo_ms), slo_ms, wrong, 2, 0.0)
