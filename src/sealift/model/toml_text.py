"""Bytes -> TOML with the line of every key, or the line of what is wrong with them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from sealift.model.positions import KeyPath, key_lines

_IN_OUR_WORDS: Final = (
    ("Cannot overwrite a value", "a key stands twice"),
    ("Cannot declare", "a section stands twice"),
    ("Illegal character '\\n'", "a string does not end on its line"),
)
_PLACE: Final = re.compile(r" \((?:at line (?P<line>\d+), column (?P<column>\d+)|at end of document)\)$")


class NotToml(Exception):
    """Why bytes are no TOML: `line 3: not TOML: ... (column 5)`."""


@dataclass(frozen=True, slots=True)
class TomlText:
    """A table, and where each of its keys stands."""

    table: dict[str, Any]
    lines: dict[KeyPath, int]


def read_toml(data: bytes) -> TomlText:
    """Read UTF-8 with or without a byte order mark, which some editors put first. Raises: NotToml."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotToml(f"line {line}: not UTF-8; save the file as UTF-8") from error
    try:
        return TomlText(tomllib.loads(text), key_lines(text))
    except tomllib.TOMLDecodeError as error:
        raise NotToml(_syntax_problem(str(error), text)) from error
    except RecursionError as error:
        raise NotToml("line 1: not TOML: nested too deeply") from error
    except ValueError as error:  # Python refuses to read an integer of more than 4,300 digits
        raise NotToml("line 1: not TOML: it holds a number with too many digits") from error


def _syntax_problem(message: str, text: str) -> str:
    """tomllib's message with its place in front."""
    place = _PLACE.search(message)
    reason = _PLACE.sub("", message)
    reason = next((ours for theirs, ours in _IN_OUR_WORDS if reason.startswith(theirs)), reason)
    reason = reason[:1].lower() + reason[1:]
    if place is None or place["line"] is None:
        last = text.rstrip().count("\n") + 1
        return f"line {last}: not TOML: {reason} (end of the file)"
    return f"line {place['line']}: not TOML: {reason} (column {place['column']})"
