"""JSON from inside a bundle, read by steps that each say where something is not what it should be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from sealift.errors import MalformedBundle


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value and where it stands (`application/service.json models[0]`)."""

    value: Any
    where: str

    def get(self, key: str) -> Node:
        """The member `key`; None where it is absent. Raises: MalformedBundle: this is no object."""
        if not isinstance(self.value, dict):
            self._refuse("an object")
        return Node(self.value.get(key), f"{self.where} {key}")

    def has(self, key: str) -> bool:
        """Claims that the object has a member `key` that is not null."""
        return self.get(key).value is not None

    def items(self) -> list[Node]:
        """The elements of a list; none where it is absent. Raises: MalformedBundle."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self._refuse("a list")
        return [Node(item, f"{self.where}[{index}]") for index, item in enumerate(self.value)]

    def text(self, default: str | None = None) -> str:
        """A string, or `default` where it is absent. Raises: MalformedBundle."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            self._refuse("a string")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of strings. Raises: MalformedBundle."""
        return tuple(item.text() for item in self.items())

    def _refuse(self, expected: str) -> NoReturn:
        raise MalformedBundle(f"{self.where}: expected {expected}, found {type(self.value).__name__}")


def parse(data: bytes, where: str) -> Node:
    """An object. Raises: MalformedBundle: not JSON (NaN included), or something else than an object."""
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedBundle(f"{where} is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedBundle(f"{where} is not an object")
    return Node(value, where)


def compact(value: object) -> str:
    """One line for a person: yes and no, lists with semicolons, anything deeper as JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return "; ".join(value) or "none"
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number of JSON")
