"""Every variant with its figures, and why it ships or does not."""

from __future__ import annotations

from collections.abc import Sequence

from sealift.optimize.drawn.markup import Markup, tag
from sealift.optimize.drawn.tables import ABSENT, table
from sealift.optimize.drawn.words import standing, verdict
from sealift.optimize.figures import (
    COMPARES_BOTH,
    interval,
    level,
    metric_difference,
    metric_name,
    metric_value,
    milliseconds,
    rate,
    size,
    size_percent,
    speedup_words,
    whole,
)
from sealift.optimize.report import Comparison, Gate, QualityReport, Variant

_HEADER = ("variant", "standing", "engine", "size", "p50", "p99", "rows/s", "speed-up")
_NONE = ABSENT


def all_variants(report: QualityReport) -> Markup:
    """One table of figures, then each variant by itself."""
    title = tag("h2", "Variants")
    if not report.variants:
        return tag("section", title, tag("p", "No variant was tried.", class_="none"))
    figures = table(
        "As measured; p50 and p99 of one row alone, rows per second in the best layout",
        _HEADER,
        [_figures(report, variant) for variant in report.variants],
        "figures",
    )
    return tag("section", title, figures, *(_one(report, variant) for variant in report.variants))


def _figures(report: QualityReport, variant: Variant) -> list[str]:
    speed = variant.speed
    share = size_percent(report, variant)
    is_reference = variant is report.variants[0]
    part = f" ({share})" if share and not is_reference else ""
    return [
        variant.name,
        standing(report, variant),
        " ".join(filter(None, (variant.engine, variant.precision))) or _NONE,
        f"{size(variant.size)}{part}" if variant.size else _NONE,
        milliseconds(speed.p50_ms) if speed else _NONE,
        milliseconds(speed.p99_ms) if speed else _NONE,
        rate(speed.rows_per_s).removesuffix("/s") if speed else _NONE,
        ("1" if is_reference else speedup_words(speed)) if speed else _NONE,
    ]


def _one(report: QualityReport, variant: Variant) -> Markup:
    parts = [tag("h3", variant.name, " ", standing(report, variant))]
    if variant.reasons:
        parts.append(tag("ul", *(tag("li", reason) for reason in variant.reasons), class_="reasons"))
    if variant.comparisons:
        parts.append(_accuracy(variant.comparisons))
    if variant.gates:
        parts.append(_gates(variant.gates))
    if len(parts) == 1:
        is_reference = variant is report.variants[0]
        parts.append(
            tag("p", "What the others are compared with." if is_reference else "Nothing was measured.")
        )
    return tag("article", *parts, class_="variant")


def _accuracy(comparisons: Sequence[Comparison]) -> Markup:
    how = "; ".join(dict.fromkeys(level(comparison.interval) for comparison in comparisons))
    header = ("metric", "reference", "variant", "difference", "n")
    rows = [_comparison(comparison) for comparison in comparisons]
    return table(f"Accuracy on the same items; {how}", header, rows, "figures")


def _comparison(found: Comparison) -> list[str]:
    metric = found.metric
    better = "" if found.higher_is_better else " (lower is better)"
    reference = _NONE if metric in COMPARES_BOTH else metric_value(metric, found.reference)
    difference = f"{metric_difference(metric, found.difference)} ({interval(found.interval, metric)})"
    value = metric_value(metric, found.value)
    return [metric_name(metric) + better, reference, value, difference, whole(found.n)]


def _gates(gates: Sequence[Gate]) -> Markup:
    header = ["gate", "verdict", "expected", "found"]
    has_advice = any(gate.advice for gate in gates)
    rows = [
        [
            gate.name,
            verdict(gate.verdict),
            gate.expected,
            gate.found,
            *([gate.advice or _NONE] if has_advice else []),
        ]
        for gate in gates
    ]
    return table("Gates", [*header, "what would help"] if has_advice else header, rows, "gates")
