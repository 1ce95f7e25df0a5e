"""What was answered in the last minute, over every worker that answered; standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from math import isinf
from typing import Any, Final

from sealift.meter.beat import Beat, total

WINDOW_S: Final = 60.0


class Traffic:
    """The beats of the last `WINDOW_S` seconds. `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._last: dict[Hashable, Beat] = {}
        self._recent: deque[tuple[float, Beat]] = deque()

    def add(self, worker: Hashable, beat: Beat) -> None:
        """Take a beat of `worker` in."""
        self._recent.append((self._clock(), beat.minus(self._last.get(worker, Beat()))))
        self._last[worker] = beat
        self._forget()

    def ended(self, worker: Hashable) -> None:
        """That worker beats no more."""
        self._last.pop(worker, None)

    def figures(self) -> dict[str, Any]:
        """`rate` (requests/s), `errors_5xx` and `p99_ms` of the window."""
        self._forget()
        seen = total(beat for _, beat in self._recent)
        passed = max(1.0, min(WINDOW_S, self._clock() - self._began))
        p99 = seen.p99_s()
        return {
            "errors_5xx": seen.errors + seen.refused + seen.timeouts,
            "p99_ms": None if p99 is None or isinf(p99) else round(p99 * 1000, 3),
            "rate": round(seen.requests / passed, 2),
        }

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] < self._clock() - WINDOW_S:
            self._recent.popleft()
