"""Who is let in while the service cannot answer everybody in time: a pure decision, the clock is handed in.

The promise is the declared p99. A request is let in if it would be answered within a part of it, `share`,
going by what requests took lately and how many are in the house; the part grows while answers come early and
shrinks as soon as they come late (additive increase, multiplicative decrease: Chiu and Jain 1989, section 2).
What is refused costs next to nothing: it is refused on its headers.
"""

from __future__ import annotations

from typing import Final

_GAIN: Final = 0.3
_MEASURED_S: Final = 0.05
_LOOK_S: Final = 0.1
_FEW: Final = 5
_FIRST_SHARE, _LEAST_SHARE, _MOST_SHARE = 0.6, 0.1, 0.9
_SHRINK, _GROW = 0.85, 0.02
_TIGHT, _LOOSE = 0.9, 0.75


class Admission:
    """Decides for one model; used from one thread.

    Args:
        promised_s: 99 of 100 answers within; None: nothing is promised, everybody is let in.
        slots: requests that are worked on at the same time; that many are always let in.
    """

    def __init__(self, promised_s: float | None, slots: int = 1) -> None:
        self.promised_s = promised_s
        self.inside = 0
        self.share = _FIRST_SHARE
        self._slots = slots
        self._apart_s = 0.0
        self._busy_s = 0.0
        self._done = 0
        self._busy_since = 0.0
        self._measured = 0.0
        self._seen = self._late = 0
        self._longest_s = 0.0
        self._looked = 0.0

    def expected_s(self) -> float:
        """How long a request that came now would take: its turn behind those inside, and its own time."""
        return (self.inside + self._slots) * self._apart_s

    def lets_in(self, now: float) -> bool:
        """Whether a request that came now would be answered in time."""
        if self.promised_s is None or self.inside < self._slots:
            return True
        self._look(now)
        return self.expected_s() <= self.promised_s * self.share

    def entered(self, now: float) -> None:
        """One was let in."""
        if not self.inside:
            self._busy_since = now
        self.inside += 1

    def left(self, now: float, seconds: float, *, counts: bool) -> None:
        """One has gone, `seconds` after it came.

        Args:
            counts: it was answered by the model: what it took tells something about the next.
        """
        self.inside -= 1
        if not counts or self.promised_s is None:
            return
        self._busy_s += now - self._busy_since
        self._busy_since = now
        self._done += 1
        self._seen += 1
        self._late += seconds > self.promised_s * _TIGHT
        self._longest_s = max(self._longest_s, seconds)
        if now >= self._measured + _MEASURED_S:
            apart_s = self._busy_s / self._done
            self._apart_s += _GAIN * (apart_s - self._apart_s) if self._apart_s else apart_s
            self._measured, self._busy_s, self._done = now, 0.0, 0

    def _look(self, now: float) -> None:
        """Ten times a second: did the answers since the last look come early or late?"""
        if now < self._looked + _LOOK_S or self._seen < _FEW or self.promised_s is None:
            return
        if self._late:
            self.share = max(_LEAST_SHARE, self.share * _SHRINK)
        elif self._longest_s < self.promised_s * _LOOSE:
            self.share = min(_MOST_SHARE, self.share + _GROW)
        self._looked, self._seen, self._late, self._longest_s = now, 0, 0, 0.0
