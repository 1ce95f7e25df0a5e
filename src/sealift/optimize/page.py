"""QualityReport -> one HTML page to read on a screen, a phone or paper.

It needs nothing besides itself: no script, no asset, no network, and its own policy forbids them. The same report
gives the same bytes. Every word of the report goes through `drawn.markup`, which escapes it.
"""

from __future__ import annotations

from typing import Final

from sealift.optimize.drawn import answers, head, made, pictures, variants
from sealift.optimize.drawn.markup import Markup, tag
from sealift.optimize.drawn.style import STYLE
from sealift.optimize.report import QualityReport

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)


def draw(report: QualityReport) -> str:
    """A whole HTML5 document that is well-formed XML too; total for any report."""
    page_head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Markup(_POLICY)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{report.model}: {report.verdict}"),
        tag("style", Markup(STYLE)),
    )
    body = tag("body", head.header(report), tag("main", *_sections(report)), _footer(report))
    return f"<!DOCTYPE html>\n{tag('html', page_head, body, lang='en')}\n"


def _sections(report: QualityReport) -> list[Markup]:
    return [
        head.suspicions(report),
        pictures.accuracy_against_latency(report),
        tag("div", pictures.sizes(report), pictures.throughput(report), class_="pair"),
        variants.all_variants(report),
        pictures.sensitivity(report),
        answers.differences(report),
        answers.examples(report),
        made.how_it_was_made(report),
    ]


def _footer(report: QualityReport) -> Markup:
    return tag(
        "footer",
        f"Written by sealift optimize --html ({report.created_with}). Every figure is in report.json.",
    )
