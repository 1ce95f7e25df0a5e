"""How a value, a choice or a likely slip is written in a problem's text."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence

_LONGEST_SHOWN = 60
_LONGEST_COMPARED = 64


def quoted(text: str, mark: str = '"') -> str:
    """`text` in quotes, at most 60 characters of it, with nothing a terminal would act on."""
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "..."
    return mark + "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text) + mark


def named(key: str) -> str:
    """A key, in single quotes."""
    return quoted(key, mark="'")


def shown(value: object) -> str:
    """A TOML value as its author wrote it, or in words where it is long."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):  # str() refuses integers of more than 4,300 digits
        return str(value) if value.bit_length() <= 128 else "a very large integer"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return _array_shown(value)
    return str(value)  # dates and times


def _array_shown(values: list[object]) -> str:
    if len(values) <= 8 and not any(isinstance(value, list | dict) for value in values):
        text = f"[{', '.join(shown(value) for value in values)}]"
        if len(text) <= _LONGEST_SHOWN:
            return text
    return f"an array of {len(values)}"


def listed(options: Sequence[str], mark: str = '"') -> str:
    """`"a", "b" or "c"`."""
    words = [f"{mark}{option}{mark}" for option in options]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that `word` begins or is likely a slip of, capitals aside; None when none is close."""
    if len(word) > _LONGEST_COMPARED:
        return None
    by_lower = {option.lower(): option for option in options}
    for option in by_lower:
        if len(word) >= 3 and option.startswith(word.lower()):
            return by_lower[option]
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None
