"""One table of the project file, read key by key; what is wrong is noted and the default goes on.

Every reader returns its default when the key is absent *or* wrong, so that one pass finds all problems;
`load_project` refuses the file at the end if any were noted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sealift.model.positions import KeyPath, line_of
from sealift.model.words import listed, named, nearest, quoted, shown
from sealift.project.folder import Folder, Kind, Unfit
from sealift.project.keys import advice_on

C = TypeVar("C", bound=str)
D = TypeVar("D")
V = TypeVar("V")

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Form:
    """What a string must look like, and how that is said."""

    pattern: re.Pattern[str]
    expected: str


ANY_TEXT: Final = Form(re.compile(r"\s*\S.*", re.DOTALL), "a string that is not empty")


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers are accepted, and how that is said. Infinities never are, NaN where `nan` says so."""

    expected: str
    accepts: Callable[[float], bool] = lambda _: True
    nan: bool = False


ANY_NUMBER: Final = Range("a finite number")
POSITIVE: Final = Range("a number above 0", lambda x: x > 0)


@dataclass(frozen=True, slots=True)
class Report:
    """The problems found so far, each with the line it stands on.

    `meant` holds keys and sections that are there under a wrong name or type: that they are missing
    needs no second problem.
    """

    lines: dict[KeyPath, int]
    found: list[tuple[int, str]] = field(default_factory=list)
    meant: set[KeyPath] = field(default_factory=set)

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem at the line of `path`."""
        self.found.append((line_of(self.lines, path), text))

    def is_meant(self, path: KeyPath) -> bool:
        """True when a problem was noted that, once corrected, puts `path` there."""
        return any(path[:length] in self.meant for length in range(1, len(path) + 1))

    def problems(self) -> tuple[str, ...]:
        """In the order of the file: `line 7: [model] 'pth' is not a key; did you mean 'path'?`."""
        return tuple(f"line {line}: {text}" for line, text in sorted(self.found, key=lambda entry: entry[0]))


@dataclass(frozen=True, slots=True)
class Section:
    """A table with the place it stands at; a section that the file leaves out is an empty table."""

    table: Mapping[str, Any]
    path: KeyPath
    folder: Folder
    report: Report

    @property
    def title(self) -> str:
        """`[model.input]`, as its header is written; `[[...]]` for an element of an array of tables."""
        keys = [key if _BARE.fullmatch(key) else quoted(key) for key in self.path if isinstance(key, str)]
        title = f"[{'.'.join(keys)}]"
        return f"[{title}]" if isinstance(self.path[-1], int) else title

    def __contains__(self, key: str) -> bool:
        return key in self.table

    def refuse(self, key: str, text: str, index: int | None = None) -> None:
        """Note what is wrong with a key, or with one element of its array."""
        at = () if index is None else (index,)
        self.report.add((*self.path, key, *at), f"{self.title} {key}: {text}")

    def allow_only(self, keys: tuple[str, ...], of: str = "") -> None:
        """Note every key that is not among `keys`; `of` names the kind whose keys they are."""
        for key in self.table:
            if key not in keys:
                advice, meant = advice_on(key, keys)
                self.report.add((*self.path, key), f"{self.title} {named(key)} is not a key{of}{advice}")
                self.report.meant.update({(*self.path, meant)} if meant else ())

    def require(self, key: str) -> bool:
        """True when the key is there; otherwise its absence is noted at the section's own line.

        To be asked after `allow_only`: a misspelt key is one problem, not two.
        """
        if key not in self.table and not self.report.is_meant((*self.path, key)):
            self.report.add(self.path, f"{self.title} '{key}' is missing")
        return key in self.table

    def child(self, key: str) -> Section:
        """The section below; empty when it is absent or not a table (which is noted)."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            below = Section({}, (*self.path, key), self.folder, self.report)
            self.report.add(below.path, f"{key}: expected a section, {below.title}, got {_got(value)}")
            self.report.meant.add(below.path)
            return below
        return Section(value, (*self.path, key), self.folder, self.report)

    def children(self, key: str) -> list[Section]:
        """The tables of `[[key]]`, in order; anything that is no table is noted and left out."""
        value = self.table.get(key, [])
        header = f"[[{self.title[1:-1]}.{key}]]"
        if not isinstance(value, list):
            self.refuse(key, f"expected tables, {header}, got {_got(value)}")
            return []
        tables = []
        for index, entry in enumerate(value):
            if isinstance(entry, dict):
                tables.append(Section(entry, (*self.path, key, index), self.folder, self.report))
            else:
                self.refuse(key, f"expected a table, {header}, got {shown(entry)}", index)
        return tables

    def text(self, key: str, default: D, form: Form = ANY_TEXT) -> str | D:
        """A string of the given form."""
        if key not in self.table or not self._fits(key, self.table[key], form):
            return default
        return str(self.table[key])

    def choice(self, key: str, default: D, options: tuple[C, ...]) -> C | D:
        """One of a few words."""
        if key not in self.table:
            return default
        return self._chosen(key, self.table[key], options) or default

    def flag(self, key: str, default: D) -> bool | D:
        """`true` or `false`."""
        if key not in self.table:
            return default
        if isinstance(self.table[key], bool):
            return bool(self.table[key])
        self.refuse(key, f"expected true or false, got {_got(self.table[key])}")
        return default

    def number(self, key: str, default: D, within: Range = ANY_NUMBER) -> float | D:
        """An integer or float within a range, as a float."""
        if key not in self.table or not self._is_number(key, self.table[key], within):
            return default
        return float(self.table[key])

    def integer(self, key: str, default: D, within: Range) -> int | D:
        """An integer within a range; 3.0 is none."""
        if key not in self.table or not self._is_number(key, self.table[key], within, whole=True):
            return default
        return int(self.table[key])

    def numbers(self, key: str, default: D, within: Range = ANY_NUMBER) -> tuple[float, ...] | D:
        """An array of numbers, not empty; a bare number is an array of one."""
        if key not in self.table:
            return default
        values = self.table[key]
        if not isinstance(values, list):
            return (float(values),) if self._is_number(key, values, within) else default
        values = self._array(key, "numbers")
        fit = [self._is_number(key, value, within, index=index) for index, value in enumerate(values)]
        return tuple(float(value) for value in values) if values and all(fit) else default

    def texts(
        self, key: str, default: D, form: Form = ANY_TEXT, *, distinct: bool = True
    ) -> tuple[str, ...] | D:
        """An array of strings of the given form, not empty, each once where they must be distinct."""
        if key not in self.table:
            return default
        values = self._array(key, "strings")
        fit = [self._fits(key, value, form, index) for index, value in enumerate(values)]
        if not values or not all(fit) or (distinct and not self._differ(key, values)):
            return default
        return tuple(values)

    def choices(self, key: str, default: D, options: tuple[C, ...]) -> tuple[C, ...] | D:
        """An array of words out of a few, not empty, each once."""
        if key not in self.table:
            return default
        values = self._array(key, "strings")
        chosen = [self._chosen(key, value, options, index) for index, value in enumerate(values)]
        known = tuple(option for option in chosen if option is not None)
        return known if values and len(known) == len(values) and self._differ(key, values) else default

    def found(self, key: str, default: D, find: Callable[[str], V]) -> V | D:
        """What a path that the key names leads to; `find` raises `Unfit` where it leads nowhere."""
        if key not in self.table or not self._fits(key, self.table[key], ANY_TEXT):
            return default
        try:
            return find(self.table[key])
        except Unfit as unfit:
            self.refuse(key, str(unfit))
            return default

    def path_to(self, key: str, kind: Kind) -> Path | None:
        """A path inside the project folder that exists."""
        return self.found(key, None, lambda name: self.folder.find(name, kind))

    def _array(self, key: str, of: str) -> list[Any]:
        value = self.table[key]
        if not isinstance(value, list):
            advice = f"; write [{shown(value)}]" if isinstance(value, str) else ""
            self.refuse(key, f"expected an array of {of}, got {_got(value)}{advice}")
            return []
        if not value:
            self.refuse(key, f"expected an array of {of}, got an empty one; leave the key out instead")
        return value

    def _differ(self, key: str, values: list[str]) -> bool:
        seen: set[str] = set()
        for index, value in enumerate(values):
            if value in seen:
                self.refuse(key, f"{quoted(value)} stands twice", index)
            seen.add(value)
        return len(seen) == len(values)

    def _fits(self, key: str, value: object, form: Form, index: int | None = None) -> bool:
        if isinstance(value, str) and form.pattern.fullmatch(value):
            return True
        advice = "" if isinstance(value, str | list | dict) else f'; write "{shown(value)}"'
        if not isinstance(value, str) and not form.pattern.fullmatch(shown(value)):
            advice = ""
        self.refuse(key, f"expected {form.expected}, got {_got(value)}{advice}", index)
        return False

    def _chosen(self, key: str, value: object, options: tuple[C, ...], index: int | None = None) -> C | None:
        for option in options:
            if option == value:
                return option
        near = nearest(value, options) if isinstance(value, str) else None
        advice = f'; did you mean "{near}"?' if near else ""
        self.refuse(key, f"expected {listed(options)}, got {_got(value)}{advice}", index)
        return None

    def _is_number(
        self, key: str, value: Any, within: Range, *, whole: bool = False, index: int | None = None
    ) -> bool:
        if _is_finite(value) and within.accepts(value) and not (whole and isinstance(value, float)):
            return True
        if within.nan and isinstance(value, float) and math.isnan(value):
            return True
        advice = f"; write {value} without quotes" if _reads_as_number(value) else ""
        self.refuse(key, f"expected {within.expected}, got {_got(value)}{advice}", index)
        return False


def _is_finite(value: object) -> bool:
    """True for an int or float that a double holds; a bool is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _reads_as_number(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", value) is not None


def _got(value: object) -> str:
    """`shown`, with an array of tables named as what its author wrote."""
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return "an array of tables"
    return shown(value)
