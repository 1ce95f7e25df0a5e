"""Where each key of a TOML text stands: tomllib reads the values and forgets the lines."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

KeyPath = tuple[str | int, ...]
"""Keys from the root down; an int is an index into an array or an array of tables."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_VALUE: Final = re.compile(r"[^,\]}#\n]+")
_STRING: Final = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"{3,5}'
    r"|'''[^']*(?:'{1,2}(?!')[^']*)*'{3,5}"
    r'|"[^"\\]*(?:\\.[^"\\]*)*"'
    r"|'[^']*'",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line, from 1, of every key, table and array element of a text that `tomllib.loads` accepts.

    A table stands where its own header is, else where its first key is; an array element of several
    lines where it begins. The result for a text that tomllib refuses means nothing.

    Raises: RecursionError: arrays nested deeper than the interpreter allows (tomllib raises it too).
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of the nearest table around it that stands in the text; else 1."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


class _Scanner:
    """One pass over a valid text; `at` is the next character, `counts` the length of each array of tables."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.newlines = [found.start() for found in re.finditer("\n", self.text)]
        self.counts: dict[KeyPath, int] = {}
        self.lines: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._next_is_more():
            if self.text.startswith("[[", self.at):
                table = self._array_header()
            elif self.text[self.at] == "[":
                table = self._table_header()
            else:
                self._key_and_value(table)

    def _next_is_more(self) -> bool:
        self._skip(_BLANK)
        return self.at < len(self.text)

    def _table_header(self) -> KeyPath:
        line = self._line()
        self.at += 1
        path = self._within_arrays(self._keys())
        self.at += 1
        self._record(path, line)
        self.lines[path] = line  # the header itself counts for more than a sub-table written above it
        return path

    def _array_header(self) -> KeyPath:
        line = self._line()
        self.at += 2
        *outer, last = self._keys()
        self.at += 2
        array = (*self._within_arrays(outer), last)
        index = self.counts.get(array, 0)
        self.counts[array] = index + 1
        self._record((*array, index), line)
        return (*array, index)

    def _within_arrays(self, keys: list[str]) -> KeyPath:
        """The keys of a header, with the index of the newest element after each array of tables."""
        path: KeyPath = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _key_and_value(self, table: KeyPath) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._record(path, line)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self.text.startswith(".", self.at):
            self.at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip(_SPACE)
        if self.text[self.at] in "\"'":
            key = str(tomllib.loads(f"key = {self._take(_STRING)}")["key"])
        else:
            key = self._take(_BARE_KEY)
        self._skip(_SPACE)
        return key

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._take(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_PLAIN_VALUE)

    def _array(self, path: KeyPath) -> None:
        index = 0
        self.at += 1
        while self._has_more("]"):
            self._record((*path, index), self._line())
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._has_more("}"):
            self._key_and_value(path)

    def _has_more(self, closing: str) -> bool:
        """Step to the next element, over a comma if one is there; at the closing bracket, step over it."""
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_BLANK)
        if self.text[self.at] != closing:
            return True
        self.at += 1
        return False

    def _record(self, path: KeyPath, line: int) -> None:
        """A key also opens the tables above it that nothing opened before (dotted keys, headers)."""
        while path and path not in self.lines:
            self.lines[path] = line
            path = path[:-1]

    def _line(self) -> int:
        return bisect_right(self.newlines, self.at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"not TOML at character {self.at}")
        self.at = found.end()
        return found.group()
