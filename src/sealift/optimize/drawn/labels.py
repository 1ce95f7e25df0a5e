"""Where the names go in a picture, so that none covers a point, a line or another name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_BESIDE: Final = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
"""Directions from a point, the best first: right, left, above, below, and between them."""
_AWAY: Final = (10.0, 24.0, 42.0, 64.0, 90.0, 120.0)
_CHARACTER: Final = 0.58
"""Width of a letter over the height of its type, on the safe side for a bold sans serif."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the picture, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)

    def outside(self, frame: Box) -> float:
        """Area that lies beyond the frame."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(frame)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The place of the box that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def width_of(text: str, type_px: float) -> float:
    """Pixels a line of text needs, estimated."""
    return len(text) * type_px * _CHARACTER + 2


def around(x: float, y: float, wide: float, high: float) -> Iterator[Box]:
    """Places for a label near a point, the best first."""
    for away in _AWAY:
        for across, down in _BESIDE:
            middle_x = x + across * (away + wide / 2)
            middle_y = y + down * (away + high / 2)
            yield Box(middle_x - wide / 2, middle_y - high / 2, middle_x + wide / 2, middle_y + high / 2)


def place(candidates: Iterable[Box], frame: Box, taken: Sequence[Box]) -> Box:
    """The first that covers nothing, or the one that covers least; moved into the frame if it must be."""

    def cost(box: Box) -> float:
        return sum(box.overlap(other) for other in taken) + 4 * box.outside(frame)

    return _inside(min(candidates, key=cost), frame)


def _inside(box: Box, frame: Box) -> Box:
    across = max(0.0, frame.left - box.left) or min(0.0, frame.right - box.right)
    down = max(0.0, frame.top - box.top) or min(0.0, frame.bottom - box.bottom)
    return Box(box.left + across, box.top + down, box.right + across, box.bottom + down)
