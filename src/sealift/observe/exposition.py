"""A meter as Prometheus text.

Source: Prometheus, "Exposition formats", text format version 0.0.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from sealift.meter.meter import AnyFamily, Counter, Gauge, Histogram, Meter

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(meter: Meter) -> bytes:
    """All metrics with HELP and TYPE lines; a family without children shows only those."""
    return "".join(line + "\n" for family in meter for line in _family(family)).encode()


def _family(family: AnyFamily) -> Iterator[str]:
    about = family.about.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {about}"
    yield f"# TYPE {family.name} {family.kind}"
    for values, child in family.children.items():
        labels = tuple(zip(family.label_names, values, strict=True))
        yield from _child(family.name, labels, child)


def _child(
    name: str, labels: tuple[tuple[str, str], ...], child: Counter | Gauge | Histogram
) -> Iterator[str]:
    if not isinstance(child, Histogram):
        yield f"{name}{_labels(labels)} {_number(child.value)}"
        return
    running = 0
    for bound, count in zip((*child.bounds, math.inf), child.counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels((*labels, ('le', _number(bound))))} {running}"
    yield f"{name}_sum{_labels(labels)} {_number(child.sum)}"
    yield f"{name}_count{_labels(labels)} {running}"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
