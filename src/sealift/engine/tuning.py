"""Measured runs -> how many rows one run should have: the most that still pay on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.proof import AT_LOAD, LARGEST_BATCH, why_not_batched
from sealift.engine.protocol import Arrays, Session
from sealift.errors import ModelFailed
from sealift.model.service import PROVEN_AT_LOAD, Batching
from sealift.model.signature import Signature

SIZES: Final = (1, 2, 4, 8, 16, LARGEST_BATCH)
GAIN: Final = 1.05
"""A larger batch must raise the rows per second by so much, else it only makes its rows wait."""

LONGEST_RUN_S: Final = 0.05
"""A batch that takes longer makes its rows wait too long."""
_RUNS: Final = 30
_AT_LEAST: Final = 2
_IN_VAIN: Final = 2
_AGAIN: Final = 2
_TIMES_ITS_INPUTS: Final = 8
"""So much memory a run is thought to take at least."""

Clock = Callable[[], float]
Resident = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`longest_run_s`: a size whose run takes longer is the last. `memory_bytes`: resident, for all of this process."""

    longest_run_s: float = LONGEST_RUN_S
    memory_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows of a run -> its quickest time in seconds; empty where not even one row could be measured.

    `longest_run_s` bounds what may be chosen.
    """

    seconds: Mapping[int, float]
    longest_run_s: float = LONGEST_RUN_S

    @property
    def max_rows(self) -> int:
        """What `best_rows` chooses."""
        return best_rows(self.seconds, self.longest_run_s)

    @property
    def words(self) -> str:
        """`batches up to 16 rows: 5.1x the rows/s of one`, `not batched: it gains nothing, ...`."""
        rows = self.max_rows
        if rows > 1:
            return f"batches up to {rows} rows: {_times(self.gain(rows))} the rows/s of one"
        larger = [size for size in self.seconds if size > 1]
        if not larger:
            return "not batched: two rows are more than time or memory permit"
        best = max(larger, key=self.gain)
        if self.gain(best) >= GAIN:
            return f"not batched: {best} rows in a run take {self.seconds[best] * 1000:.0f} ms"
        return f"not batched: it gains nothing, {best} rows in a run give {_times(self.gain(best))} the rows/s of one"

    def gain(self, rows: int) -> float:
        """Rows per second of that size over those of one row."""
        return rows * self.seconds[1] / self.seconds[rows]


def _times(gain: float) -> str:
    """`0.97x`, `5.1x`, `24x`."""
    return f"{gain:.2f}x" if gain < 2 else f"{gain:.1f}x" if gain < 10 else f"{gain:.0f}x"


def best_rows(seconds: Mapping[int, float], longest_run_s: float = LONGEST_RUN_S) -> int:
    """The largest size that raises the rows per second by 5 % over every smaller one; 1 where none does.

    Args:
        seconds: rows of a run -> its time, all above 0.
        longest_run_s: sizes above 1 whose run takes longer are not chosen.
    """
    chosen, best_rate = 1, 0.0
    for rows in sorted(seconds):
        rate = rows / seconds[rows]
        if rows > 1 and best_rate and rate >= GAIN * best_rate and seconds[rows] <= longest_run_s:
            chosen = rows
        best_rate = max(best_rate, rate)
    return chosen


def settle(
    session: Session, signature: Signature, batching: Batching, inputs: Arrays, *, is_quick: bool
) -> Batching:
    """What a worker goes by: where nobody has proven or measured yet, it does so itself, shortly.

    Args:
        inputs: what the model runs on.
        is_quick: only then it is worth measuring at load: nobody serves meanwhile.
    Returns: with at least 1 row; `reason` as given, unless it was `PROVEN_AT_LOAD`.
    """
    reason, rows = batching.reason, batching.max_rows
    if reason == PROVEN_AT_LOAD:
        reason = why_not_batched(session, signature, [inputs], AT_LOAD)
    if reason:
        return replace(batching, reason=reason, max_rows=1)
    if not rows:
        rows = measure(session, signature, inputs, AT_LOAD.budget_s).max_rows if is_quick else 1
    return replace(batching, reason="", max_rows=rows)


def measure(
    session: Session,
    signature: Signature,
    inputs: Arrays,
    budget_s: float,
    bounds: Bounds = Bounds(),
    clock: Clock = time.perf_counter,
) -> Measured:
    """Time runs of 1, 2, 4 ... 32 rows, until two sizes in turn gain nothing, a run is too long, or the time is up.

    Args:
        inputs: what the model runs on, at least one row; its first row is repeated.
        budget_s: for all sizes together; the size that is at work when it ends is finished.
        bounds: a size that would pass `memory_bytes`, as far as one can tell from the smaller ones, is not tried.
    """
    found: dict[int, float] = {}
    end = clock() + budget_s
    room = _Room(bounds.memory_bytes)
    sizes = SIZES if signature.batch_axis is not None else SIZES[:1]
    for number, rows in enumerate(sizes):
        share_s = (end - clock()) / (len(sizes) - number + _AGAIN)
        try:
            batch = _repeated(inputs, rows)
            if rows > 1 and not room.for_run(batch, rows):
                break
            found[rows] = _quickest(session, batch, share_s, clock)
        except (ModelFailed, MemoryError):
            break  # too much memory, or rows that it does not take: what is smaller was measured
        room.ran(rows)
        if found[rows] > bounds.longest_run_s or clock() >= end or _in_vain(found):
            break
    _look_again(session, inputs, found, bounds, end, clock)
    return Measured(found, bounds.longest_run_s)


def _look_again(
    session: Session, inputs: Arrays, found: dict[int, float], bounds: Bounds, end: float, clock: Clock
) -> None:
    """One row and what was chosen, in turn: a busy moment may have met one of them only."""
    for rows in dict.fromkeys((1, best_rows(found, bounds.longest_run_s))):
        if len(found) > 1 and clock() < end:
            again = _quickest(session, _repeated(inputs, rows), (end - clock()) / _AGAIN, clock)
            found[rows] = min(found[rows], again)


def _quickest(session: Session, batch: Arrays, share_s: float, clock: Clock) -> float:
    """The shortest of a few runs, the first of which warms up: what else the machine does only makes runs longer."""
    began = clock()
    end = began + share_s
    session.run(batch)
    if clock() > end:
        return clock() - began
    times: list[float] = []
    while len(times) < _AT_LEAST or (len(times) < _RUNS and clock() < end):
        began = clock()
        session.run(batch)
        times.append(clock() - began)
    return max(min(times), 1e-9)


def _in_vain(found: Mapping[int, float]) -> bool:
    """Whether the last two sizes gained nothing over the best before them."""
    sizes = sorted(found)
    if len(sizes) <= _IN_VAIN:
        return False
    best = max(rows / found[rows] for rows in sizes[:-_IN_VAIN])
    return all(rows / found[rows] < GAIN * best for rows in sizes[-_IN_VAIN:])


def _repeated(inputs: Arrays, rows: int) -> dict[str, NDArray[Any]]:
    return {
        name: np.ascontiguousarray(np.repeat(array[:1], rows, axis=0)) if array.ndim else array
        for name, array in inputs.items()
    }


class _Room:
    """Whether a larger run still fits: a run of twice the rows is thought to take twice what the last one added."""

    def __init__(self, memory_bytes: float | None, resident: Resident | None = None) -> None:
        self._bound = memory_bytes
        self._resident = resident or peak_resident_bytes
        self._before = self._resident() if memory_bytes is not None else 0
        self._per_row = 0.0

    def for_run(self, batch: Arrays, rows: int) -> bool:
        if self._bound is None:
            return True
        given = sum(array.nbytes for array in batch.values()) * _TIMES_ITS_INPUTS
        return self._before + max(self._per_row * rows, given) <= self._bound

    def ran(self, rows: int) -> None:
        if self._bound is not None:
            self._per_row = max(self._per_row, (self._resident() - self._before) / rows)


def peak_resident_bytes() -> int:
    """The most that this process has held resident.

    Not `ru_maxrss`: over an exec it keeps what the parent held, so a large parent would be this one's peak.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Let `peak_resident_bytes` begin anew (proc(5), clear_refs); where that is not allowed it goes on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
