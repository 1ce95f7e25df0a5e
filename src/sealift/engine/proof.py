"""Session + recorded inputs -> why rows of several requests may not share a run; empty where they may (DESIGN 4).

Every recorded row runs alone, then in batches of several sizes, in the first, a middle and the last place, beside other
recorded rows, copies, zeros, values a thousand times as large, NaN and infinity. Its outputs must stay what they are
alone, but for the rounding of their type.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.protocol import Arrays, Session
from sealift.errors import ModelFailed
from sealift.model.signature import Signature

LARGEST_BATCH: Final = 32
"""No batch is larger: so many rows are proven, and measured."""

ROUNDING: Final = {np.dtype(np.float16): 2.0**-8}
"""Of the largest magnitude of a row's output: what another order of the same sums may make of it."""
OTHER_ROUNDING: Final = 2.0**-17
"""fp32 and fp64: a probability stays within 1e-5."""
SMALLEST_ROUNDING: Final = 2.0**-30

NO_AXIS: Final = "its inputs and outputs do not share a symbolic first axis"
NO_ROWS: Final = "no recorded input shows its rows"
NO_OTHERS: Final = (
    "no two recorded rows differ, so nothing shows what neighbours do; record more golden inputs"
)

_LARGE: Final = 1000.0
_SUBJECTS: Final = 8
_ALWAYS: Final = 2
_SEED: Final = 5

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried: batch sizes, the smallest first; those after the second only within `budget_s`."""

    sizes: tuple[int, ...] = (2, 3, 8, 17, LARGEST_BATCH)
    budget_s: float = 5.0


THOROUGH: Final = Effort()
"""When a release is packed."""
AT_LOAD: Final = Effort((2, 8), 0.1)
"""When a project is served that nobody packed."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row, and what the model makes of it alone."""

    inputs: Arrays
    outputs: Arrays


def why_not_batched(
    session: Session,
    signature: Signature,
    recorded: Sequence[Arrays],
    effort: Effort = THOROUGH,
    clock: Clock = time.perf_counter,
) -> str:
    """Prove that a row's answer does not depend on the rows beside it.

    The same session and inputs give the same answer: what is tried is drawn from fixed seeds, and no figure that was
    measured stands in the reason.

    Args:
        recorded: inputs that the model runs on, of one row or several each; rows of one shape are tried together.
    Returns: a sentence for people; empty where rows of several requests may share a run.
    """
    reason = _no_axis(signature)
    if reason:
        return reason
    kinds = _rows_by_shape(recorded)
    if not kinds:
        return NO_ROWS
    end = clock() + effort.budget_s
    for number, rows in enumerate(kinds):
        if number and clock() > end:
            break
        try:
            reason = _Trial(session, rows, effort, end, clock).run()
        except ModelFailed as error:
            return f"a recorded row does not run alone: {_first_line(error)}"
        if reason:
            return reason
    return ""


def is_same_row(alone: NDArray[Any], among: NDArray[Any]) -> bool:
    """Equal but for the rounding of the type; NaN and infinities in the same places, other types to the bit."""
    if alone.shape != among.shape or alone.dtype != among.dtype:
        return False
    if alone.dtype.kind != "f":
        return bool(np.array_equal(alone, among))
    wanted, found = alone.astype(np.float64), among.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)):
        return False
    if not np.array_equal(wanted[~finite], found[~finite], equal_nan=True):
        return False
    scale = float(np.max(np.abs(wanted[finite]), initial=0.0))
    bound = max(scale * ROUNDING.get(alone.dtype, OTHER_ROUNDING), SMALLEST_ROUNDING)
    return float(np.max(np.abs(wanted[finite] - found[finite]), initial=0.0)) <= bound


def _no_axis(signature: Signature) -> str:
    axis = signature.batch_axis
    if axis is None:
        return NO_AXIS
    for spec in (*signature.inputs, *signature.outputs):
        if axis in (spec.shape or ())[1:]:
            return f"{spec.name} has the axis {axis!r} twice"
    return ""


def _rows_by_shape(recorded: Sequence[Arrays]) -> list[list[Arrays]]:
    """Rows that could stand in one batch, each kind in the order of recording; at most 8 of a kind."""
    kinds: dict[tuple[tuple[int, ...], ...], list[Arrays]] = {}
    for inputs in recorded:
        counts = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
        if len(counts) != 1:
            continue
        kind = kinds.setdefault(tuple(array.shape[1:] for array in inputs.values()), [])
        for place in range(min(counts.pop(), _SUBJECTS - len(kind))):
            kind.append({name: array[place : place + 1] for name, array in inputs.items()})
    return [rows for rows in kinds.values() if rows]


class _Trial:
    """Rows of one shape against each other."""

    def __init__(
        self, session: Session, rows: Sequence[Arrays], effort: Effort, end: float, clock: Clock
    ) -> None:
        self._session = session
        self._rows = rows
        self._effort = effort
        self._end = end
        self._clock = clock

    def run(self) -> str:
        """Why not; empty: no row was moved. Raises: ModelFailed: a recorded row does not run alone."""
        subjects = [_Row(row, self._session.run(row)) for row in self._rows]
        again = self._session.run(subjects[0].inputs)
        for name, value in subjects[0].outputs.items():
            if value.ndim == 0 or value.shape[0] != 1:
                return f"output {name} of one row has the shape {list(value.shape)}"
            if not is_same_row(value, again[name]):
                return f"output {name} is not the same twice on the same row"
        others = [*self._strangers(), *subjects]
        if not any(_differs(other.inputs, subjects[0].inputs) for other in others):
            return NO_OTHERS
        neighbours = itertools.cycle(others)
        generator = np.random.Generator(np.random.PCG64(_SEED))
        took = 0.0
        for number, size in enumerate(self._effort.sizes):
            began = self._clock()
            if number >= _ALWAYS and began + _ahead(self._effort.sizes, number, took) > self._end:
                break
            for batch in _batches(subjects, neighbours, size, generator):
                reason = self._moved(batch)
                if reason:
                    return reason
            took = self._clock() - began
        return ""

    def _strangers(self) -> Iterator[_Row]:
        """Rows that nobody recorded, as far as the model takes them; their own answers are not compared."""
        last = self._rows[-1]
        for change in _CHANGES:
            inputs = {name: change(array) for name, array in last.items()}
            try:
                self._session.run(inputs)
            except ModelFailed:
                continue
            yield _Row(inputs, {})

    def _moved(self, batch: Sequence[_Row]) -> str:
        names = batch[0].inputs
        together = {name: _joined([row.inputs[name] for row in batch]) for name in names}
        try:
            outputs = self._session.run(together)
        except ModelFailed as error:
            return f"a batch of {len(batch)} does not run: {_first_line(error)}"
        for place, row in enumerate(batch):
            for name, alone in row.outputs.items():
                found = outputs[name]
                if found.ndim == 0 or found.shape[0] != len(batch):
                    return f"output {name} of {len(batch)} rows has the shape {list(found.shape)}"
                if not is_same_row(alone, found[place : place + 1]):
                    return f"output {name} of a row among {len(batch)} differs from the row alone"
        return ""


def _ahead(sizes: Sequence[int], number: int, took: float) -> float:
    """About how long a size will take, from what the one before it took."""
    return took * sizes[number] / sizes[number - 1]


def _batches(
    subjects: Sequence[_Row], neighbours: Iterator[_Row], size: int, generator: np.random.Generator
) -> Iterator[list[_Row]]:
    """A recorded row in the first, a middle and the last place; its neighbours one after the other, then shuffled."""
    for number, place in enumerate(dict.fromkeys((0, size // 2, size - 1))):
        others = list(itertools.islice(neighbours, size - 1))
        order = generator.permutation(size - 1)
        batch = [others[int(each)] for each in order]
        batch.insert(place, subjects[number % len(subjects)])
        yield batch


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(np.concatenate(arrays, axis=0))


def _differs(one: Arrays, other: Arrays) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one)


def _filled(array: NDArray[Any], value: float) -> NDArray[Any]:
    return np.full_like(array, value)


def _is_picture(array: NDArray[Any]) -> bool:
    """Bytes along at least two axes besides the row: any value is a brightness, and no index."""
    return array.dtype == np.uint8 and array.ndim >= 3


def _large(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return _filled(array, 255) if _is_picture(array) else array
    with np.errstate(over="ignore"):
        return np.where(array == 0, _LARGE, array * _LARGE).astype(array.dtype)


def _negative(array: NDArray[Any]) -> NDArray[Any]:
    return -_large(array) if array.dtype.kind == "f" else array


def _zeros(array: NDArray[Any]) -> NDArray[Any]:
    return _filled(array, 0) if array.dtype.kind == "f" or _is_picture(array) else array


def _reversed(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers and words too: what stands there is one that the model knows, in another place."""
    return np.ascontiguousarray(array[..., ::-1]) if array.ndim > 1 else array


def _no_number(array: NDArray[Any]) -> NDArray[Any]:
    return _filled(array, np.nan) if array.dtype.kind == "f" else array


def _infinite(array: NDArray[Any]) -> NDArray[Any]:
    return _filled(array, np.inf) if array.dtype.kind == "f" else array


_CHANGES: Final = (_large, _reversed, _zeros, _negative, _no_number, _infinite)


def _first_line(error: ModelFailed) -> str:
    return error.message.splitlines()[0]
