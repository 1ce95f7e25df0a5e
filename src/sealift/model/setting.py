"""One thing that a box may set: what it takes, and how that is said (standard library only)."""

from __future__ import annotations

import ipaddress
import math
import re
import tomllib
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from sealift.model.words import listed, quoted, shown

Value = str | int | float | tuple[str, ...] | None
"""What a setting holds; None: nothing is set, and what that means stands in its `about`."""

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_DEVICE: Final = re.compile(r"cpu|(cuda|tensorrt)(:[0-9]{1,2})?")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


class Kind(Enum):
    """What values look like."""

    ADDRESS = "address"
    INTEGER = "integer"
    NUMBER = "number"
    DEVICES = "devices"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Setting:
    """`minimum` and `maximum` belong to the range; `choices` narrows devices, empty: any.

    `declared`: the release states the default; else it is sealift's own. `about` says in a few words what
    it is, and after a semicolon what a special value means.
    """

    name: str
    kind: Kind
    default: Value
    about: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    declared: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """Its keys in a TOML file. The name of a model may hold dots: `models.a.b.threshold` is three keys."""
        first, _, rest = self.name.partition(".")
        if first != "models":
            return tuple(self.name.split("."))
        model, _, last = rest.rpartition(".")
        return first, model, last

    @property
    def permitted(self) -> str:
        """`0 to 1024`, `at least 1`, `cpu, cuda`, `any number`."""
        if self.kind is Kind.ADDRESS:
            return "a host name or address"
        if self.kind is Kind.PATH:
            return "an absolute path"
        if self.kind is Kind.DEVICES:
            return ", ".join(self.choices or ("cpu", "cuda", "cuda:1"))
        return self._range() or ("any number" if self.kind is Kind.NUMBER else "any whole number")

    @property
    def expected(self) -> str:
        """`a whole number from 0 to 1024`."""
        if self.kind is Kind.ADDRESS:
            return 'a host name or address such as "127.0.0.1"'
        if self.kind is Kind.PATH:
            return 'an absolute path such as "/etc/sealift/box.pem"'
        if self.kind is Kind.DEVICES:
            return f"an array of {listed(self.choices or ('cpu', 'cuda', 'cuda:1'))}"
        noun = "a whole number" if self.kind is Kind.INTEGER else "a number"
        span = self._range()
        return f"{noun} {'from' if ' to ' in span else 'of'} {span}" if span else noun

    def _range(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"{figure(self.minimum)} to {figure(self.maximum)}"
        if self.minimum is not None:
            return f"at least {figure(self.minimum)}"
        return "" if self.maximum is None else f"at most {figure(self.maximum)}"

    def problem_with(self, value: object) -> str | None:
        """`expected a whole number from 1 to 65535, got "http"`; None: it is permitted."""
        if self._accepts(value):
            return None
        return f"expected {self.expected}, got {shown(value)}{self._advice(value)}"

    def _accepts(self, value: object) -> bool:
        if self.kind is Kind.ADDRESS:
            return isinstance(value, str) and is_host(value)
        if self.kind is Kind.PATH:
            return isinstance(value, str) and is_absolute(value)
        if self.kind is Kind.DEVICES:
            return self._are_devices(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.kind is Kind.INTEGER and not isinstance(value, int):
            return False
        return self._in_range(value)

    def _in_range(self, value: float) -> bool:
        try:
            number = float(value)
        except OverflowError:
            return False
        low, high = self.minimum, self.maximum
        return math.isfinite(number) and (low is None or number >= low) and (high is None or number <= high)

    def _are_devices(self, value: object) -> bool:
        if not isinstance(value, list | tuple) or not value or len(value) > 16:
            return False
        words = [word for word in value if isinstance(word, str) and _DEVICE.fullmatch(word)]
        known = not self.choices or set(words) <= set(self.choices)
        return known and len(words) == len(value) == len(set(words))

    def _advice(self, value: object) -> str:
        if not isinstance(value, str):
            return ""
        if self.kind in (Kind.INTEGER, Kind.NUMBER) and _NUMBER.fullmatch(value):
            return f"; write {value} without quotes"
        return f"; write [{quoted(value)}]" if self.kind is Kind.DEVICES and self._accepts([value]) else ""

    def with_default(self, default: Value, *, declared: bool = True) -> Setting:
        """The same with another default; `declared`: the release states it."""
        return replace(self, default=default, declared=declared)

    def typed(self, value: Any) -> Value:
        """A permitted value, as this setting's type."""
        if self.kind is Kind.DEVICES:
            return tuple(value)
        return float(value) if self.kind is Kind.NUMBER else value

    def parse(self, text: str) -> Any:
        """What a word of a command line means; it may still not be permitted.

        `2`, `0.5` and `["cuda", "cpu"]` as in TOML; `cuda,cpu`, addresses and paths as people write them.
        """
        if self.kind in (Kind.ADDRESS, Kind.PATH):
            return text.strip("\"'")
        try:
            table = tomllib.loads(f"value = {text}")
            value = table["value"] if len(table) == 1 else text
        except (tomllib.TOMLDecodeError, ValueError, RecursionError):
            value = text
        if self.kind is Kind.DEVICES and isinstance(value, str):
            return [word.strip() for word in value.split(",")]
        return value


def is_host(text: str) -> bool:
    """True for an IP address or a plain host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST.fullmatch(text) is not None
    return True


def is_absolute(text: str) -> bool:
    """True for a path from the root, in characters that can be shown."""
    return text.startswith("/") and text.isprintable() and len(text) <= 1024


def figure(value: float) -> str:
    """A number without a needless `.0`."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def in_words(value: Value) -> str:
    """A value as it is shown to people: `0.83`, `cuda, cpu`, `-` for nothing."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(value)
    return value if isinstance(value, str) else figure(value)
