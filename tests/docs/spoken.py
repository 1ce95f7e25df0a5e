"""What the source can say: every text in it, with holes where values stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT

from sealift.install.watch import Bounds, Watched, judge
from sealift.meter.beat import LATENCY_BOUNDS_S, Beat

_HOLE: Final = "\0"
_LEAST: Final = 8
"""A text with fewer letters than this of its own says nothing for certain."""
_SAID_BY: Final = re.compile(r"^(?:sealift \w+: |  next: |next: |recovered: |  - |  )")


@cache
def templates() -> tuple[str, ...]:
    """Every string of the source; a hole is NUL."""
    paths = sorted((ROOT / "src").rglob("*.py"))
    return tuple(text for path in paths for text in _texts(path))


@cache
def _sentences() -> tuple[re.Pattern[str], ...]:
    long = {text for text in templates() if len(re.sub(r"\W|\0|\{\w+\}", "", text)) >= _LEAST}
    return tuple(re.compile(_as_pattern(text), re.DOTALL) for text in sorted(long))


def is_said(line: str) -> bool:
    """Claims that some text of the source can come out as this line, whatever stands before it on a screen."""
    parts = [line, _SAID_BY.sub("", line)]
    return any(sentence.fullmatch(part) for part in parts for sentence in _sentences()) or (
        without_figures(line) in reasons()
    )


@cache
def reasons() -> frozenset[str]:
    """Every reason for which a watched release is taken back, with `#` for figures, by the policy itself."""
    slow, quick = _answers(400, 0.09), _answers(400, 0.012)
    bounds = Bounds(p99_s=0.05, memory_bytes=700 * 10**6)
    lately = Watched(seen=Beat(requests=10**5), recent=Beat(requests=400, errors=7))
    seen = [
        (Watched(seen=Beat(requests=412, errors=7)), bounds),
        (lately, bounds),
        (Watched(seen=slow), bounds),
        (Watched(seen=slow, before=quick), replace(bounds, p99_s=None)),
        (Watched(seen=_answers(40, 0.09)), bounds),
        (Watched(seen=Beat(resident_bytes=812 * 10**6)), bounds),
        (Watched(seen=Beat(resident_bytes=812 * 10**6)), Bounds(checked_bytes=97 * 10**6)),
        (Watched(crashes=2), bounds),
        (Watched(crashes=2, hung=1), bounds),
        (Watched(failed_in_a_row=2, seen=Beat(canaries=2, canary_problem=_PROBLEM)), bounds),
    ]
    said = [judge(watched, demanded).reasons for watched, demanded in seen]
    assert all(len(each) == 1 for each in said), said
    return frozenset(without_figures(each[0]) for each in said)


_PROBLEM: Final = "golden input case-17.json: output risk: differs by 0.031, tolerance 0.000488"


def without_figures(line: str) -> str:
    """With `#` in place of each number."""
    return re.sub(r"[0-9]+(?:\.[0-9]+)*", "#", line)


def _answers(count: int, seconds: float) -> Beat:
    latency = [0] * len(LATENCY_BOUNDS_S)
    latency[next(place for place, bound in enumerate(LATENCY_BOUNDS_S) if bound >= seconds)] = count
    return Beat(requests=count, latency=tuple(latency))


def is_part(fragment: str) -> bool:
    """Claims that these words stand in a text of the source."""
    return any(fragment in text for text in templates())


def _texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else _HOLE
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def _as_pattern(text: str) -> str:
    """Holes are anything; so are the fields of `str.format`."""
    return ".*?".join(re.escape(part) for part in re.split(r"\0|\{\w+\}", text))
