"""The part of YAML that MLflow writes into `MLmodel`: block mappings and lists of scalars.

Source: YAML 1.2.2, chapters 7.3 (quoted and plain scalars, folded over lines), 8.1 (block scalars) and 8.2 (block
collections). Anchors, aliases, tags and filled flow collections are refused with their line. Numbers stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Node = None | str | list["Node"] | dict[str, "Node"]

_KEY: Final = re.compile(
    r"""(?P<key>'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"\[\]{}#&*!|>%@`,][^#]*?)\s*:(?:\s+(?P<rest>.*)|$)"""
)
_EMPTY: Final[dict[str, Node]] = {"": None, "null": None, "~": None, "Null": None, "NULL": None}
_ESCAPES: Final = {
    "n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "a": "\a", "b": "\b", "v": "\v", "f": "\f",
    " ": " ", "/": "/", '"': '"', "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX: Final = {"x": 2, "u": 4, "U": 8}
_DEEPEST: Final = 64


class NotYaml(Exception):
    """Why a text cannot be read: `line 3: an alias (*) is not read here`."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def read_mlmodel(text: str) -> dict[str, Node]:
    """Read a whole file. Raises: NotYaml: with the line."""
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        if "\t" in raw[: len(raw) - len(raw.lstrip())]:
            raise NotYaml(f"line {number}: a tab where spaces indent")
        lines.append(_Line(number, len(raw) - len(raw.lstrip(" ")), raw.strip()))
    reader = _Reader([line for line in lines if line.text not in ("---", "...")])
    found = reader.block(0, 0)
    reader.refuse_rest()
    if found is not None and not isinstance(found, dict):
        raise NotYaml("line 1: expected keys and values")
    return found or {}


class _Reader:
    """One pass over the lines."""

    def __init__(self, lines: list[_Line]) -> None:
        self._lines = lines
        self._at = 0

    def block(self, indent: int, depth: int) -> Node:
        """The mapping or list that begins here, at `indent` or deeper; None: nothing does."""
        line = self._peek()
        if line is None or line.indent < indent:
            return None
        if depth > _DEEPEST:
            raise NotYaml(f"line {line.number}: nested too deeply")
        if line.text == "-" or line.text.startswith("- "):
            return self._list(line.indent, depth)
        return self._mapping(line.indent, depth)

    def refuse_rest(self) -> None:
        """Raises: NotYaml: a line is left over."""
        line = self._peek()
        if line is not None:
            raise NotYaml(f"line {line.number}: its indentation fits nothing above")

    def _mapping(self, indent: int, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while (line := self._peek()) is not None and line.indent == indent:
            match = _KEY.fullmatch(line.text)
            if match is None:
                raise NotYaml(f"line {line.number}: expected KEY: VALUE, found {line.text[:40]!r}")
            self._at += 1
            key = str(self._scalar(match["key"], line))
            if key in found:
                raise NotYaml(f"line {line.number}: {key!r} stands twice")
            found[key] = self._value(match["rest"] or "", line, depth)
        return found

    def _list(self, indent: int, depth: int) -> list[Node]:
        found: list[Node] = []
        while (line := self._peek()) is not None and line.indent == indent and re.match(r"-( |$)", line.text):
            inner = line.text[1:].lstrip()
            if _KEY.fullmatch(inner):
                shift = len(line.text) - len(inner)
                self._lines[self._at] = _Line(line.number, indent + shift, inner)
                found.append(self._mapping(indent + shift, depth + 1))
            else:
                self._at += 1
                found.append(self._value(inner, line, depth))
        return found

    def _value(self, rest: str, line: _Line, depth: int) -> Node:
        rest = "" if rest.startswith("#") else rest
        if rest[:1] in ("|", ">"):
            return self._literal(line.indent, " " if rest[0] == ">" else "\n")
        if rest[:1] in ("'", '"'):
            return self._scalar(self._quoted(rest, line), line)
        if rest:
            return self._scalar(self._folded(rest, line.indent), line)
        following = self._peek()
        if following is not None and following.indent == line.indent and re.match(r"-( |$)", following.text):
            return self._list(line.indent, depth + 1)
        return self.block(line.indent + 1, depth + 1)

    def _quoted(self, rest: str, line: _Line) -> str:
        """The whole quoted scalar, its lines folded."""
        whole = r"'(?:[^']|'')*'" if rest[0] == "'" else r'"(?:[^"\\]|\\.)*"'
        while not re.fullmatch(whole + r"\s*(#.*)?", rest, re.DOTALL):
            if self._at >= len(self._lines):
                raise NotYaml(f"line {line.number}: a string does not end")
            following = self._lines[self._at].text
            self._at += 1
            if not following:
                rest += "\n"
            elif rest.endswith("\\") and rest[0] == '"':
                rest = rest[:-1] + following
            else:
                rest += ("" if rest.endswith("\n") else " ") + following
        match = re.match(whole, rest, re.DOTALL)
        return match[0] if match else rest

    def _folded(self, rest: str, indent: int) -> str:
        parts = [rest]
        while (line := self._peek()) is not None and line.indent > indent:
            parts.append(line.text)
            self._at += 1
        return re.sub(r"\s+#.*", "", " ".join(parts))

    def _literal(self, indent: int, joint: str) -> str:
        parts = []
        while (line := self._peek()) is not None and line.indent > indent:
            parts.append(line.text)
            self._at += 1
        return joint.join(parts)

    def _scalar(self, text: str, line: _Line) -> Node:
        if text[:1] == "'":
            return text[1:-1].replace("''", "'")
        if text[:1] == '"':
            return re.sub(
                r"\\(x..|u.{4}|U.{8}|.)", lambda found: _escape(found, line), text[1:-1], flags=re.DOTALL
            )
        if text in ("[]", "{}"):
            return [] if text == "[]" else {}
        if text[:1] in ("[", "{", "&", "*", "!", "%", "@", "`"):
            raise NotYaml(f"line {line.number}: {text[:20]!r} is YAML that is not read here")
        return _EMPTY.get(text, text)

    def _peek(self) -> _Line | None:
        """The next line that says something, without taking it."""
        while self._at < len(self._lines) and (
            not self._lines[self._at].text or self._lines[self._at].text.startswith("#")
        ):
            self._at += 1
        return self._lines[self._at] if self._at < len(self._lines) else None


def _escape(found: re.Match[str], line: _Line) -> str:
    sign, digits = found[1][0], found[1][1:]
    if sign in _HEX and len(digits) == _HEX[sign]:
        try:
            return chr(int(digits, 16))
        except ValueError:
            pass
    elif sign in _ESCAPES:
        return _ESCAPES[sign]
    raise NotYaml(f"line {line.number}: the escape {found[0]!r} is not read here")
