"""The lines of keys, against tomllib and by hand."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.model.positions import KeyPath, key_lines, line_of

Draw = Callable[[st.SearchStrategy[Any]], Any]


def paths(value: object, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key and array element below a value that tomllib gave."""
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    for key, below in items:
        yield (*above, key)
        yield from paths(below, (*above, key))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only a comment", {}),
        ("a = 1", {("a",): 1}),
        ("\n\n  a = 1 # x\nb = 2", {("a",): 3, ("b",): 4}),
        ("a = 1\r\n\r\nb = 2\r\n", {("a",): 1, ("b",): 3}),
        ("a.b = 1\na . c = 2", {("a",): 1, ("a", "b"): 1, ("a", "c"): 2}),
        ("\"a.b\" = 1\n'c\"' = 2\n\"\\u0064\" = 3", {("a.b",): 1, ('c"',): 2, ("d",): 3}),
        ('"" = 1', {("",): 1}),
        ("[a]\n[ b . c ]\nd = 1", {("a",): 1, ("b",): 2, ("b", "c"): 2, ("b", "c", "d"): 3}),
        ("[a.b]\nc = 1\n[a]\nd = 1", {("a",): 3, ("a", "b"): 1, ("a", "b", "c"): 2, ("a", "d"): 4}),
        ("[[a]]\nb = 1\n\n[[a]]\nb = 2", {("a",): 1, ("a", 0): 1, ("a", 0, "b"): 2, ("a", 1): 4, ("a", 1, "b"): 5}),
        ("[[a]]\n[a.b]\n[[a]]\n[a.b]", {("a",): 1, ("a", 0): 1, ("a", 0, "b"): 2, ("a", 1): 3, ("a", 1, "b"): 4}),
        (
            "[[a.b]]\n[[a.b.c]]\n[[a.b.c]]",
            {("a",): 1, ("a", "b"): 1, ("a", "b", 0): 1, ("a", "b", 0, "c"): 2}
            | {("a", "b", 0, "c", 0): 2, ("a", "b", 0, "c", 1): 3},
        ),
        ("a = [ # x ]\n  1, # ]\n\n  [2,\n 3], ]\nb = 1",
         {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("a", 1, 0): 4, ("a", 1, 1): 5, ("b",): 6}),
        ("a = []\nb = [ ]\nc = {}\nd = { }", {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}),
        ("a = { b.c = 1, 'd' = [\n2\n] }\ne = 1",
         {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "d"): 1, ("a", "d", 0): 2, ("e",): 4}),
        ('a = """\nx = 1\n[y]\n\\""" z\n"""\nb = 1', {("a",): 1, ("b",): 6}),
        ('a = """x\"""""\nb = 1', {("a",): 1, ("b",): 2}),
        ("a = '''\n\\'''''\nb = 1", {("a",): 1, ("b",): 3}),
        ('a = ""\nb = \'\'\nc = """"""\nd = 1', {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}),
        ('a = "\\"]#\\\\"\nb = 1', {("a",): 1, ("b",): 2}),
        ("a = 1979-05-27 07:32:00\nb = [1979-05-27 07:32:00, 1]",
         {("a",): 1, ("b",): 2, ("b", 0): 2, ("b", 1): 2}),
    ],
)  # fmt: skip
def test_each_key_has_its_line(text: str, expected: dict[KeyPath, int]) -> None:
    assert set(paths(tomllib.loads(text))) == set(expected), "the case itself is right"
    assert key_lines(text) == expected


def test_an_unknown_path_has_the_line_of_the_table_around_it() -> None:
    lines = key_lines("\n[a]\n[a.b]\nc = 1")
    assert line_of(lines, ("a", "b", "x", 3)) == 3
    assert line_of(lines, ("z",)) == 1
    assert line_of(lines, ()) == 1


def _key(draw: Draw, number: int) -> str:
    styles = ("k{}", '"k {}.#["', "'k{}\"='", '"k\\n{}"', "k{}.x", 'k{} . "y z".w')
    return str(draw(st.sampled_from(styles))).format(number)


def _leaf(draw: Draw, number: int) -> str:
    """A value of any form with its number on its first line; 1000 to 9999 is a year too."""
    forms = (
        "{}", "-{}.5e3", "{}-01-01 07:32:00", '"m{} # [x] = \\" \\\\"', "'m{} \\'",
        '"""m{}\n"" = [\\"\\\\\n]"""""', "'''m{}\n''a''\n''''", '"""m{} \\\n  """',
    )  # fmt: skip
    return str(draw(st.sampled_from(forms))).format(number)


def _value(draw: Draw, numbers: Iterator[int], depth: int) -> str:
    form = draw(st.sampled_from(("leaf", "array", "table"))) if depth else "leaf"
    if form == "leaf":
        return _leaf(draw, next(numbers))
    size = draw(st.integers(0, 3))
    if form == "table":
        pairs = [f"{_key(draw, next(numbers))} = {_value(draw, numbers, depth - 1)}" for _ in range(size)]
        return f"{{ {', '.join(pairs)} }}"
    gap = draw(st.sampled_from(("", " ", "\n", " # ],\n\n  ")))
    values = [_value(draw, numbers, depth - 1) for _ in range(size)]
    comma = draw(st.sampled_from(("", ","))) if values else ""
    return f"[{gap}{f',{gap}'.join(values)}{gap}{comma}{gap}]"


@st.composite
def documents(draw: Draw) -> str:
    """TOML of every form that the scanner must walk over, each leaf with a number of its own."""
    numbers = itertools.count(1000)
    lines: list[str] = []
    for index in range(draw(st.integers(1, 4))):
        headers = ("", f"[s{index}]", f"[ s{index} . 'sub' ]", f"[[t{index}]]", f"[[t{index}]]\n[t{index}.u]")
        header = draw(st.sampled_from(headers)) if index else ""
        for _ in range(draw(st.integers(1, 2)) if header.startswith("[[") else 1):
            lines += [header, draw(st.sampled_from(("", "# [[x]] = '", "\t")))]
            pairs = draw(st.integers(0, 3))
            lines += [f"{_key(draw, next(numbers))} = {_value(draw, numbers, 2)} # c" for _ in range(pairs)]
    newline = str(draw(st.sampled_from(("\n", "\r\n"))))
    return newline.join("\n".join(lines).split("\n"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(documents())
def test_the_scanner_finds_what_tomllib_finds_on_the_line_where_it_stands(text: str) -> None:
    tree = tomllib.loads(text)
    found = key_lines(text)
    assert set(found) == set(paths(tree))
    lines = text.split("\n")
    for path in found:
        value: Any = tree
        for key in path:
            value = value[key]
        if isinstance(value, dict | list):
            continue
        number = "".join(character for character in str(value) if character.isdigit())[:4]
        assert number in lines[found[path] - 1], (path, found[path])
