"""known.toml -> entries whose keys were all asked for. Standard library only.

The file is part of the release; whatever is wrong in it is a mistake of ours, and every reader's test finds it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from sealift.target.target import version_key

KNOWN: Final = Path(__file__).with_name("known.toml")
_SPAN: Final = re.compile(r"(>=(?P<start>[0-9][0-9.]*))?,?(<(?P<end>[0-9][0-9.]*))?")
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+)*")


class Entry:
    """One table of the file; `close` fails where a key was neither asked for nor left out.

    Raises: ValueError: a key is missing, unknown or of another form; names the table.
    """

    def __init__(self, name: str, values: object) -> None:
        if not isinstance(values, Mapping):
            raise ValueError(f"known.toml: {name}: expected a table, got {values!r}")
        self.name = name
        self._values = values
        self._asked: set[str] = {"source"}
        if not self._is_text("source"):
            raise ValueError(f"known.toml: {name}: expected a source")

    def text(self, key: str) -> str:
        """A text that must be there and hold something."""
        self._asked.add(key)
        if not self._is_text(key):
            raise ValueError(
                f"known.toml: {self.name}: {key}: expected a text, got {self._values.get(key)!r}"
            )
        value: str = self._values[key]
        return value

    def version(self, key: str) -> str:
        """Numbers joined by dots."""
        if not _VERSION.fullmatch(found := self.text(key)):
            raise ValueError(f"known.toml: {self.name}: {key}: expected a version, got {found!r}")
        return found

    def optional(self, key: str) -> str | None:
        """A version, or None where the key is left out."""
        return self.version(key) if key in self._values else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, not empty."""
        self._asked.add(key)
        found = self._values.get(key)
        if not isinstance(found, list) or not found or not all(isinstance(item, str) for item in found):
            raise ValueError(f"known.toml: {self.name}: {key}: expected a list of texts, got {found!r}")
        return tuple(found)

    def flag(self, key: str) -> bool:
        """True or false; false where the key is left out."""
        self._asked.add(key)
        found = self._values.get(key, False)
        if not isinstance(found, bool):
            raise ValueError(f"known.toml: {self.name}: {key}: expected true or false, got {found!r}")
        return found

    def spans(self, key: str) -> dict[str, tuple[str, str]]:
        """Package -> (from, below)."""
        self._asked.add(key)
        found = self._values.get(key)
        if not isinstance(found, Mapping) or not found:
            raise ValueError(f"known.toml: {self.name}: {key}: expected packages, got {found!r}")
        return {package: span_of(text, self.name) for package, text in found.items()}

    def span(self, key: str) -> tuple[str, str]:
        """(from, below)."""
        return span_of(self.text(key), self.name)

    def close(self) -> None:
        """Say that all keys have been asked for."""
        unknown = sorted(self._values.keys() - self._asked)
        if unknown:
            raise ValueError(f"known.toml: {self.name}: unknown key {', '.join(unknown)}")

    def _is_text(self, key: str) -> bool:
        found = self._values.get(key)
        return isinstance(found, str) and bool(found.strip())


@cache
def document() -> Mapping[str, object]:
    """The whole file; read once."""
    return tomllib.loads(KNOWN.read_text(encoding="utf-8"))


def entries(name: str) -> list[Entry]:
    """Every `[[name]]` in the order of the file. Raises: ValueError: there is none."""
    found = document().get(name)
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise ValueError(f"known.toml: expected [[{name}]]")
    return [Entry(f"{name} {number}", values) for number, values in enumerate(found, 1)]


def named_entries(name: str) -> dict[str, Entry]:
    """Every `[name.KEY]`, by its key. Raises: ValueError: there is none."""
    found = document().get(name)
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"known.toml: expected [{name}.NAME]")
    return {key: Entry(f"{name}.{key}", values) for key, values in found.items()}


def single(name: str) -> Entry:
    """The table `[name]`."""
    return Entry(name, document().get(name))


def span_of(text: str, where: str) -> tuple[str, str]:
    """`>=1.19,<1.27` -> (`1.19`, `1.27`); an open end is "". Raises: ValueError."""
    match = _SPAN.fullmatch(text)
    if match is None or text.endswith(","):
        raise ValueError(f"known.toml: {where}: expected a span such as >=1.19,<1.27, got {text!r}")
    return match["start"] or "", match["end"] or ""


def within(version: str, span: tuple[str, str]) -> bool:
    """Claims that `version` lies in the half-open span."""
    start, end = span
    key = version_key(version)
    return (not start or key >= version_key(start)) and (not end or key < version_key(end))
