"""QualityReport -> what the picture of accuracy against latency shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sealift.optimize.drawn.axis import is_drawable
from sealift.optimize.figures import value_interval
from sealift.optimize.report import Comparison, QualityReport, Standing, Variant

LATENCY: Final = "p50_ms"
"""The name under which a gate's bound lies on the latency's axis."""


@dataclass(frozen=True, slots=True)
class Point:
    """A variant: `ms` and `value` as measured, their intervals as (low, high); `kind` is its place in the legend."""

    name: str
    kind: str
    ms: float
    value: float
    ms_between: tuple[float, float] | None = None
    value_between: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A gate's line: across at `value` of the metric, or from top to bottom where `is_latency`."""

    name: str
    value: float
    is_latency: bool


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points in the report's order. `left_out` names those measured in part, which have no place."""

    metric: str
    higher_is_better: bool
    points: tuple[Point, ...]
    bounds: tuple[Bound, ...]
    left_out: tuple[str, ...]


def scatter_of(report: QualityReport) -> Scatter:
    """By the metric of the first comparison that any variant has, the chosen one asked first."""
    first = first_comparison(report)
    metric = first.metric if first else ""
    points = [point for variant in report.variants if (point := _point(report, variant, first)) is not None]
    there = {point.name for point in points}
    left_out = [
        v.name for v in report.variants if v.name not in there and v.standing is not Standing.NOT_BUILT
    ]
    return Scatter(
        metric=metric,
        higher_is_better=first.higher_is_better if first else True,
        points=tuple(points),
        bounds=_bounds(report.variants, metric),
        left_out=tuple(left_out),
    )


def frontier(scatter: Scatter) -> list[Point]:
    """Those that no other beats in both, from the quickest to the most accurate (Pareto)."""
    best: list[Point] = []
    sign = -1 if scatter.higher_is_better else 1
    for point in sorted(scatter.points, key=lambda p: (p.ms, sign * p.value)):
        if not best or sign * point.value < sign * best[-1].value:
            best.append(point)
    return best


def kind_of(report: QualityReport, variant: Variant) -> str:
    """`ships`, `reference`, `travels`, `passed` or `refused`: what the legend calls it."""
    if variant.name == report.chosen and variant.standing not in (Standing.PASSED, Standing.REFUSED):
        return "ships"
    if report.variants and variant is report.variants[0]:
        return "reference"
    if variant.standing is Standing.PASSED:
        return "passed"
    return "travels" if variant.standing in (Standing.TRAVELS, Standing.SHIPS) else "refused"


def first_comparison(report: QualityReport) -> Comparison | None:
    """The metric that the report is told by; None where nothing was compared."""
    ordered = sorted(report.variants, key=lambda variant: variant.name != report.chosen)
    others = [variant for variant in ordered if report.variants and variant is not report.variants[0]]
    found = [comparison for variant in (*others, *ordered) for comparison in variant.comparisons[:1]]
    return found[0] if found else None


def _point(report: QualityReport, variant: Variant, first: Comparison | None) -> Point | None:
    if first is None or variant.speed is None:
        return None
    own = next((c for c in variant.comparisons if c.metric == first.metric), None)
    if own is None and variant is not report.variants[0]:
        return None
    value = own.value if own else first.reference
    speed = variant.speed
    if not is_drawable(speed.p50_ms, value) or speed.p50_ms <= 0:
        return None
    return Point(
        name=variant.name,
        kind=kind_of(report, variant),
        ms=speed.p50_ms,
        value=value,
        ms_between=_latency_interval(report, variant),
        value_between=_drawable_pair(value_interval(own)) if own else None,
    )


def _latency_interval(report: QualityReport, variant: Variant) -> tuple[float, float] | None:
    """Of the p50, as the interval of the speed-up puts it beside the reference's."""
    reference, speed = report.variants[0].speed, variant.speed
    if reference is None or speed is None or variant is report.variants[0]:
        return None
    between = speed.speedup_interval
    if (
        not is_drawable(reference.p50_ms, between.low, between.high)
        or min(between.low, reference.p50_ms) <= 0
    ):
        return None
    return _drawable_pair((reference.p50_ms / max(between.high, between.low), reference.p50_ms / between.low))


def _drawable_pair(pair: tuple[float, float]) -> tuple[float, float] | None:
    return (min(pair), max(pair)) if is_drawable(*pair) else None


def _bounds(variants: Sequence[Variant], metric: str) -> tuple[Bound, ...]:
    found = {
        Bound(gate.name, gate.bound, gate.metric == LATENCY)
        for variant in variants
        for gate in variant.gates
        if gate.bound is not None
        and is_drawable(gate.bound)
        and gate.metric in (metric, LATENCY)
        and gate.metric
    }
    return tuple(sorted(found, key=lambda bound: (bound.is_latency, bound.name, bound.value)))[:6]
