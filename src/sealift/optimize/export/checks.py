"""An original and the ONNX made of it -> whether the two answer alike, and what else the file cannot do.

Everything is collected, so that one run shows all that is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.choose import engine_for
from sealift.engine.proof import Effort, why_not_batched
from sealift.engine.protocol import EngineOptions, Session
from sealift.errors import ModelError, ModelFailed
from sealift.model.arrays import Arrays
from sealift.model.engine_limits import EngineLimits
from sealift.model.examples import example_candidates
from sealift.model.signature import Signature
from sealift.optimize.export.operators import graph_problems

ROWS: Final = (1, 2, 5)
"""Batch sizes that are tried; a size that the exporter wrote into the graph shows at the others."""
_SEEDS: Final = (0, 1)
_SIZES: Final = 2
"""Open axes other than the batch are tried in so many sizes."""
_PROOF: Final = Effort((2, 5), 1.0)

TOLERANCE: Final = 2.0**-13
"""Of the largest magnitude of an output: two runtimes add up in another order, layer after layer (fp32, fp64)."""
_HALF_TOLERANCE: Final = 2.0**-6
_SMALLEST: Final = 1e-7

Run = Callable[[Arrays], Arrays]
"""Inputs by name -> outputs by name, in the signature's order."""
_FOREIGN = (Exception,)
"""A model is a program of its own: it may raise anything."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers are furthest apart: `value` beside `expected` at `place` of an output, for so many rows.

    `share` is their distance over the largest magnitude of that output; above `permitted` it is none of rounding.
    """

    output: str
    place: tuple[int, ...]
    rows: int
    expected: float
    value: float
    share: float
    permitted: float

    @property
    def passed(self) -> bool:
        """Whether rounding explains it."""
        return self.share <= self.permitted

    @property
    def sentence(self) -> str:
        """`probabilities[0, 3] of 5 rows: expected 0.25, got 0.31`."""
        place = f"[{', '.join(map(str, self.place))}]" if self.place else ""
        return (
            f"{self.output}{place} of {self.rows} row{_s(self.rows)}: "
            f"expected {self.expected:.6g}, got {self.value:.6g}"
        )


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What the checks found. `compared` inputs were answered by both; `largest` is the largest difference.

    `steady`: the original answers the same input alike. `row_reason`: why rows of several requests may not share a
    run; empty: they may. `problems` keep the file from being used, `notes` do not.
    """

    compared: int
    largest: Difference | None
    row_reason: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    steady: bool = True

    @property
    def passed(self) -> bool:
        """Whether the file may stand in for the original."""
        return not self.problems


def check_export(
    original: Run,
    exported: Path,
    signature: Signature,
    inputs: Sequence[Arrays] = (),
    limits: EngineLimits | None = None,
) -> ExportReport:
    """Hold an exported ONNX file against what it was made of, on inputs of one, two and five rows.

    Args:
        original: answers as the original does; inputs that it refuses are left out.
        signature: of the exported file.
        inputs: real ones, beside those that are made from the signature.
        limits: of the engine that shall load it; None: the onnxruntime that is installed here.
    Raises: ModelError: the file is not readable as ONNX.
    """
    problems = graph_problems(exported, limits)
    if problems:
        return ExportReport(0, None, "it does not load", problems, ())
    try:
        session = engine_for(exported).load(exported, EngineOptions(threads=1, share=False))
    except ModelError as error:
        return ExportReport(0, None, "it does not load", (error.message,), ())
    answered = list(_answered(original, (*inputs, *made_inputs(signature))))
    if not answered:
        nothing = (
            "the original answers none of the inputs made from its signature; nothing shows that both agree"
        )
        return ExportReport(0, None, nothing, (nothing,), ())
    found, failed = _compared(session, answered)
    largest = max(found, key=lambda difference: difference.share / difference.permitted, default=None)
    random = tuple(_random(original, answered[-1]))
    reason = (
        why_not_batched(session, signature, [given for given, _ in answered], _PROOF) if not failed else ""
    )
    return ExportReport(
        compared=len(answered),
        largest=largest,
        row_reason=reason,
        problems=(*random, *dict.fromkeys(failed), *_apart(found)),
        notes=(f"rows of several requests never share a run: {reason}",) if reason else (),
        steady=not random,
    )


def made_inputs(signature: Signature) -> Iterator[Arrays]:
    """One, two and five rows, each in two sizes of what else is open and with two seeds; the same each time.

    A model whose inputs are all of fixed length gets only what it takes.
    """
    firsts = [spec.shape[0] if spec.shape else 0 for spec in signature.inputs]
    fixed = all(isinstance(axis, int) for axis in firsts)
    for rows, seed in itertools.product(ROWS, _SEEDS):
        if rows == ROWS[0] or not fixed:
            yield from itertools.islice(example_candidates(signature, seed=seed, rows=rows), _SIZES)


def _answered(original: Run, inputs: Sequence[Arrays]) -> Iterator[tuple[Arrays, Arrays]]:
    for each in inputs:
        try:
            yield each, original(each)
        except _FOREIGN:
            continue  # the shapes do not suit it: there is nothing to compare with


def _random(original: Run, answered: tuple[Arrays, Arrays]) -> Iterator[str]:
    given, first = answered
    again = original(given)
    moved = [
        name
        for name, value in first.items()
        if not np.array_equal(value, again[name], equal_nan=_is_float(value))
    ]
    if moved:
        yield (
            f"the original answers the same input differently ({', '.join(moved)}): dropout or another random step "
            "is active; use torch.nn.Dropout, which model.eval() turns off, not functional.dropout without training="
        )


def _compared(
    session: Session, answered: Sequence[tuple[Arrays, Arrays]]
) -> tuple[list[Difference], list[str]]:
    found: list[Difference] = []
    failed: list[str] = []
    for given, expected in answered:
        rows = next((array.shape[0] for array in given.values() if array.ndim), 1)
        try:
            values = session.run(given)
        except ModelFailed as error:
            said = error.message.splitlines()[0]
            failed.append(f"the export refuses {rows} row{_s(rows)} that the original answers: {said}")
            continue
        for name, wanted in expected.items():
            difference = difference_of(name, wanted, values[name], rows)
            if isinstance(difference, str):
                failed.append(difference)
            else:
                found.append(difference)
    return found, failed


def difference_of(name: str, expected: NDArray[Any], value: NDArray[Any], rows: int) -> Difference | str:
    """Where one output is furthest off; a sentence where the two cannot be compared number by number."""
    if expected.shape != value.shape or expected.dtype != value.dtype:
        return (
            f"{name} of {rows} rows: expected {expected.dtype} {list(expected.shape)}, "
            f"got {value.dtype} {list(value.shape)}"
        )
    permitted = _permitted(expected)
    if not expected.size:
        return Difference(name, (), rows, 0.0, 0.0, 0.0, permitted)
    wanted, found = expected.astype(np.float64), value.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(
            (wanted == found) | (np.isnan(wanted) & np.isnan(found)), 0.0, np.abs(wanted - found)
        )
    apart = np.where(np.isnan(apart), np.inf, apart)
    place = np.unravel_index(int(np.argmax(apart)), apart.shape)
    scale = max(float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0)), _SMALLEST)
    return Difference(
        name,
        tuple(int(each) for each in place),
        rows,
        float(wanted[place]),
        float(found[place]),
        float(apart[place]) / scale,
        permitted,
    )


def _permitted(expected: NDArray[Any]) -> float:
    """Whole numbers and booleans must be the same; their share is compared with almost nothing."""
    if not _is_float(expected):
        return _SMALLEST
    return _HALF_TOLERANCE if expected.dtype == np.float16 else TOLERANCE


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _is_float(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f"


def _apart(found: Sequence[Difference]) -> Iterator[str]:
    """The worst of each output, where rounding does not explain it."""
    worst: dict[str, Difference] = {}
    for difference in found:
        known = worst.get(difference.output)
        if not difference.passed and (known is None or difference.share > known.share):
            worst[difference.output] = difference
    for difference in worst.values():
        yield (
            f"{difference.sentence}; {difference.share:.2%} of the largest value, "
            f"rounding explains {difference.permitted:.2%}"
        )
