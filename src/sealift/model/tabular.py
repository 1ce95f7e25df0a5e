"""Named fields -> the model's inputs, every field checked and all problems told at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.arrays import Arrays, JsonValue, Prepared, did_you_mean, shown
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import CategoricalColumn, Column, NumericColumn, TabularInput
from sealift.model.signature import Axis, Signature, TensorSpec

Cells = tuple[Any, ...]
"""What one field contributes to its input: one value, or one per word of a one-hot vocabulary."""

_SHOWN_WORDS: Final = 8
_LARGEST: Final[dict[str, float]] = {"FP16": 65504.0, "FP32": float(np.finfo(np.float32).max)}


def target_input(column: Column, signature: Signature) -> str | None:
    """The model input a column goes to, by the rule of `declaration.TabularInput`; None: there is none."""
    names = [spec.name for spec in signature.inputs]
    if column.input is not None:
        return column.input if column.input in names else None
    if column.name in names:
        return column.name
    return names[0] if len(names) == 1 else None


def width(column: Column) -> int:
    """How many values the column contributes."""
    one_hot = isinstance(column, CategoricalColumn) and column.encoding == "onehot"
    return len(column.vocabulary) if isinstance(column, CategoricalColumn) and one_hot else 1


class TabularPreparation:
    """Reads `{"amount": 12.5, "country": "DE"}` or `{"fields": {...}}`; safe from several threads at once.

    Args:
        declared: columns in order; must have passed `agreement.tabular_problems`.
    """

    def __init__(self, declared: TabularInput, signature: Signature) -> None:
        self._names = tuple(column.name for column in declared.columns)
        self._known = frozenset(self._names)
        specs = {spec.name: spec for spec in signature.inputs}
        routes = [(target_input(column, signature) or "", column) for column in declared.columns]
        self._inputs = tuple(
            _InputRow.build(spec, [column for target, column in routes if target == name])
            for name, spec in specs.items()
        )

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """One row.

        Raises: InvalidInput (`invalid_field`): every wrong, missing or unknown field in one message; `field`
            is the first.
        """
        fields = self._fields(payload)
        problems: dict[str, str] = {}
        if not fields.keys() <= self._known:
            for name in fields:
                if name not in self._known:
                    problems[name] = f"not a field of this model{did_you_mean(name, self._names)}"
        arrays: Arrays = {}
        for row in self._inputs:
            cells = row.read(fields, problems)
            if not problems:
                arrays[row.name] = row.array(cells)
        if problems:
            raise self._refusal(problems)
        return Prepared(arrays, frozenset(row.added for row in self._inputs if row.added is not None))

    def _fields(self, payload: bytes | JsonValue) -> dict[str, Any]:
        if isinstance(payload, dict):
            inner = payload.get("fields")
            wrapped = payload.keys() == {"fields"} and isinstance(inner, dict)
            return inner if wrapped and isinstance(inner, dict) else payload
        got = "a raw body" if isinstance(payload, bytes) else shown(payload)
        example = ", ".join(f'"{name}": ...' for name in self._names[:3])
        more = ", ..." if len(self._names) > 3 else ""
        raise InvalidInput(f"expected named fields, {{{example}{more}}}, got {got}", code="invalid_body")

    def _refusal(self, problems: dict[str, str]) -> InvalidInput:
        order = {name: position for position, name in enumerate(self._names)}
        names = sorted(problems, key=lambda name: order.get(name, len(order)))
        text = "; ".join(f"{name}: {problems[name]}" for name in names)
        return InvalidInput(text, code="invalid_field", field=names[0])


@dataclass(frozen=True, slots=True)
class _InputRow:
    """One model input with the readers of its columns, in order."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    added: Axis | None
    readers: tuple[tuple[str, Callable[[Any], Cells], Cells | None], ...]

    @classmethod
    def build(cls, spec: TensorSpec, columns: Sequence[Column]) -> _InputRow:
        count = sum(map(width, columns))
        axes = spec.shape if spec.shape is not None else ("?", count)
        leads = len(axes) >= 2 or (len(axes) == 1 and isinstance(axes[0], str))
        shape: tuple[int, ...] = (1, count) if len(axes) == 2 else (count,) if len(axes) == 1 else ()
        readers = tuple((column.name, _reader(column, spec), _missing(column, spec)) for column in columns)
        return cls(spec.name, NUMPY_OF[spec.datatype], shape, axes[0] if leads else None, readers)

    def read(self, fields: dict[str, Any], problems: dict[str, str]) -> list[Any]:
        cells: list[Any] = []
        for name, reader, missing in self.readers:
            value = fields.get(name)
            if value is None:
                if missing is None:
                    problems[name] = "null, and the field is required" if name in fields else "missing"
                else:
                    cells += missing
                continue
            try:
                cells += reader(value)
            except ValueError as error:
                problems[name] = str(error)
        return cells

    def array(self, cells: list[Any]) -> NDArray[Any]:
        row = np.empty(len(cells), dtype=self.dtype)
        row[:] = cells
        return row.reshape(self.shape)


def _missing(column: Column, spec: TensorSpec) -> Cells | None:
    return None if column.missing is None else _reader(column, spec)(column.missing)


def _reader(column: Column, spec: TensorSpec) -> Callable[[Any], Cells]:
    if isinstance(column, NumericColumn):
        return _NumberReader(column, spec)
    return _WordReader(column)


class _NumberReader:
    """A JSON number -> `(x - mean) / std`. Raises ValueError: the text after `amount: `."""

    def __init__(self, column: NumericColumn, spec: TensorSpec) -> None:
        self._mean = column.mean
        self._std = column.std
        self._nan_allowed = column.missing is not None and math.isnan(column.missing)
        dtype = NUMPY_OF[spec.datatype]
        self._datatype = spec.datatype
        self._bounds = np.iinfo(dtype.name) if dtype.kind in "iu" else None
        self._largest = _LARGEST.get(spec.datatype, math.inf)

    def __call__(self, value: Any) -> Cells:
        if type(value) is not float and type(value) is not int:
            raise ValueError(f"expected a number, got {shown(value)}")
        if self._bounds is not None:
            return (self._whole(value),)
        try:
            number = (float(value) - self._mean) / self._std
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and abs(number) <= self._largest:
            return (number,)
        if math.isnan(number) and self._nan_allowed:
            return (number,)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected a finite number, got {value}")
        raise ValueError(f"too large for {self._datatype}, got {shown(value)}")

    def _whole(self, value: int | float) -> int:
        if isinstance(value, float) and not value.is_integer():  # also False for NaN and infinity
            raise ValueError(f"expected a whole number, got {shown(value)}")
        number = int(value)
        bounds = self._bounds
        if bounds is not None and not bounds.min <= number <= bounds.max:
            raise ValueError(f"expected {bounds.min} to {bounds.max}, got {shown(value)}")
        return number


class _WordReader:
    """A word of the vocabulary -> its cells. Raises ValueError: the text after `country: `.

    JSON numbers and booleans count as words where the vocabulary has them (`"3"`, `"true"`).
    """

    def __init__(self, column: CategoricalColumn) -> None:
        words = column.vocabulary
        if column.encoding == "string":
            self._cells: dict[str, Cells] = {word: (word,) for word in words}
        elif column.encoding == "index":
            self._cells = {word: (index,) for index, word in enumerate(words)}
        else:
            self._cells = {word: tuple(int(other == word) for other in words) for word in words}
        self._unknown = None if column.unknown is None else self._cells[column.unknown]

    def __call__(self, value: Any) -> Cells:
        word = value if isinstance(value, str) else _as_word(value)
        if word is not None and (cells := self._cells.get(word)) is not None:
            return cells
        if word is not None and self._unknown is not None:
            return self._unknown
        words = list(self._cells)
        choices = ", ".join(words[:_SHOWN_WORDS]) + (", ..." if len(words) > _SHOWN_WORDS else "")
        raise ValueError(f"expected one of {choices}, got {shown(value)}{did_you_mean(word or '', words)}")


def _as_word(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None
