"""Served model -> the metrics that its declared output asks for, the gated one first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sealift.errors import ModelFailed, ProjectError
from sealift.model.declaration import ClassesOutput, EmbeddingOutput, ScoresOutput, TensorOutput
from sealift.model.rows import chosen_output, columns
from sealift.model.service import ServedModel
from sealift.optimize.data.labels import (
    class_index,
    has_postprocess,
    is_positive,
    label_problems,
    label_text,
    number_problems,
    numbers_of,
)
from sealift.optimize.evidence.evaluate import Outcome, thinned
from sealift.optimize.evidence.metric import (
    Floats,
    ItemMetric,
    Label,
    LikenessMetric,
    Metric,
    MomentMetric,
    RankMetric,
)
from sealift.optimize.evidence.user_metric import load_metric

__all__ = [
    "Metric",
    "agreement_for",
    "class_names",
    "cosine",
    "largest_difference",
    "metrics_for",
    "negative_of",
]

SAME: Final = 0.02
"""Of an answer that the project's own code makes: numbers that differ by less count as the same, relative to the
larger one, or absolute below 1."""
UNSEEN_COSINE: Final = 0.1
_KINDS_OF: Final = {
    "top1": "classes",
    "top5": "classes",
    "auc": "scores",
    "f1": "scores",
    "rmse": "tensor",
    "cosine": "embedding or tensor",
}


def metrics_for(
    model: ServedModel, wanted: str | Path | None, labels: Sequence[Label] = ()
) -> tuple[Metric, ...]:
    """The metrics of labelled items; empty where the answers can only be held against the reference's.

    Args:
        wanted: `[optimize] metric`: it comes first, before those of the kind of output.
        labels: those of the items, to be checked; all problems at once.
    Raises: ProjectError: the metric does not suit the output, the user's file does not load, or labels that mean
        nothing to this model.
    """
    own = _own_metrics(model, labels)
    if isinstance(wanted, Path):
        return (load_metric(wanted), *own)
    kind = _kind_of(model)
    if wanted == "agreement" and kind in ("embedding", "tensor") and not has_postprocess(model.handler):
        raise _unsuited(wanted, kind, "vectors are compared by their cosine")
    if wanted in (None, "agreement"):
        return _checked(own, model, labels)
    if wanted == "cosine" and kind in ("embedding", "tensor") and not has_postprocess(model.handler):
        return ()
    found = [metric for metric in own if metric.name == wanted]
    if not found:
        fitting = ", ".join(metric.name for metric in own) or agreement_for(model).name
        raise _unsuited(str(wanted), kind, f"it can be {fitting}, or a Python file")
    return _checked((*found, *(metric for metric in own if metric.name != wanted)), model, labels)


def _unsuited(wanted: str, kind: str, why: str) -> ProjectError:
    needs = (
        f' needs [model.output] kind = "{_KINDS_OF[wanted]}",' if wanted in _KINDS_OF else " is asked for,"
    )
    return ProjectError(
        f'[optimize] metric = "{wanted}"{needs} the model has "{kind}"',
        next_step=f"correct [optimize] metric: {why}",
    )


def agreement_for(model: ServedModel) -> LikenessMetric:
    """How far a variant answers as the reference does; no labels are needed.

    `agreement` for classes (the same one), scores (the same side of the threshold) and the project's own answers
    (the same JSON, numbers within 2 %); `cosine` of the vectors for embeddings and tensors.
    """
    if has_postprocess(model.handler):
        return LikenessMetric(name="agreement", value=_same_json, is_share=True)
    if isinstance(model.output, ClassesOutput | ScoresOutput):
        return LikenessMetric(name="agreement", value=_same_prediction, is_share=True)
    return LikenessMetric(name="cosine", value=cosine, is_share=False, unseen=UNSEEN_COSINE)


def largest_difference(reference: Sequence[Outcome], variant: Sequence[Outcome]) -> float:
    """The largest absolute difference of any value, over all items; 0 where there are none, infinity where one
    is finite and the other is not."""
    largest = 0.0
    for one, other in zip(reference, variant, strict=True):
        first, second = one.vector.astype(np.float64), other.vector.astype(np.float64)
        finite = np.isfinite(first) & np.isfinite(second)
        if first.size and (np.isfinite(first) != np.isfinite(second)).any():
            return float("inf")
        largest = max(largest, float(np.abs(first[finite] - second[finite]).max(initial=0.0)))
    return largest


def _kind_of(model: ServedModel) -> str:
    kinds = {ClassesOutput: "classes", ScoresOutput: "scores", EmbeddingOutput: "embedding"}
    return kinds.get(type(model.output), "tensor")


def _own_metrics(model: ServedModel, labels: Sequence[Label]) -> tuple[Metric, ...]:
    declared = model.output
    if isinstance(declared, ClassesOutput):
        return _of_classes(model)
    if isinstance(declared, ScoresOutput):
        return _of_scores(model, declared)
    if isinstance(declared, EmbeddingOutput):
        return ()
    numeric = all(numbers_of(label) is not None for label in labels)
    if has_postprocess(model.handler) and not (labels and numeric):
        return (ItemMetric(name="top1", value=_predicts),)
    return (MomentMetric(
        name="rmse",
        moments=_squared_error_of_json if has_postprocess(model.handler) else _squared_error,
        total=_root,
        higher_is_better=False,
    ),)  # fmt: skip


def _of_classes(model: ServedModel) -> tuple[Metric, ...]:
    if has_postprocess(model.handler):
        return (ItemMetric(name="top1", value=_predicts),)
    texts, classes = class_names(model)

    def top(count: int) -> ItemMetric:
        def value(outcome: Outcome, label: Label) -> float:
            index = class_index(label, texts, classes)
            best = np.argsort(-outcome.vector, kind="stable")[:count]
            return float(index is not None and index in best)

        return ItemMetric(name=f"top{count}", value=value)

    return (top(1), top(5)) if classes is None or classes > 5 else (top(1),)


def class_names(model: ServedModel) -> tuple[tuple[str, ...], int | None]:
    """The texts of the classes (declared, else the model's own; empty: none) and how many there are, if known."""
    texts, classes = _own_names(model)
    texts = getattr(model.output, "labels", ()) or texts
    return texts, len(texts) or classes


def _own_names(model: ServedModel) -> tuple[tuple[str, ...], int | None]:
    declared = model.output
    if not isinstance(declared, ClassesOutput | ScoresOutput):
        return (), None
    spec = chosen_output(declared, model.signature)
    return (spec.labels, columns(spec)) if spec is not None else ((), None)


def _of_scores(model: ServedModel, declared: ScoresOutput) -> tuple[Metric, ...]:
    positive, negative = declared.positive, negative_of(model)

    def side(label: Label) -> bool:
        return is_positive(label, positive, negative)

    def score(outcome: Outcome) -> float:
        value = outcome.answer.get("score", outcome.answer.get("prediction"))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelFailed("auc needs answers with a number under the key score", code="unexpected_output")
        return float(value)

    def confusion(outcome: Outcome, label: Label) -> tuple[float, ...]:
        said, true = _is_called_positive(outcome, declared), side(label)
        return (float(said and true), float(said and not true), float(true and not said))

    return (
        RankMetric(name="auc", score=score, is_positive=side),
        MomentMetric(
            name="f1", moments=confusion, total=_f1, kinds=((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0))
        ),
    )


def negative_of(model: ServedModel) -> str | None:
    """The other word of a `scores` output, where the project or the model names it."""
    declared = model.output
    if not isinstance(declared, ScoresOutput):
        return None
    spec = chosen_output(declared, model.signature)
    others = [label for label in (spec.labels if spec is not None else ()) if label != declared.positive]
    return declared.negative or (others[0] if len(others) == 1 else None)


def _checked(metrics: tuple[Metric, ...], model: ServedModel, labels: Sequence[Label]) -> tuple[Metric, ...]:
    if has_postprocess(model.handler):
        return metrics  # what its answers look like is known when there are some
    if isinstance(model.output, TensorOutput):
        problems = number_problems(labels)
    else:
        problems = label_problems(model.output, labels, *_own_names(model))
    if problems:
        raise ProjectError(
            f"labels of the evaluation data do not fit model {model.name}",
            problems=problems,
            next_step="correct the labels, or [model.output]",
        )
    return metrics


def _predicts(outcome: Outcome, label: Label) -> float:
    said = {label_text(outcome.answer[key]) for key in ("prediction", "label") if key in outcome.answer}
    return float(label_text(label) in said)


def _same_prediction(one: Outcome, other: Outcome) -> float:
    return float(one.answer["prediction"] == other.answer["prediction"])


def _same_json(one: Outcome, other: Outcome) -> float:
    return float(_is_same(one.answer["prediction"], other.answer["prediction"]))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            return False
        return abs(one - other) <= SAME * max(1.0, abs(one), abs(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def cosine(one: Outcome, other: Outcome) -> float:
    """Of both vectors; 1 where both are all zeros, 0 where only one is, where their sizes differ, or where one has
    a value that is not finite and the other has not."""
    first, second = one.vector.astype(np.float64), other.vector.astype(np.float64)
    if one.size != other.size or (np.isfinite(first) != np.isfinite(second)).any():
        return 0.0
    finite = np.isfinite(first)
    first, second = first[finite], second[finite]
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if 0.0 in lengths:
        return float(lengths[0] == lengths[1])
    return float(np.clip(first @ second / (lengths[0] * lengths[1]), -1.0, 1.0))


def _squared_error(outcome: Outcome, label: Label) -> tuple[float, ...]:
    return (_mean_square(outcome.vector.astype(np.float64), outcome.size, label),)


def _squared_error_of_json(outcome: Outcome, label: Label) -> tuple[float, ...]:
    said = numbers_of(outcome.answer["prediction"])
    if said is None:
        raise ModelFailed("rmse needs answers that are numbers", code="unexpected_output")
    return (_mean_square(said, said.size, label),)


def _mean_square(values: Floats, size: int, label: Label) -> float:
    true = numbers_of(label)
    if true is None or true.size != size:
        found = "no number" if true is None else f"{true.size} number(s)"
        raise ModelFailed(f"rmse: a label is {found}, the answer has {size}", code="unexpected_output")
    return float(((values - (thinned(true) if values.size < size else true)) ** 2).mean())


def _root(means: Floats) -> Floats:
    return np.asarray(np.sqrt(means[..., 0]))


def _is_called_positive(outcome: Outcome, declared: ScoresOutput) -> bool:
    """By its word; of a handler's bare number by the threshold."""
    said = outcome.answer["prediction"]
    if isinstance(said, float):
        return said >= declared.threshold
    return is_positive(said, declared.positive, declared.negative)


def _f1(means: Floats) -> Floats:
    """2 tp / (2 tp + fp + fn) of means [..., (tp, fp, fn)]; 0 where nothing is positive, said or true."""
    doubled = 2 * means[..., 0]
    whole = doubled + means[..., 1] + means[..., 2]
    return np.divide(doubled, whole, out=np.zeros_like(whole), where=whole > 0)
