"""Verdicts and standings as a sign and a word: never by colour alone."""

from __future__ import annotations

from typing import Final

from sealift.optimize.drawn.markup import Markup, tag
from sealift.optimize.report import QualityReport, Standing, Variant, Verdict

_TICK: Final = "M4.5 8.4l2.4 2.4 4.8-5.4"
_CROSS: Final = "M5.2 5.2l5.6 5.6m0-5.6l-5.6 5.6"
_QUESTION: Final = "M6 6.2a2 2 0 1 1 3 1.7c-.7.4-1 .8-1 1.6M8 11.6v.4"


def sign(kind: str) -> Markup:
    """A small picture: `passed` in a disc, `failed` in a square, `unclear` in a dashed ring."""
    form = {
        "passed": tag("circle", cx=8, cy=8, r=7.5, class_="ground"),
        "failed": tag("rect", x=0.5, y=0.5, width=15, height=15, rx=3, class_="ground"),
        "unclear": tag("circle", cx=8, cy=8, r=7, class_="ring"),
    }[kind]
    path = {"passed": _TICK, "failed": _CROSS, "unclear": _QUESTION}[kind]
    line = tag("path", d=path, class_="line")
    return tag("svg", form, line, class_=f"sign {kind}", viewBox="0 0 16 16", aria_hidden="true")


def verdict(found: Verdict) -> Markup:
    """What a gate says."""
    kind = {Verdict.PASSED: "passed", Verdict.FAILED: "failed"}.get(found, "unclear")
    return tag("span", sign(kind), " ", found.value, class_=f"verdict {kind}")


def standing(report: QualityReport, variant: Variant) -> Markup:
    """What becomes of a variant, as a badge."""
    word, kind = variant.standing.value, variant.standing.value.replace(" ", "-")
    if report.variants and variant is report.variants[0] and variant.standing is not Standing.SHIPS:
        word, kind = ("reference", "reference")
        if variant.standing not in (Standing.PASSED, Standing.REFUSED):
            word += f", {variant.standing.value}"
    return tag("span", word, class_=f"badge {kind}")
