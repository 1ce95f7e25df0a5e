"""Elements as values. Every string is escaped unless it is `Markup` already, so none can be forgotten.

The result is well-formed XML as well as HTML5: elements are closed, attributes quoted, and characters that XML
does not carry or that turn text round are written as escapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Final

from sealift.optimize.figures import THIN

_VOID: Final = frozenset({"meta", "img", "br"})
_KEPT: Final = frozenset({THIN, "\u00a0"})
LONGEST: Final = 2000
"""Characters of one string that are shown."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def printable(text: str) -> str:
    """`text` with control characters and marks of direction written as escapes, and a megabyte cut short."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    return text if text.isprintable() else "".join(map(_visible, text))


def shown(text: str) -> Markup:
    """A word of the report as text: nothing in it is a tag."""
    return Markup(escape(printable(text), quote=True))


def _visible(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    return " " if character in "\n\t" else character.encode("unicode_escape").decode("ascii")


def joined(parts: Iterable[str]) -> Markup:
    """One after the other; those that are no markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else shown(part) for part in parts))


def lines(text: str) -> Markup:
    """As `shown`, with line ends kept: for an element that shows them."""
    return Markup("\n".join(shown(line) for line in text[:LONGEST].splitlines()))


def tag(name: str, /, *inside: str, **attributes: str | float) -> Markup:
    """An element. `class_` is the attribute `class`, `stroke_width` is `stroke-width`; numbers get two decimals."""
    written = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(inside)}</{name}>")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return shown(value)
    if not math.isfinite(value):
        raise ValueError(f"an attribute cannot be {value}")
    return f"{value:.2f}".rstrip("0").rstrip(".")
