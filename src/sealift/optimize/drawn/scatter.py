"""Accuracy against latency as one SVG, at a size for a desk and paper or at one for a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sealift.optimize.drawn.axis import Axis, apart, linear, logarithmic
from sealift.optimize.drawn.frontier import Point, Scatter, frontier
from sealift.optimize.drawn.labels import Box, around, place, width_of
from sealift.optimize.drawn.markup import Markup, joined, tag
from sealift.optimize.figures import SHARES, THIN, metric_name, metric_value, milliseconds, tick

_LOG_FROM: Final = 12.0
"""Slowest over quickest from which latencies are drawn on a logarithmic axis."""
_TYPE: Final = 12.5
_RADIUS: Final = 6.5


@dataclass(frozen=True, slots=True)
class Canvas:
    """Pixels of the whole picture and of its margins; `longest` letters of a name are written out.

    More points than `most_names` are numbered, and named in a key below.
    """

    name: str
    width: int
    height: int
    left: int
    longest: int
    most_names: int
    top: int = 34
    right: int = 14
    bottom: int = 48


DESK: Final = Canvas("desk", 860, 440, 66, 34, 14)
PHONE: Final = Canvas("phone", 328, 420, 50, 20, 5)


@dataclass(frozen=True, slots=True)
class _Plane:
    """From milliseconds and metric to places in the picture; better values of the metric are higher up."""

    canvas: Canvas
    across: Axis
    up: Axis
    higher_is_better: bool

    @property
    def frame(self) -> Box:
        c = self.canvas
        return Box(c.left, c.top, c.width - c.right, c.height - c.bottom)

    def x(self, ms: float) -> float:
        return self.frame.left + self.across.share(ms) * (self.frame.right - self.frame.left)

    def y(self, value: float) -> float:
        share = self.up.share(value)
        share = share if self.higher_is_better else 1 - share
        return self.frame.bottom - share * (self.frame.bottom - self.frame.top)


def draw(scatter: Scatter, canvas: Canvas, described: str) -> Markup:
    """The picture; `described` is its whole content in a sentence for those who cannot see it.

    At least one point.
    """
    plane = _plane(scatter, canvas)
    title_id, text_id = f"scatter-{canvas.name}-title", f"scatter-{canvas.name}-text"
    return tag(
        "svg",
        tag("title", f"{metric_name(scatter.metric)} against latency", id=title_id),
        tag("desc", described, id=text_id),
        *_grid(plane, scatter),
        *_frontier(plane, scatter),
        *_bounds(plane, scatter),
        *(_error_bars(plane, point) for point in scatter.points),
        *(mark(point.kind, plane.x(point.ms), plane.y(point.value)) for point in scatter.points),
        *_names(plane, scatter),
        class_=f"chart {canvas.name}",
        viewBox=f"0 0 {canvas.width} {canvas.height}",
        role="img",
        aria_labelledby=f"{title_id} {text_id}",
    )


def key(scatter: Scatter, canvas: Canvas) -> Markup:
    """The names of numbered points; nothing where the picture names them itself."""
    if len(scatter.points) <= canvas.most_names:
        return Markup()
    items = (tag("li", tag("b", point.name), f" {_figures(scatter, point)}") for point in scatter.points)
    return tag("ol", *items, class_=f"key {canvas.name}")


def mark(kind: str, x: float, y: float) -> Markup:
    """The sign of a variant: its form says as much as its colour."""
    r = _RADIUS
    if kind == "ships":
        ring = tag("circle", cx=x, cy=y, r=r + 3.5, class_="ring")
        return joined([ring, tag("circle", cx=x, cy=y, r=r, class_="mark ships")])
    forms = {
        "reference": f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
        "travels": f"M{x:.1f} {y - r * 1.35:.1f}l{r * 1.35:.1f} {r * 1.35:.1f}l{-r * 1.35:.1f} {r * 1.35:.1f}"
        f"l{-r * 1.35:.1f} {-r * 1.35:.1f}z",
        "passed": f"M{x:.1f} {y - r * 1.35:.1f}l{r * 1.35:.1f} {r * 1.35:.1f}l{-r * 1.35:.1f} {r * 1.35:.1f}"
        f"l{-r * 1.35:.1f} {-r * 1.35:.1f}z",
        "refused": f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}",
    }
    return tag("path", d=forms[kind], class_=f"mark {kind}")


def _plane(scatter: Scatter, canvas: Canvas) -> _Plane:
    values = [point.value for point in scatter.points]
    values += [end for point in scatter.points if point.value_between for end in point.value_between]
    values += [bound.value for bound in scatter.bounds if not bound.is_latency]
    times = [point.ms for point in scatter.points]
    times += [bound.value for bound in scatter.bounds if bound.is_latency and bound.value > 0]
    is_wide = max(times) > min(times) * _LOG_FROM
    across = logarithmic(times) if is_wide else linear(times, from_zero=True)
    return _Plane(canvas, across, linear(values), scatter.higher_is_better)


def _grid(plane: _Plane, scatter: Scatter) -> Iterator[Markup]:
    frame, up, across = plane.frame, plane.up, plane.across
    ticks = [value for value in up.ticks if value <= 1.0000001 or scatter.metric not in SHARES]
    for value in apart(ticks, up, frame.bottom - frame.top, 22):
        y = plane.y(value)
        yield tag("path", d=f"M{frame.left} {y:.1f}H{frame.right}", class_="grid")
        text = f"{tick(value * 100)}{THIN}%" if scatter.metric in SHARES else tick(value)
        yield tag("text", text, x=frame.left - 7, y=y + 4, class_="tick end")
    for ms in apart(across.ticks, across, frame.right - frame.left, 36):
        x = plane.x(ms)
        yield tag("path", d=f"M{x:.1f} {frame.top}V{frame.bottom}", class_="grid")
        yield tag("text", tick(ms), x=x, y=frame.bottom + 17, class_="tick middle")
    yield tag("path", d=f"M{frame.left} {frame.top}V{frame.bottom}H{frame.right}", class_="axis")
    name = _shortened(metric_name(scatter.metric), plane.canvas.longest)
    yield tag("text", f"{name} \u2013 up is better", x=4, y=16, class_="title")
    scale = ", logarithmic" if across.is_log else ""
    words = f"latency p50, ms{scale} \u2013 left is better"
    yield tag("text", words, x=frame.right, y=plane.canvas.height - 8, class_="title end")


def _stairs(plane: _Plane, scatter: Scatter) -> list[tuple[float, float]]:
    """Corners: whatever lies below and to the right of them is beaten by a variant in both."""
    corners: list[tuple[float, float]] = []
    for point in frontier(scatter):
        x, y = plane.x(point.ms), plane.y(point.value)
        corners += [(x, corners[-1][1]), (x, y)] if corners else [(x, y)]
    return [*corners, (plane.frame.right, corners[-1][1])]


def _frontier(plane: _Plane, scatter: Scatter) -> Iterator[Markup]:
    frame, corners = plane.frame, _stairs(plane, scatter)
    line = " ".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    area = f"M{line} {frame.right:.1f} {frame.bottom:.1f} {corners[0][0]:.1f} {frame.bottom:.1f}z"
    yield tag("path", d=area, class_="beaten")
    yield tag("path", d=f"M{line}", class_="frontier")


def _bounds(plane: _Plane, scatter: Scatter) -> Iterator[Markup]:
    frame = plane.frame
    for bound in scatter.bounds:
        if bound.is_latency:
            yield tag("path", d=f"M{plane.x(bound.value):.1f} {frame.top}V{frame.bottom}", class_="bound")
        else:
            yield tag("path", d=f"M{frame.left} {plane.y(bound.value):.1f}H{frame.right}", class_="bound")


def _bound_labels(plane: _Plane, scatter: Scatter) -> Iterator[tuple[str, list[Box]]]:
    """Words and the places for them: along the line, just above it or beside its foot."""
    frame, longest = plane.frame, plane.canvas.longest
    for bound in scatter.bounds:
        value = milliseconds(bound.value) if bound.is_latency else metric_value(scatter.metric, bound.value)
        text = f"gate {_shortened(bound.name, longest - 6)}: {value}"
        wide = width_of(text, _TYPE - 1)
        if bound.is_latency:
            x = plane.x(bound.value)
            heights = [frame.bottom - 4 - 24 * step for step in range(8)]
            yield text, [Box(left, y - 16, left + wide, y) for y in heights for left in (x + 5, x - 5 - wide)]
        else:
            y = plane.y(bound.value)
            room = max(0.0, frame.right - frame.left - wide - 8)
            lefts = [frame.left + 4 + room * share for share in (1.0, 0.0, 0.75, 0.5, 0.25)]
            yield text, [Box(left, top, left + wide, top + 15) for top in (y - 18, y + 3) for left in lefts]


def _error_bars(plane: _Plane, point: Point) -> Markup:
    x, y = plane.x(point.ms), plane.y(point.value)
    lines = []
    if point.value_between:
        one, two = (plane.y(end) for end in point.value_between)
        lines.append(f"M{x:.1f} {one:.1f}V{two:.1f}M{x - 4:.1f} {one:.1f}h8M{x - 4:.1f} {two:.1f}h8")
    if point.ms_between:
        one, two = (plane.x(end) for end in point.ms_between)
        lines.append(f"M{one:.1f} {y:.1f}H{two:.1f}M{one:.1f} {y - 4:.1f}v8M{two:.1f} {y - 4:.1f}v8")
    return tag("path", d="".join(lines), class_=f"error {point.kind}") if lines else Markup()


def _names(plane: _Plane, scatter: Scatter) -> Iterator[Markup]:
    taken = [box for point in scatter.points for box in _covered(plane, point)]
    taken += [_along(one, two) for one, two in pairwise(_stairs(plane, scatter))]
    for text, places in _bound_labels(plane, scatter):
        box = place(places, plane.frame, taken)
        taken.append(box)
        yield tag("text", text, x=box.left + 1, y=box.bottom - 3, class_="gate")
    order = ("ships", "reference", "travels", "passed", "refused")
    is_numbered = len(scatter.points) > plane.canvas.most_names
    for number, point in sorted(enumerate(scatter.points, 1), key=lambda item: order.index(item[1].kind)):
        name = str(number) if is_numbered else _shortened(point.name, plane.canvas.longest)
        figures = "" if is_numbered else _figures(scatter, point)
        wide = max(width_of(name, _TYPE), width_of(figures, _TYPE - 1.5))
        x, y = plane.x(point.ms), plane.y(point.value)
        box = place(around(x, y, wide, 30 if figures else 15), plane.frame, taken)
        taken.append(box)
        yield _label(box, name, figures, point, (x, y))


def _figures(scatter: Scatter, point: Point) -> str:
    return f"{milliseconds(point.ms)}, {metric_value(scatter.metric, point.value)}"


def _label(box: Box, name: str, figures: str, point: Point, at: tuple[float, float]) -> Markup:
    """Two lines, and a thread to the point where they stand far from it."""
    x, y = at
    near_x, near_y = box.nearest(x, y)
    parts = []
    if abs(near_x - x) + abs(near_y - y) > 2 * _RADIUS + 4:
        parts.append(tag("path", d=f"M{x:.1f} {y:.1f}L{near_x:.1f} {near_y:.1f}", class_="thread"))
    is_left = box.right <= x
    where, side = (box.right - 1, " end") if is_left else (box.left + 1, "")
    parts.append(tag("text", name, x=where, y=box.top + 12, class_=f"name {point.kind}{side}"))
    if figures:
        parts.append(tag("text", figures, x=where, y=box.top + 26, class_=f"figures{side}"))
    return tag("g", tag("title", point.name), *parts)


def _along(one: tuple[float, float], two: tuple[float, float]) -> Box:
    """The strip that an upright or level line takes."""
    (left, right), (top, bottom) = sorted((one[0], two[0])), sorted((one[1], two[1]))
    return Box(left - 1.5, top - 1.5, right + 1.5, bottom + 1.5)


def _covered(plane: _Plane, point: Point) -> Iterator[Box]:
    x, y = plane.x(point.ms), plane.y(point.value)
    yield Box(x - 10, y - 10, x + 10, y + 10)
    if point.value_between:
        ends = sorted(plane.y(end) for end in point.value_between)
        yield Box(x - 4, ends[0], x + 4, ends[1])
    if point.ms_between:
        sides = sorted(plane.x(end) for end in point.ms_between)
        yield Box(sides[0], y - 4, sides[1], y + 4)


def _shortened(text: str, longest: int) -> str:
    """Names that differ at their ends still differ."""
    if len(text) <= longest:
        return text
    start = (longest - 3) * 2 // 3
    return f"{text[:start]}...{text[start + 3 - longest :]}"
