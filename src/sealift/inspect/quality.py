"""What `sealift optimize` measured, as the release states it and as its report tells it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealift.errors import MalformedBundle
from sealift.inspect.contents import Contents
from sealift.inspect.node import Node, parse
from sealift.inspect.visible import size_in_words

CHECK = "optimized"
"""The key in release.json's checks."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One variant of the report. `faster` is `2.31x` or empty; `why` the first of its reasons."""

    name: str
    standing: str
    size: int
    faster: str
    why: str

    @property
    def words(self) -> str:
        """`int8-static  ships, 5.21 MB, 2.31x: the fastest that meets every gate`."""
        parts = [
            self.standing,
            *([size_in_words(self.size)] if self.size else []),
            *([self.faster] if self.faster else []),
        ]
        return f"{self.name}  {', '.join(parts)}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one model: what ships, the sentence, the report's digest; `tried` is empty where the report is not at hand."""

    variant: str
    verdict: str
    report: str
    tried: tuple[Tried, ...]


def read_quality(contents: Contents, name: str) -> Quality | None:
    """What release.json states of a model; None where nobody optimised it.

    Raises: MalformedBundle: the statement is not what sealift writes, or the report is another than the one stated.
    """
    checks = Node(contents.bundle.release.checks, "release.json checks")
    if not checks.has(CHECK) or not checks.get(CHECK).has(name):
        return None
    node = checks.get(CHECK).get(name)
    digest = node.get("report").text()
    return Quality(
        node.get("variant").text(), node.get("verdict").text(), digest, _tried(contents, name, digest)
    )


def _tried(contents: Contents, name: str, digest: str) -> tuple[Tried, ...]:
    path = f"reports/{name}.json"
    data = contents.read(path)
    if data is None:
        return ()
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != digest:
        raise MalformedBundle(f"application/{path}: release.json states the report {digest}, this is {found}")
    return tuple(map(_variant, parse(data, f"application/{path}").get("variants").items()))


def _variant(node: Node) -> Tried:
    sizes = [file.get("size").value for file in node.get("files").items()]
    if not all(isinstance(size, int) for size in sizes):
        raise MalformedBundle(f"{node.where}: expected sizes in bytes")
    reasons = node.get("reasons").texts()
    return Tried(
        node.get("name").text(),
        node.get("standing").text(),
        sum(sizes),
        _faster(node),
        reasons[0] if reasons else "",
    )


def _faster(node: Node) -> str:
    if not node.has("speed"):
        return ""
    ratio = node.get("speed").get("speedup").value
    return f"{ratio:.2f}x" if isinstance(ratio, int | float) else ""


def quality_json(quality: Quality | None) -> Mapping[str, Any] | None:
    """For `--json`."""
    if quality is None:
        return None
    return {
        "report": quality.report,
        "tried": [
            {"name": each.name, "size": each.size, "standing": each.standing, "why": each.why}
            for each in quality.tried
        ],
        "variant": quality.variant,
        "verdict": quality.verdict,
    }
