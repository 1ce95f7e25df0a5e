"""Protocol buffers' text format, without a schema: what `config.pbtxt` is written in.

Source: protobuf.dev, Text Format Language Specification. Read: fields, messages in `{}` and `<>`, lists in `[]`,
strings that stand beside each other, comments. Extensions and `Any` are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*)|(?P<newline>\n)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?))
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_DEEPEST: Final = 64
_CLOSING: Final = {"{": "}", "<": ">"}


class NotTextFormat(Exception):
    """Why a text cannot be read: `line 3: expected a value, found "}"`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name that stands where a value is: `TYPE_FP32`, `KIND_GPU`, `true`."""

    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """Fields in their order; a repeated field stands once for each of its values.

    `line`: where it begins, from 1.
    """

    line: int
    fields: tuple[tuple[str, Value], ...] = field(default=())

    def all(self, name: str) -> tuple[Value, ...]:
        """Every value of a field, in order."""
        return tuple(value for key, value in self.fields if key == name)

    def messages(self, name: str) -> tuple[Message, ...]:
        """Those of them that are messages."""
        return tuple(value for value in self.all(name) if isinstance(value, Message))

    def text(self, name: str) -> str:
        """The last value of a field as text; empty where there is none."""
        for value in reversed(self.all(name)):
            return value.text if isinstance(value, Word) else str(value)
        return ""

    def integers(self, name: str) -> tuple[int, ...]:
        """The whole numbers of a field."""
        return tuple(value for value in self.all(name) if isinstance(value, int))


Value = int | float | str | Word | Message


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def read_text_format(text: str) -> Message:
    """Read a whole file. Raises: NotTextFormat: with the line."""
    reader = _Reader(list(_tokens(text)))
    message = reader.message("", 1, 0)
    return message


def _tokens(text: str) -> Iterator[_Token]:
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotTextFormat(f"line {line}: unexpected {text[at : at + 20].splitlines()[0]!r}")
        at = match.end()
        kind = str(match.lastgroup)
        if kind == "newline":
            line += 1
        elif kind != "skip":
            yield _Token(kind, match.group(), line)
    yield _Token("end", "the end of the file", line)


class _Reader:
    """One pass over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def message(self, closing: str, line: int, depth: int) -> Message:
        """Fields up to `closing`, which is taken too; empty: up to the end."""
        if depth > _DEEPEST:
            raise NotTextFormat(f"line {line}: nested too deeply")
        fields: list[tuple[str, Value]] = []
        while not self._ends(closing):
            name = self._take("name", "the name of a field")
            fields += [(name.text, value) for value in self._values(name, depth)]
            while self._next.text in (",", ";") and self._next.kind == "sign":
                self._at += 1
        self._at += 1
        return Message(line, tuple(fields))

    def _ends(self, closing: str) -> bool:
        if self._next.kind == "end" and closing:
            raise NotTextFormat(f"line {self._next.line}: expected {closing!r}, found the end of the file")
        return self._next.kind == "end" or (self._next.kind == "sign" and self._next.text == closing)

    def _values(self, name: _Token, depth: int) -> list[Value]:
        had_colon = self._skip(":")
        if self._skip("["):
            return self._listed(depth)
        if self._next.text in _CLOSING and self._next.kind == "sign":
            return [self._value(depth)]
        if not had_colon:
            raise NotTextFormat(
                f"line {name.line}: expected ':' after {name.text}, found {self._next.text!r}"
            )
        return [self._value(depth)]

    def _listed(self, depth: int) -> list[Value]:
        values: list[Value] = []
        while not self._skip("]"):
            values.append(self._value(depth))
            if not self._skip(",") and self._next.text != "]":
                raise NotTextFormat(f"line {self._next.line}: expected ',' or ']', found {self._next.text!r}")
        return values

    def _value(self, depth: int) -> Value:
        token = self._next
        self._at += 1
        if token.kind == "sign" and token.text in _CLOSING:
            return self.message(_CLOSING[token.text], token.line, depth + 1)
        if token.kind == "string":
            return self._strings(token)
        if token.kind == "number":
            return _number(token)
        if token.kind == "name":
            return Word(token.text)
        raise NotTextFormat(f"line {token.line}: expected a value, found {token.text!r}")

    def _strings(self, first: _Token) -> str:
        parts = [_unescaped(first)]
        while self._next.kind == "string":
            parts.append(_unescaped(self._next))
            self._at += 1
        return "".join(parts)

    def _skip(self, sign: str) -> bool:
        found = self._next.kind == "sign" and self._next.text == sign
        self._at += found
        return found

    def _take(self, kind: str, what: str) -> _Token:
        token = self._next
        if token.kind != kind:
            raise NotTextFormat(f"line {token.line}: expected {what}, found {token.text!r}")
        self._at += 1
        return token

    @property
    def _next(self) -> _Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]


def _unescaped(token: _Token) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise NotTextFormat(f"line {token.line}: the escape {match[0]!r} is not read here")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", plain, token.text[1:-1])


def _number(token: _Token) -> int | float:
    text = token.text
    if text.lower().lstrip("+-").startswith("0x"):
        return int(text, 16)
    if re.fullmatch(r"[-+]?\d{1,20}", text):
        return int(text)
    return float(text.rstrip("fF"))
