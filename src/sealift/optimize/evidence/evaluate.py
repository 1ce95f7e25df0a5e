"""Session + Items -> Outcomes: what a model answers to every item, one at a time, as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.protocol import Session
from sealift.errors import ProjectError, RequestError, UsageError
from sealift.events import Progress
from sealift.model.arrays import Arrays, Prepared
from sealift.model.declaration import ClassesOutput, EmbeddingOutput, ScoresOutput, TensorOutput
from sealift.model.pipeline import Pipeline
from sealift.model.rows import chosen_output
from sealift.model.service import ServedModel
from sealift.optimize.data.item import Item
from sealift.optimize.data.labels import has_postprocess

VALUES_KEPT: Final = 16_384
"""Of a larger output so many values are kept of each item, evenly spread over it."""
PROBLEMS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item's answer, reduced to what comparisons need.

    `answer` is the JSON that a client gets; empty where a bare tensor has more than `VALUES_KEPT` values.
    `vector` is float32 [values]: the output that decides (all floating-point ones where none does), thinned to
    at most `VALUES_KEPT`; `size` counts its values before that.
    """

    answer: dict[str, Any]
    vector: NDArray[np.float32]
    size: int


def evaluate(
    session: Session, pipeline: Pipeline, model: ServedModel, items: Sequence[Item], progress: Progress
) -> tuple[Outcome, ...]:
    """Answer every item alone, in order; one payload is in memory at a time.

    Raises: ProjectError: items that cannot be read, prepared or answered; the first 10 by name.
    """
    wanted = _deciding_outputs(model)
    is_own = has_postprocess(model.handler)
    is_bare = isinstance(model.output, TensorOutput) and not is_own
    has_one_answer = isinstance(model.output, ClassesOutput | ScoresOutput) and not is_own
    outcomes: list[Outcome] = []
    problems: list[str] = []
    for item in items:
        try:
            prepared = item.prepare(pipeline)
            outputs = session.run(prepared.inputs)
            outcome = _outcome(pipeline, outputs, prepared, wanted, is_bare)
        except (RequestError, UsageError) as error:
            problems.append(f"{item.name}: {error.message}")
        else:
            if has_one_answer and isinstance(outcome.answer["prediction"], list):
                problems.append(
                    f"{item.name}: {len(outcome.answer['prediction'])} rows, expected one an item"
                )
            outcomes.append(outcome)
        progress.advance()
    if problems:
        raise unreadable(problems, len(items), model.name)
    return tuple(outcomes)


def unreadable(problems: Sequence[str], items: int, model: str) -> ProjectError:
    """The error that names the first of many items."""
    shown = list(problems[:PROBLEMS_SHOWN])
    if len(problems) > PROBLEMS_SHOWN:
        shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
    return ProjectError(
        f"{len(problems)} of {items} item(s) cannot be answered by {model}",
        problems=shown,
        next_step="correct or remove them; sealift predict FILE --project DIR tries a single one",
    )


def _deciding_outputs(model: ServedModel) -> tuple[str, ...]:
    specs, declared = model.signature.outputs, model.output
    if isinstance(declared, ClassesOutput | ScoresOutput | EmbeddingOutput):
        spec = chosen_output(declared, model.signature)
        if spec is not None:
            return (spec.name,)
    floating = tuple(spec.name for spec in specs if spec.datatype.startswith(("FP", "BF")))
    return floating or tuple(spec.name for spec in specs if spec.datatype != "BYTES")


def _outcome(
    pipeline: Pipeline, outputs: Arrays, prepared: Prepared, wanted: Sequence[str], is_bare: bool
) -> Outcome:
    size = sum(outputs[name].size for name in wanted)
    answer = {} if is_bare and size > VALUES_KEPT else pipeline.answer(outputs, prepared)
    return Outcome(answer, _vector(outputs, wanted), size)


def _vector(outputs: Arrays, wanted: Sequence[str]) -> NDArray[np.float32]:
    if not wanted:
        return np.empty(0, np.float32)
    values = np.concatenate([outputs[name].reshape(-1) for name in wanted])
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is told as such
        return thinned(values).astype(np.float32)


def thinned(values: NDArray[Any]) -> NDArray[Any]:
    """At most `VALUES_KEPT` values of a flat array, evenly spread, the same for the same length."""
    if values.size <= VALUES_KEPT:
        return values
    return values[np.linspace(0, values.size - 1, VALUES_KEPT).astype(np.intp)]
