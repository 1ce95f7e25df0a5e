"""Training cases -> columns with what was learned of them -> numbers, and the same columns as lines of sealift.toml.

The box does to a case exactly what `encode` does here: `(x - mean) / std`, or one column a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from table import Case, Field


@dataclass(frozen=True, slots=True)
class Numeric:
    """`missing`: what a blank cell stands for; NaN where the model takes it as it is; None: it is refused."""

    name: str
    mean: float
    std: float
    missing: float | None

    def encode(self, case: Case) -> list[float]:
        """One number."""
        value = case.get(self.name, self.missing)
        return [(float(value) - self.mean) / self.std]  # type: ignore[arg-type]

    def lines(self) -> list[str]:
        """For `[[models.NAME.input.columns]]`."""
        scale = [f"mean = {self.mean}", f"std = {self.std}"] if (self.mean, self.std) != (0.0, 1.0) else []
        return ['kind = "numeric"', *scale, *([] if self.missing is None else [f"missing = {self.missing}"])]


@dataclass(frozen=True, slots=True)
class Categorical:
    """`missing` and `unknown` are words of the vocabulary; None: such a case is refused."""

    name: str
    vocabulary: tuple[str, ...]
    missing: str | None
    unknown: str | None

    def encode(self, case: Case) -> list[float]:
        """One number a word, 1 for the case's own."""
        word = case.get(self.name, self.missing)
        word = word if word in self.vocabulary else self.unknown
        return [float(word == each) for each in self.vocabulary]

    def lines(self) -> list[str]:
        """For `[[models.NAME.input.columns]]`."""
        words = ", ".join(map(_quoted, self.vocabulary))
        stand_in = [("missing", self.missing), ("unknown", self.unknown)]
        return [
            'kind = "categorical"',
            'encoding = "onehot"',
            f"vocabulary = [{words}]",
            *(f"{key} = {_quoted(word)}" for key, word in stand_in if word is not None),
        ]


Column = Numeric | Categorical


def learn(cases: Sequence[Case], fields: Sequence[Field], *, takes_nan: bool) -> tuple[Column, ...]:
    """What the training cases say of each field.

    Args:
        takes_nan: the model learns from raw numbers and NaN itself (trees); else numbers are scaled, and a blank
            cell is the median.
    """
    return tuple(
        _numeric(cases, field, takes_nan=takes_nan) if field.numeric else _categorical(cases, field)
        for field in fields
    )


def encode(cases: Sequence[Case], columns: Sequence[Column]) -> NDArray[np.float32]:
    """[cases, numbers], as the model takes them."""
    return np.array([[x for column in columns for x in column.encode(case)] for case in cases], np.float32)


def as_toml(model: str, columns: Sequence[Column]) -> str:
    """The columns of a model as tables of sealift.toml."""
    tables = [
        [f"[[models.{model}.input.columns]]", f"name = {_quoted(column.name)}", *column.lines()]
        for column in columns
    ]
    return "\n\n".join("\n".join(table) for table in tables)


def _numeric(cases: Sequence[Case], field: Field, *, takes_nan: bool) -> Numeric:
    values = np.array([case[field.name] for case in cases if field.name in case], np.float64)
    if takes_nan:
        return Numeric(field.name, 0.0, 1.0, math.nan if field.blanked else None)
    stand_in = float(np.median(values)) if field.blanked else None
    return Numeric(field.name, round(float(values.mean()), 4), round(float(values.std()), 4), stand_in)


def _categorical(cases: Sequence[Case], field: Field) -> Categorical:
    words = {str(case[field.name]) for case in cases if field.name in case}
    words |= {word for word in (field.missing, field.unknown) if word is not None}
    return Categorical(field.name, tuple(sorted(words)), field.missing, field.unknown)


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)
