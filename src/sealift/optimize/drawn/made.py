"""How every variant was made, so that somebody else can make it again."""

from __future__ import annotations

from sealift.optimize.drawn.markup import Markup, tag
from sealift.optimize.drawn.tables import table
from sealift.optimize.figures import size
from sealift.optimize.report import QualityReport, Variant


def how_it_was_made(report: QualityReport) -> Markup:
    """Notes, recipes, files with their digests, and what it all ran on."""
    parts = [tag("h2", "How it was made")]
    if report.notes:
        parts.append(tag("ul", *(tag("li", note) for note in report.notes), class_="reasons"))
    parts += [_variant(variant) for variant in report.variants if variant.recipe or variant.files]
    parts.append(tag("article", tag("h3", "Where"), _pairs(_surroundings(report)), class_="variant"))
    return tag("section", *parts)


def _variant(variant: Variant) -> Markup:
    parts = [tag("h3", variant.name)]
    if variant.recipe:
        parts.append(_pairs(list(variant.recipe.items())))
    if variant.files:
        rows = [[file.name, size(file.size), tag("code", file.sha256)] for file in variant.files]
        caption = "Files, the first is loaded" if len(variant.files) > 1 else "File"
        parts.append(table(caption, ("file", "size", "sha256"), rows, "files"))
    return tag("article", *parts, class_="variant")


def _surroundings(report: QualityReport) -> list[tuple[str, str]]:
    machine = report.machine
    rows = [("processor", machine.cpu), ("cores", str(machine.cores)), ("INT8", machine.int8 or "none")]
    rows += [("features", ", ".join(machine.features))] if machine.features else []
    rows += sorted(machine.engines.items())
    return [*rows, ("made with", report.created_with), ("source", report.source), ("format", report.format)]


def _pairs(rows: list[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows), class_="pairs")
