"""The pictures: accuracy against latency, sizes, throughput, and what quantising each layer does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sealift.optimize.drawn import scatter as scatter_svg
from sealift.optimize.drawn.axis import is_drawable
from sealift.optimize.drawn.frontier import Scatter, frontier, kind_of, scatter_of
from sealift.optimize.drawn.markup import Markup, joined, tag
from sealift.optimize.drawn.tables import Bar, bars
from sealift.optimize.figures import (
    counted,
    digits,
    level,
    metric_value,
    milliseconds,
    percent,
    rate,
    size,
    size_percent,
    times,
)
from sealift.optimize.report import Layer, QualityReport, Speed, Variant

_WORST: Final = 25
_LOG_FROM: Final = 50.0
_LEAST: Final = 1e-7
"""Effects below are rounding: they get the shortest bar."""
_LEGEND: Final = (
    ("ships", "ships"),
    ("reference", "reference"),
    ("travels", "travels too"),
    ("passed", "passed, another is better"),
    ("refused", "refused"),
)


def accuracy_against_latency(report: QualityReport) -> Markup:
    """The scatter with its frontier, or why there is none."""
    scatter = scatter_of(report)
    title = tag("h2", "Accuracy against latency")
    if not scatter.points:
        why = "No variant has both an accuracy and a latency, so there is nothing to draw."
        return tag("section", title, tag("p", why, class_="none"))
    described = _described(scatter)
    pictures = [
        part
        for canvas in (scatter_svg.DESK, scatter_svg.PHONE)
        for part in (scatter_svg.draw(scatter, canvas, described), scatter_svg.key(scatter, canvas))
    ]
    caption = tag("figcaption", _legend(scatter), tag("p", _how_to_read(report, scatter)))
    return tag("section", title, tag("figure", *pictures, caption))


def sizes(report: QualityReport) -> Markup:
    """Bytes of every variant that was built, beside the reference."""
    built = [variant for variant in report.variants if variant.size > 0]
    rows = _bars(report, built, [float(variant.size) for variant in built])
    named = [
        Bar(row.name, row.share, size(variant.size), row.kind, _share_words(report, variant))
        for row, variant in zip(rows, built, strict=True)
    ]
    return _bar_section("Size", "Bytes of all files of a variant", ("variant", "size"), named)


def throughput(report: QualityReport) -> Markup:
    """Rows per second in the best layout of every variant that was measured."""
    found = [(variant, variant.speed) for variant in report.variants if variant.speed is not None]
    rows = _bars(report, [variant for variant, _ in found], [speed.rows_per_s for _, speed in found])
    named = [
        Bar(
            row.name,
            row.share,
            rate(speed.rows_per_s),
            row.kind,
            _layout_words(report, variant, speed),
        )
        for row, (variant, speed) in zip(rows, found, strict=True)
    ]
    caption = "Rows per second, each in the best of its layouts"
    return _bar_section("Throughput", caption, ("variant", "rows per second"), named)


def sensitivity(report: QualityReport) -> Markup:
    """What quantising each layer alone does, the worst first; nothing where nobody measured it."""
    parts = [_layers(variant) for variant in report.variants if variant.layers]
    if not parts:
        return Markup()
    what = "1 \u2212 cosine between the outputs when only this layer is quantised: 0 is no effect."
    return tag("section", tag("h2", "What each layer costs"), tag("p", what), *parts)


def _described(scatter: Scatter) -> str:
    points = "; ".join(
        f"{p.name}: {milliseconds(p.ms)}, {metric_value(scatter.metric, p.value)}, {p.kind}"
        for p in scatter.points
    )
    best = ", ".join(point.name for point in frontier(scatter))
    return f"{points}. On the frontier: {best}."


def _legend(scatter: Scatter) -> Markup:
    there = {point.kind for point in scatter.points}
    items = [
        tag("li", _sample(scatter_svg.mark(kind, 11, 11)), word) for kind, word in _LEGEND if kind in there
    ]
    line = tag("path", d="M1 17H11V5H21", class_="frontier")
    items.append(tag("li", _sample(line), "frontier: nothing is quicker and more accurate"))
    if scatter.bounds:
        items.append(tag("li", _sample(tag("path", d="M1 11H21", class_="bound")), "bound of a gate"))
    return tag("ul", *items, class_="legend")


def _sample(inside: Markup) -> Markup:
    return tag("svg", inside, viewBox="0 0 22 22", class_="sample", aria_hidden="true")


def _how_to_read(report: QualityReport, scatter: Scatter) -> str:
    between = next(
        (c.interval for v in report.variants for c in v.comparisons if c.metric == scatter.metric), None
    )
    words = []
    if between is not None:
        words.append(f"Whiskers: the {level(between)} of the paired difference to the reference.")
    if scatter.left_out:
        words.append(f"Not drawn, for want of one of the two: {', '.join(scatter.left_out)}.")
    return " ".join(words)


def _bars(report: QualityReport, variants: Sequence[Variant], values: Sequence[float]) -> list[Bar]:
    """Bars from zero to the largest; value and note are the caller's."""
    largest = max((value for value in values if is_drawable(value)), default=0.0)
    return [
        Bar(variant.name, _part(value, largest), "", kind_of(report, variant))
        for variant, value in zip(variants, values, strict=True)
    ]


def _part(value: float, largest: float) -> float | None:
    if not is_drawable(value):
        return 1.0 if value > 0 and math.isfinite(value) else None
    return max(0.0, value / largest) if largest > 0 else 0.0


def _share_words(report: QualityReport, variant: Variant) -> str:
    if variant is report.variants[0]:
        return "reference"
    share = size_percent(report, variant)
    return f"{share} of {report.variants[0].name}" if share else ""


def _layout_words(report: QualityReport, variant: Variant, speed: Speed) -> str:
    is_reference = variant is report.variants[0]
    ratio = "reference" if is_reference else f"{times(speed.throughput_ratio)} the reference"
    return f"{ratio}, {speed.layout}" if speed.layout else ratio


def _bar_section(title: str, caption: str, columns: tuple[str, str], rows: Sequence[Bar]) -> Markup:
    inside = bars(caption, columns, rows) if rows else tag("p", "Nothing was measured.", class_="none")
    return tag("section", tag("h2", title), inside)


def _layers(variant: Variant) -> Markup:
    ordered = sorted(variant.layers, key=lambda layer: (-_effect(layer), layer.node))
    worst, rest = ordered[:_WORST], ordered[_WORST:]
    effects = [_effect(layer) for layer in worst if _effect(layer) > 0]
    is_log = bool(effects) and max(effects) > max(min(effects), _LEAST) * _LOG_FROM
    top = max(effects, default=1.0)
    floor = 10.0 ** math.floor(math.log10(max(min(effects), _LEAST))) if is_log else 0.0
    rows = [_layer_bar(layer, _layer_share(_effect(layer), floor, top)) for layer in worst]
    grid = _decades(floor, top) if is_log else ()
    scale = f"logarithmic from {digits(floor, 1)}, a line at each power of ten" if is_log else "linear from 0"
    caption = f"{variant.name}: {counted(len(ordered), 'layer')}, scale {scale}"
    return joined([bars(caption, ("layer", "effect"), rows, grid), _rest(rest)])


def _effect(layer: Layer) -> float:
    """An effect that is no number sorts with the worst."""
    if math.isnan(layer.effect):
        return 10.0
    return min(10.0, max(0.0, layer.effect))


def _layer_share(effect: float, floor: float, top: float) -> float:
    if not floor:
        return effect / top
    return math.log10(max(effect, floor) / floor) / math.log10(top / floor)


def _decades(floor: float, top: float) -> tuple[float, ...]:
    powers = range(round(math.log10(floor)) + 1, math.floor(math.log10(top)) + 1)
    return tuple(_layer_share(10.0**power, floor, top) for power in powers)


def _layer_bar(layer: Layer, share: float) -> Bar:
    notes = [layer.kind, f"{percent(layer.share)} of the weights" if layer.share > 0 else ""]
    notes.append("kept in floating point" if layer.excluded else "")
    note = ", ".join(filter(None, notes))
    return Bar(layer.node, share, digits(layer.effect, 2), "kept" if layer.excluded else "layer", note)


def _rest(rest: Sequence[Layer]) -> Markup:
    if not rest:
        return Markup()
    kept = sum(1 for layer in rest if layer.excluded)
    words = f"and {counted(len(rest), 'layer')} more, none above {digits(_effect(rest[0]), 2)}"
    words += f"; {kept} of them kept in floating point" if kept else ""
    return tag("p", f"{words}.", class_="none")
