"""Where a variant answers differently, and a few inputs as the model sees them: cards with pictures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from sealift.optimize.drawn.markup import Markup, joined, tag
from sealift.optimize.figures import counted
from sealift.optimize.report import Difference, QualityReport, Variant

_MOST: Final = 24
_LARGEST: Final = 500_000
"""Bytes of a picture that a page carries."""
_KINDS: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def differences(report: QualityReport) -> Markup:
    """Per variant that differs anywhere; nothing where none does."""
    reference = report.variants[0].name if report.variants else "reference"
    parts = [_of_variant(variant, reference) for variant in report.variants if variant.differences]
    if not parts:
        return Markup()
    return tag("section", tag("h2", "Where the answers differ"), *parts)


def examples(report: QualityReport) -> Markup:
    """Inputs with the reference's answers; nothing where the report has none."""
    found = report.data.examples
    if not found:
        return Markup()
    reference = report.variants[0].name if report.variants else "reference"
    told = "So the model was fed, and so it answered."
    cards = _cards(found, (reference, report.chosen))
    return tag("section", tag("h2", "Example inputs"), tag("p", told), cards)


def _of_variant(variant: Variant, reference: str) -> Markup:
    title = tag("h3", f"{variant.name} and {reference}")
    return joined([title, _cards(variant.differences, (reference, variant.name))])


def _cards(found: Sequence[Difference], names: tuple[str, str]) -> Markup:
    more = len(found) - _MOST
    left = (
        tag("p", f"and {counted(more, 'input')} more in the JSON report.", class_="none") if more > 0 else ""
    )
    return joined([tag("div", *(_card(one, names) for one in found[:_MOST]), class_="answers"), left])


def _card(one: Difference, names: tuple[str, str]) -> Markup:
    rows = _answers(one, names)
    rows += [("label", one.label)] if one.label else []
    pairs = [tag("div", tag("dt", name), tag("dd", answer)) for name, answer in rows]
    shown = tag("p", one.shown, class_="input") if one.shown else ""
    return tag("div", _picture(one), tag("h4", one.item), shown, tag("dl", *pairs), class_="answer")


def _answers(one: Difference, names: tuple[str, str]) -> list[tuple[str, str]]:
    if not one.variant or names[0] == names[1]:
        return [(names[0], one.reference)]
    if one.variant == one.reference:
        return [(f"{names[0]} and {names[1]}", one.reference)]
    return [(names[0], one.reference), (names[1], one.variant)]


def _picture(one: Difference) -> Markup:
    kind = next((kind for start, kind in _KINDS if one.picture.startswith(start)), "")
    if not kind or len(one.picture) > _LARGEST:
        return Markup()
    source = Markup(f"data:{kind};base64,{b64encode(one.picture).decode('ascii')}")
    return tag("img", src=source, alt=f"input {one.item}")
