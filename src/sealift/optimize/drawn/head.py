"""The top of the page: what was decided, in one glance, and what is likely wrong with the project."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sealift.optimize.drawn.markup import Markup, joined, lines, tag
from sealift.optimize.drawn.tables import table
from sealift.optimize.drawn.words import sign
from sealift.optimize.figures import (
    counted,
    digits,
    interval,
    metric_difference,
    metric_name,
    metric_value,
    milliseconds,
    rate,
    size,
    size_percent,
    standing_words,
    times,
    whole,
)
from sealift.optimize.report import Alternative, Data, Machine, QualityReport, Standing, Suspicion


def header(report: QualityReport) -> Markup:
    """Model, project and version, the verdict, its figures, and where they were measured."""
    is_changed = bool(report.variants) and report.chosen != report.variants[0].name
    tiles = list(_tiles(report))
    return tag(
        "header",
        tag("p", "sealift optimize \u00b7 quality report", class_="kind"),
        tag("h1", report.model),
        tag("p", tag("b", report.project), " ", report.version, class_="project"),
        tag("p", report.verdict, class_="verdict-sentence"),
        tag("div", *tiles, class_="tiles") if tiles else "",
        tag("p", *_where(report.machine), class_="where"),
        tag("p", _measured_on(report.data, report.prefer), class_="where"),
        class_="win" if is_changed else "same",
    )


def suspicions(report: QualityReport) -> Markup:
    """A box that cannot be overlooked; nothing where nothing is suspected."""
    if not report.suspicions:
        return Markup()
    return tag(
        "section",
        tag("h2", sign("unclear"), " Check the project first"),
        tag("p", "What was measured looks like a mistake in how the model is fed or labelled."),
        *(_suspicion(suspicion) for suspicion in report.suspicions),
        class_="alarm",
    )


def _tiles(report: QualityReport) -> Iterator[Markup]:
    chosen = next((variant for variant in report.variants if variant.name == report.chosen), None)
    if chosen is None:
        return
    reference = report.variants[0]
    is_reference = chosen is reference
    if chosen.speed and not is_reference:
        between = chosen.speed.speedup_interval
        words = f"as fast as {reference.name} ({digits(between.low)} to {digits(between.high)})"
        yield _tile(times(chosen.speed.speedup), words)
    if chosen.speed:
        words = f"latency p50; p99 {milliseconds(chosen.speed.p99_ms)}"
        yield _tile(milliseconds(chosen.speed.p50_ms), words)
    share = size_percent(report, chosen)
    if not is_reference and share:
        yield _tile(share, f"of the size ({size(chosen.size)} of {size(reference.size)})")
    elif chosen.size:
        yield _tile(size(chosen.size), counted(len(chosen.files), "file"))
    if chosen.comparisons and not is_reference:
        first = chosen.comparisons[0]
        words = standing_words(first).partition(" (")[2].removesuffix(")")
        yield _tile(metric_value(first.metric, first.value), f"{metric_name(first.metric)} ({words})")
    if is_reference:
        yield from _candidates(report)


def _candidates(report: QualityReport) -> Iterator[Markup]:
    others = report.variants[1:]
    refused = sum(1 for variant in others if variant.standing is Standing.REFUSED)
    if refused:
        yield _tile(f"{refused} of {len(others)}", "candidates refused")
    if report.variants[0].speed:
        speed = report.variants[0].speed
        yield _tile(rate(speed.rows_per_s), f"rows, {speed.layout}" if speed.layout else "rows")


def _tile(figure: str, words: str) -> Markup:
    return tag("div", tag("b", figure), tag("span", words), class_="tile")


def _where(machine: Machine) -> list[str]:
    is_plain = machine.int8.lower() in ("", "none")
    int8 = "no instructions for INT8" if is_plain else f"INT8 by {machine.int8}"
    return [
        "Measured on ",
        tag("b", machine.cpu),
        f", {counted(machine.cores, 'core')}, ",
        tag("b", int8),
        ".",
    ]


def _measured_on(data: Data, prefer: str) -> str:
    words = f"{whole(data.evaluation)} inputs for accuracy, {whole(data.labelled)} of them with a label"
    words += f"; {whole(data.calibration)} for calibration. Preferred: {prefer}."
    return f"{words} {data.note}".strip()


def _suspicion(suspicion: Suspicion) -> Markup:
    how = "measured: chance is excluded" if suspicion.certain else "a hint: chance is not excluded"
    parts = [
        tag("h3", f"Suspected: {suspicion.what} ", tag("span", how, class_="badge suspected")),
        tag("p", suspicion.sentence),
    ]
    if suspicion.alternatives:
        rows = [_alternative_row(one) for one in suspicion.alternatives]
        header_cells = (
            "change in sealift.toml",
            "metric",
            "as declared",
            "with the change",
            "difference",
            "n",
        )
        parts.append(table("The likely alternatives, measured on the same items", header_cells, rows))
    best = _best(suspicion.alternatives)
    if best is not None:
        parts.append(tag("p", "What to write in ", tag("code", "sealift.toml"), ":", class_="to-write"))
        parts.append(tag("pre", tag("code", lines(best.change))))
    return tag("article", *parts)


def _alternative_row(alternative: Alternative) -> list[str]:
    found = alternative.comparison
    metric = found.metric
    difference = f"{metric_difference(metric, found.difference)} ({interval(found.interval, metric)})"
    return [
        tag("code", lines(alternative.change)),
        metric_name(metric),
        metric_value(metric, found.reference),
        joined([tag("b", metric_value(metric, found.value))]),
        difference,
        whole(found.n),
    ]


def _best(alternatives: tuple[Alternative, ...]) -> Alternative | None:
    """The one that improves most; None where none does."""

    def gain(alternative: Alternative) -> float:
        found = alternative.comparison
        gained = found.difference if found.higher_is_better else -found.difference
        return gained if math.isfinite(gained) else 0.0

    best = max(alternatives, key=gain, default=None)
    return best if best is not None and gain(best) > 0 else None
