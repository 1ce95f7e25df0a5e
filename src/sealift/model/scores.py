"""A score against a threshold -> one of two words."""

from __future__ import annotations

from typing import Any

from sealift.errors import ModelFailed
from sealift.model.arrays import Arrays, Prepared
from sealift.model.declaration import ScoresOutput
from sealift.model.rows import activate, as_rows, index_of, is_single
from sealift.model.signature import TensorSpec


def score_column(positive: str, labels: tuple[str, ...], count: int) -> int | None:
    """Which of `count` values is the score, by the rule of `declaration.ScoresOutput`; None: undecided."""
    if count == 1:
        return 0
    labelled = index_of(labels, positive)
    return labelled if labelled is not None else (1 if count == 2 else None)


class ScoresAnswer:
    """`{"prediction": "fraud", "score": 0.91, "threshold": 0.83}`.

    A single value is the score as it is, unless an activation is declared; several values that are not yet
    probabilities go through softmax. Without `negative` the other word is the model's other label, else
    `not <positive>`. Several rows: `prediction` and `score` are lists.
    """

    def __init__(self, declared: ScoresOutput, spec: TensorSpec, is_probability: bool) -> None:
        self._declared = declared
        self._spec = spec
        self._activation = declared.activation or ("none" if is_probability else None)
        self._negative = declared.negative or _other_label(declared.positive, spec.labels)

    def __call__(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:
        """Raises: ModelFailed: values not finite, or no column that is the score."""
        scores, words, had_rows = self._scored(outputs)
        threshold = self._declared.threshold
        if is_single(had_rows, len(scores), prepared):
            return {"prediction": words[0], "score": scores[0], "threshold": threshold}
        return {"prediction": words, "score": scores, "threshold": threshold}

    def many(self, outputs: Arrays, rows: int) -> list[dict[str, Any]]:  # noqa: ARG002 - there is one for each
        """One answer for each item. Raises: as `__call__`."""
        scores, words, _ = self._scored(outputs)
        threshold = self._declared.threshold
        return [
            {"prediction": word, "score": score, "threshold": threshold}
            for word, score in zip(words, scores, strict=True)
        ]

    def _scored(self, outputs: Arrays) -> tuple[list[float], list[str], bool]:
        values, had_rows = as_rows(self._spec, outputs[self._spec.name])
        column = score_column(self._declared.positive, self._spec.labels, values.shape[1])
        if column is None:
            found = f"{values.shape[1]} values a row, none is labelled {self._declared.positive!r}"
            text = f"output {self._spec.name!r} has {found}"
            raise ModelFailed(text, code="unexpected_output", field=self._spec.name)
        activation = self._activation or ("none" if values.shape[1] == 1 else "softmax")
        scores = activate(values, activation)[:, column].tolist()
        threshold = self._declared.threshold
        words = [self._declared.positive if score >= threshold else self._negative for score in scores]
        return scores, words, had_rows


def _other_label(positive: str, labels: tuple[str, ...]) -> str:
    others = [label for label in labels if label != positive]
    return others[0] if len(labels) == 2 and len(others) == 1 else f"not {positive}"
