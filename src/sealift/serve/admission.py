"""Who is let in while the service cannot answer everybody in time: a pure decision, the clock is handed in.

The promise is the declared p99. A request is let in if it would be answered within a part of it, `share`,
going by what requests took lately and how many are in the house; the part grows while answers come early and
shrinks as soon as they come late (additive increase, multiplicative decrease: Chiu and Jain 1989, section 2).
What is refused costs next to nothing: it is refused on its headers.
"""

from __future__ import annotations

from typing import Final

_GAIN: Final = 0.3
_LEARN_S: Final = 0.05
_FEW: Final = 3
_FIRST_SHARE, _LEAST_SHARE, _MOST_SHARE = 0.6, 0.1, 0.9
_SHRINK, _GROW = 0.85, 0.008
_TIGHT, _LOOSE = 0.9, 0.75


class Admission:
    """Decides for one model; used from one thread.

    Args:
        promised_s: 99 of 100 answers within; None: nothing is promised, everybody is let in.
        slots: requests that are worked on at the same time; that many are always let in.
        apart_s: how far apart answers come while there is work, until they tell themselves; 0: not known. Without it
            a worker that starts under overload would let everybody in at first.
    """

    def __init__(self, promised_s: float | None, slots: int = 1, apart_s: float = 0.0) -> None:
        self.promised_s = promised_s
        self.inside = 0
        self.share = _FIRST_SHARE
        self._slots = slots
        self._apart_s = apart_s
        self._done = 0
        self._longest_s = 0.0
        self._idle_s = self._idle_since = 0.0
        self._began = 0.0
        self._until = 0.0

    def expected_s(self) -> float:
        """How long a request that came now would take: its turn behind those inside, and its own time."""
        return (self.inside + self._slots) * self._apart_s

    def has_room(self) -> bool:
        """Whether a request that came now would be answered in time."""
        if self.promised_s is None or self.inside < self._slots:
            return True
        return self.expected_s() <= self.promised_s * self.share

    def enter(self, now: float) -> bool:
        """Let one in that is here, whole; False: it would not be answered in time."""
        if not self.has_room():
            return False
        if not self.inside:
            self._idle_s += max(0.0, now - self._idle_since)  # it may have come while another was inside
        self.inside += 1
        return True

    def left(self, now: float, seconds: float, *, counts: bool) -> None:
        """One has gone, `seconds` after it came.

        Args:
            counts: it was answered by the model: what it took tells something about the next.
        """
        self.inside -= 1
        if not self.inside:
            self._idle_since = now
        if counts:
            self._done += 1
            if seconds > self._longest_s:
                self._longest_s = seconds
            if now >= self._until and self._done >= _FEW:
                self._learn(now)

    def _learn(self, now: float) -> None:
        """How far apart answers come while there is work, and whether they came early or late lately."""
        apart_s = max(0.0, now - self._began - self._idle_s) / self._done
        self._apart_s += _GAIN * (apart_s - self._apart_s) if self._apart_s else apart_s
        if self.promised_s is not None:
            if self._longest_s > self.promised_s * _TIGHT:
                self.share = max(_LEAST_SHARE, self.share * _SHRINK)
            elif self._longest_s < self.promised_s * _LOOSE:
                self.share = min(_MOST_SHARE, self.share + _GROW)
        self._done, self._longest_s, self._idle_s = 0, 0.0, 0.0
        self._began, self._until = now, now + _LEARN_S
