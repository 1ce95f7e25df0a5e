"""One run on all cores, or one single-thread run per core: a pure decision from what was measured.

Two single-thread runs side by side do more than one two-thread run after the other, but a single request is
answered sooner on all cores (DESIGN 4). So the load decides, run by run; nothing pauses to switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

_MOST_OF_A_PROMISE: Final = 0.5


class Layout(Enum):
    """How a run uses the processor."""

    WIDE = "all cores"
    NARROW = "one core"


@dataclass(frozen=True, slots=True)
class Layouts:
    """What a model can do here.

    `cores`: single-thread runs that fit side by side, 0: there is no second layout. `speedup`: how many times
    faster a run on all cores is than one on a single core, measured; 0: not worth having. `narrow_s`: what a run
    on a single core takes.
    """

    cores: int = 0
    speedup: float = 1.0
    narrow_s: float = 0.0

    def within(self, promised_s: float | None) -> Layouts:
        """What is left where a run on one core would use up most of what was promised for an answer."""
        if promised_s is None or self.narrow_s <= promised_s * _MOST_OF_A_PROMISE:
            return self
        return Layouts()


def choose(waiting: int, wide: int, narrow: int, layouts: Layouts) -> Layout | None:
    """The layout of the next run; None: it waits until a run ends.

    While fewer runs are wanted at once than a run on all cores is faster, one after the other on all cores ends
    sooner; with more the cores are worth more apart. A run that finds the processor idle never waits.

    Args:
        waiting: runs that could begin now, this one included.
        wide, narrow: runs in progress.
    """
    if not layouts.cores:
        return None if wide else Layout.WIDE
    if wide + narrow >= layouts.cores:
        return None
    if waiting + wide + narrow <= layouts.speedup:
        return None if wide else Layout.WIDE
    return Layout.NARROW
