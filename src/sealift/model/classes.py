"""One value per class -> the winner, its label and the best few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.errors import ModelFailed
from sealift.model.arrays import Arrays, Prepared
from sealift.model.declaration import ClassesOutput
from sealift.model.rows import activate, as_rows, is_single
from sealift.model.signature import TensorSpec


class ClassesAnswer:
    """`{"prediction": 282, "label": "tiger cat", "probabilities": [{"class", "label", "probability"}, ...]}`.

    `prediction` is the class index; ties go to the lower one. `label` stands where the declaration or the
    model itself names classes. Several rows: every key holds one entry per row.
    """

    def __init__(self, declared: ClassesOutput, spec: TensorSpec, is_probability: bool) -> None:
        self._spec = spec
        self._labels = declared.labels or spec.labels
        self._top = declared.top
        self._activation = declared.activation or ("none" if is_probability else "softmax")

    def __call__(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:
        """Raises: ModelFailed: values not finite, not one list a row, or fewer labels than classes."""
        values, had_rows = self._values(outputs)
        rows = self._rows(values)
        if is_single(had_rows, len(rows), prepared):
            return rows[0]
        keys = ("prediction", "label", "probabilities") if self._labels else ("prediction", "probabilities")
        return {key: [row[key] for row in rows] for key in keys}

    def many(self, outputs: Arrays, rows: int) -> list[dict[str, Any]]:  # noqa: ARG002 - there is one for each
        """One answer for each item. Raises: as `__call__`."""
        return self._rows(self._values(outputs)[0])

    def _values(self, outputs: Arrays) -> tuple[NDArray[np.float64], bool]:
        values, had_rows = as_rows(self._spec, outputs[self._spec.name])
        if self._labels and values.shape[1] != len(self._labels):
            found, known = values.shape[1], len(self._labels)
            text = f"output {self._spec.name!r} has {found} classes, there are {known} labels"
            raise ModelFailed(text, code="unexpected_output", field=self._spec.name)
        return values, had_rows

    def _rows(self, values: NDArray[np.float64]) -> list[dict[str, Any]]:
        return [self._row(row) for row in activate(values, self._activation)]

    def _row(self, values: NDArray[np.float64]) -> dict[str, Any]:
        order = np.argsort(-values, kind="stable")[: self._top].tolist()
        chances = values[order].tolist()
        if not self._labels:
            best = [{"class": i, "probability": chance} for i, chance in zip(order, chances, strict=True)]
            return {"prediction": order[0], "probabilities": best}
        best = [
            {"class": i, "label": self._labels[i], "probability": chance}
            for i, chance in zip(order, chances, strict=True)
        ]
        return {"prediction": order[0], "label": self._labels[order[0]], "probabilities": best}
