"""How long to wait before a worker is started again. Standard library only."""

from __future__ import annotations

from collections.abc import Callable

from sealift.serve.workers import SupervisorOptions


class Backoff:
    """No pause after the first trouble; then longer ones, until there was peace. `clock`: seconds, monotonic."""

    def __init__(self, options: SupervisorOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._next_s = 0.0
        self._last: float | None = None

    def pause_s(self) -> float:
        """The pause after the trouble that has just been met."""
        options, now = self._options, self._clock()
        if self._last is not None and now - self._last > options.healthy_s + self._next_s:
            self._next_s = 0.0
        pause = self._next_s
        self._last = now
        self._next_s = min(max(options.first_backoff_s, 2 * pause), options.longest_backoff_s)
        return pause

    def reset(self) -> None:
        """What is started next is something else."""
        self._next_s = 0.0
