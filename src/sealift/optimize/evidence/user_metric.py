"""`metric.py` of a project -> a metric: the user's own opinion of what a good answer is."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sealift.errors import ModelError, ProjectError
from sealift.model.handler_load import failure_text, load_code
from sealift.optimize.evidence.evaluate import VALUES_KEPT, Outcome
from sealift.optimize.evidence.metric import ItemMetric, Label, WholeMetric

_NEXT = "def score(answer, label): ... returns a number for one item; def metric(answers, labels): ... one for all"


def load_metric(path: Path) -> ItemMetric | WholeMetric:
    """Execute the file and take its `score(answer, label)` or `metric(answers, labels)`.

    `answer` is the JSON object that a client gets. `higher_is_better = False` turns the metric around. Its name is
    that of the file.

    Raises: ProjectError: it does not load, defines neither function or both, or one that takes other arguments.
        The metric itself raises it too, where the user's code fails or returns no finite number.
    """
    try:
        module = load_code(path, "metric")
    except ModelError as error:
        raise ProjectError(error.message, next_step=error.next_step, problems=error.problems) from error
    found = [name for name in ("score", "metric") if hasattr(module, name)]
    better = getattr(module, "higher_is_better", True)
    problems = [why for name in found if (why := _unusable(name, getattr(module, name)))]
    if len(found) != 1:
        problems.append(
            f"it defines {' and '.join(found) or 'neither score nor metric'}, expected one of them"
        )
    if not isinstance(better, bool):
        problems.append(f"higher_is_better is {better!r}, expected True or False")
    if problems:
        raise ProjectError(f"metric {path} cannot be used", problems=problems, next_step=_NEXT)
    return _metric(path.resolve(), module, found[0], better)


def _metric(path: Path, module: ModuleType, name: str, better: bool) -> ItemMetric | WholeMetric:
    function = getattr(module, name)
    if name == "score":

        def value(outcome: Outcome, label: Label) -> float:
            return _called(path, function, _complete(path, outcome.answer), label)

        return ItemMetric(name=path.stem, value=value, higher_is_better=better)

    def whole(answers: Sequence[dict[str, Any]], labels: Sequence[Label]) -> float:
        return _called(path, function, [_complete(path, answer) for answer in answers], list(labels))

    return WholeMetric(name=path.stem, value=whole, higher_is_better=better)


def _unusable(name: str, function: object) -> str | None:
    if not callable(function):
        return f"{name} is not a function"
    if inspect.iscoroutinefunction(function):
        return f"{name} is asynchronous; write a plain def"
    try:
        inspect.signature(function).bind(object(), object())
    except TypeError:
        return f"{name} must take two arguments, and no others without a default"
    except ValueError:  # a C function without a signature
        return None
    return None


def _complete(path: Path, answer: dict[str, Any]) -> dict[str, Any]:
    if not answer:
        raise ProjectError(
            f"metric {path} gets no answers of more than {VALUES_KEPT} values",
            next_step="reduce them in the postprocess of a handler",
        )
    return answer


def _called(path: Path, function: Callable[..., Any], answers: Any, labels: Any) -> float:
    try:
        value = float(function(answers, labels))
    except Exception as error:  # the edge to foreign code: anything can come out of it
        raise ProjectError(
            f"metric {path} fails: {failure_text(error, path.parent)}", next_step=_NEXT
        ) from error
    if not math.isfinite(value):
        raise ProjectError(f"metric {path} returned {value}, expected a finite number", next_step=_NEXT)
    return value
