"""An SPDX expression and a list of permitted licences -> whether it can be satisfied."""

from __future__ import annotations

import re
from collections.abc import Collection

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_DEEPEST = 50
_WORDS = re.compile(r"[()]|[^\s()]+")


def canonical_licence(text: str) -> str | None:
    """The one spelling of one SPDX licence, `X` or `X WITH Y`; None when it is none."""
    expression = canonical_expression(text)
    return expression if expression and not re.search(r"[()]| (AND|OR) ", expression) else None


def canonical_expression(text: str) -> str | None:
    """The one spelling of an SPDX expression; None when it is none, or nested out of all reason."""
    if text.count("(") > _DEEPEST:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def is_satisfied(expression: str, permitted: Collection[str]) -> bool:
    """True if the recipient can choose licences of `expression` that are all permitted.

    `A OR B` needs one of the two, `A AND B` both. `A WITH B` grants more than `A`: either form may be permitted.

    Args:
        expression: as `canonical_expression` returns it.
        permitted: as `canonical_licence` returns them.
    """
    words = _WORDS.findall(expression)[::-1]
    return _any_of(words, permitted)


def _any_of(words: list[str], permitted: Collection[str]) -> bool:
    found = _all_of(words, permitted)
    while words and words[-1] == "OR":
        words.pop()
        found = _all_of(words, permitted) or found
    return found


def _all_of(words: list[str], permitted: Collection[str]) -> bool:
    found = _one(words, permitted)
    while words and words[-1] == "AND":
        words.pop()
        found = _one(words, permitted) and found
    return found


def _one(words: list[str], permitted: Collection[str]) -> bool:
    word = words.pop()
    if word == "(":
        found = _any_of(words, permitted)
        words.pop()
        return found
    if words and words[-1] == "WITH":
        words.pop()
        whole = f"{word} WITH {words.pop()}"
        return word in permitted or whole in permitted
    return word in permitted
