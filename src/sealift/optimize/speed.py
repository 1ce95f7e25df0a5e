"""Two models on the same inputs -> how fast each is, measured side by side in one run.

One row at a time: rounds in which both take turns, so that whatever else the machine does meets both alike; the ratio
comes from the rounds. Throughput: the best of the layouts that a worker may choose (all cores for one run, batches,
a run a core).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from sealift.engine.choose import engine_of
from sealift.engine.protocol import QUICK_RUN_S, Arrays, EngineOptions, Session
from sealift.engine.stored import give_back_free_memory
from sealift.errors import ModelFailed
from sealift.model.service import ServedModel
from sealift.optimize.evidence.paired import faster
from sealift.optimize.report import Interval, Speed

Clock = Callable[[], float]

_WARM_RUNS: Final = 5
_BATCHES: Final = (4, 16)
_ATTEMPTS: Final = 3
_DISTURBED: Final = 1.5
"""PyTorch's threads wait for each other on their cores: beside another busy program a run of 0.2 ms took 47."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured of each of the two.

    `rounds` times `runs` single rows; fewer runs a round where `budget_s` would be passed, but at least 2.
    `throughput_s` for each layout.
    """

    rounds: int = 25
    runs: int = 12
    budget_s: float = 12.0
    throughput_s: float = 0.6


THOROUGH: Final = Effort()
QUICK: Final = Effort(rounds=10, runs=8, budget_s=3.0, throughput_s=0.2)
"""Wider intervals, in a quarter of the time."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Both results; the reference's `speedup` is 1."""

    reference: Speed
    variant: Speed


def race(
    reference: ServedModel,
    variant: ServedModel,
    inputs: Sequence[Arrays],
    effort: Effort = THOROUGH,
    *,
    cores: int,
    clock: Clock = time.perf_counter,
) -> Contest:
    """Measure a variant against the reference.

    Args:
        inputs: prepared single rows, at least one; both run on all of them in turn.
        cores: how many single-thread runs fit side by side.
    Raises: ModelError: one of them does not load. ModelFailed: it does not run on these inputs.
    """
    pair = [_runners(model, inputs[0], cores) for model in (reference, variant)]
    times = _rounds([each.alone for each in pair], inputs, effort, clock)
    rates = [_throughput(each, inputs, effort, cores, clock) for each in pair]
    del pair
    give_back_free_memory()
    ratio, interval = faster(*(_medians(each) for each in times))
    one = Interval(low=1.0, high=1.0)
    return Contest(
        _speed(times[0], rates[0], (1.0, one), rates[0][0]),
        _speed(times[1], rates[1], (ratio, interval), rates[0][0]),
    )


def alone(
    model: ServedModel,
    inputs: Sequence[Arrays],
    effort: Effort = THOROUGH,
    *,
    cores: int,
    clock: Clock = time.perf_counter,
) -> Speed:
    """Measure one model by itself; `speedup` is 1. Raises: as `race`."""
    runners = _runners(model, inputs[0], cores)
    times = _rounds([runners.alone], inputs, effort, clock)[0]
    rate = _throughput(runners, inputs, effort, cores, clock)
    return _speed(times, rate, (1.0, Interval(low=1.0, high=1.0)), rate[0])


def fair_race(
    reference: ServedModel,
    variant: ServedModel,
    inputs: Sequence[Arrays],
    effort: Effort,
    *,
    cores: int,
    expected_ms: float,
) -> Contest:
    """As `race`, again where the reference was much slower than it is alone: something else had the cores.

    Args:
        expected_ms: the reference's p50, measured alone.
    Returns: the race in which the reference was quickest, of at most `_ATTEMPTS`.
    """
    best = race(reference, variant, inputs, effort, cores=cores)
    for _ in range(_ATTEMPTS - 1):
        if best.reference.p50_ms <= _DISTURBED * expected_ms:
            break
        again = race(reference, variant, inputs, effort, cores=cores)
        best = min(best, again, key=lambda contest: contest.reference.p50_ms)
    return best


@dataclass(frozen=True, slots=True)
class _Runners:
    """`alone`: as a worker runs a lone request; `wide`: all cores for a run; `narrow`: one core."""

    alone: Session
    wide: Session
    narrow: Session


def _runners(model: ServedModel, inputs: Arrays, cores: int) -> _Runners:
    """A quick model is served on one thread, whatever comes (engine.protocol.QUICK_RUN_S)."""
    engine = engine_of(model)
    wide = engine.load(model.path, EngineOptions(threads=cores, device=model.device))
    narrow = wide.with_threads(1, may_copy=True) if cores > 1 else wide
    narrow = narrow or wide
    for _ in range(_WARM_RUNS):
        wide.run(inputs)
        narrow.run(inputs)
    is_quick = min(_time_ms(wide, inputs, time.perf_counter) for _ in range(_WARM_RUNS)) < QUICK_RUN_S * 1000
    return _Runners(narrow if is_quick else wide, wide, narrow)


def _rounds(
    sessions: Sequence[Session], inputs: Sequence[Arrays], effort: Effort, clock: Clock
) -> list[list[list[float]]]:
    """By session, by round: times in ms. Who begins a round changes, for the first finds a colder cache.

    Every round runs the same inputs: where some take longer, rounds could not be compared otherwise.
    """
    taken: list[list[list[float]]] = [[] for _ in sessions]
    runs, began = effort.runs, clock()
    for count in range(effort.rounds):
        order = range(len(sessions)) if count % 2 == 0 else reversed(range(len(sessions)))
        for place in order:
            session = sessions[place]
            taken[place].append([_time_ms(session, inputs[k % len(inputs)], clock) for k in range(runs)])
        spent = clock() - began
        ahead = spent / (count + 1) * (effort.rounds - count - 1)
        left = max(effort.budget_s - spent, 0.0)
        if ahead > left:
            runs = max(2, int(runs * left / ahead))
    return taken


def _time_ms(session: Session, inputs: Arrays, clock: Clock) -> float:
    began = clock()
    session.run(inputs)
    return (clock() - began) * 1000


def _medians(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(times) for times in rounds]


def _throughput(
    runners: _Runners, inputs: Sequence[Arrays], effort: Effort, cores: int, clock: Clock
) -> tuple[float, str]:
    """(rows per second, layout in words), the best that was found."""
    found = [
        (
            _rate(runners.wide, inputs[0], 1, effort, clock),
            f"one run on {cores} threads" if cores > 1 else "one run",
        )
    ]
    if cores > 1:
        found.append(
            (_side_by_side(runners.narrow, inputs, effort, cores, clock), f"{cores} runs side by side")
        )
    for rows in _BATCHES:
        try:
            batch = {name: np.repeat(array, rows, axis=0) for name, array in inputs[0].items()}
            found.append((_rate(runners.wide, batch, rows, effort, clock), f"batches of {rows}"))
        except (ModelFailed, ValueError, MemoryError):
            break  # a fixed first axis, or too much memory
    return max(found)


def _rate(session: Session, inputs: Arrays, rows: int, effort: Effort, clock: Clock) -> float:
    outputs = session.run(inputs)
    if any(array.ndim == 0 or array.shape[0] != rows for array in outputs.values()) and rows > 1:
        raise ModelFailed("the rows of a batch do not come back", code="model_failed")
    done, began = 0, clock()
    while done < 2 or clock() - began < effort.throughput_s:
        session.run(inputs)
        done += 1
    return rows * done / (clock() - began)


def _side_by_side(
    session: Session, inputs: Sequence[Arrays], effort: Effort, cores: int, clock: Clock
) -> float:
    """One single-thread run a core, as a worker under load does."""
    began = clock()

    def work(start: int) -> int:
        done = 0
        while done < 2 or clock() - began < effort.throughput_s:
            session.run(inputs[(start + done) % len(inputs)])
            done += 1
        return done

    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(work, range(cores)))
    return done / (clock() - began)


def _speed(
    rounds: Sequence[Sequence[float]],
    rate: tuple[float, str],
    against: tuple[float, Interval],
    reference_rate: float,
) -> Speed:
    times = sorted(time_ms for times in rounds for time_ms in times)
    return Speed(
        p50_ms=statistics.median(times),
        p99_ms=times[math.ceil(0.99 * len(times)) - 1],
        rows_per_s=rate[0],
        layout=rate[1],
        speedup=against[0],
        speedup_interval=against[1],
        throughput_ratio=rate[0] / reference_rate if reference_rate else 1.0,
        runs=len(times),
    )
