"""Reading documents field by field; every refusal names document, key and value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sealift.errors import MalformedBundle

DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def exactly(doc: Mapping[str, Any], keys: set[str], what: str) -> None:
    """Raises: MalformedBundle: a key is missing or unknown."""
    if set(doc) != keys:
        missing, extra = sorted(keys - set(doc)), sorted(set(doc) - keys)
        raise MalformedBundle(f"{what}: missing keys {missing}, unknown keys {extra}")


def of_format(doc: Mapping[str, Any], expected: str, what: str) -> None:
    """Raises: MalformedBundle: another format, or another version of it."""
    if doc["format"] != expected:
        raise MalformedBundle(
            f"{what}: expected format {expected}, found {doc['format']!r}",
            next_step="use a sealift that reads this format",
        )


def an_object(value: object, key: str, what: str) -> dict[str, Any]:
    """Raises: MalformedBundle: not an object."""
    if not isinstance(value, dict):
        raise MalformedBundle(f"{what}: {key} is not an object")
    return value


def a_list(value: object, key: str, what: str) -> list[Any]:
    """Raises: MalformedBundle: not a list."""
    if not isinstance(value, list):
        raise MalformedBundle(f"{what}: {key} is not a list")
    return value


def text(value: object, pattern: re.Pattern[str], key: str, what: str) -> str:
    """Raises: MalformedBundle: not a string of that form."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedBundle(f"{what}: {key} is {value!r}, expected the form {pattern.pattern}")
    return value


def count(value: object, key: str, what: str, most: int | None = None) -> int:
    """Raises: MalformedBundle: not a whole number from 0 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedBundle(f"{what}: {key} is {value!r}, expected a count")
    if most is not None and value > most:
        raise MalformedBundle(f"{what}: {key} is {value}, at most {most} are permitted")
    return value
