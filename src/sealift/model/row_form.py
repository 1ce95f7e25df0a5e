"""The short way for a row that is nothing but numbers: JSON straight to values, many rows to one tensor.

The long way (`tensors`, `tabular`) reads anything and says what is wrong with it. This one reads only what is
right, and gives up on everything else; both give the same tensor, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.arrays import Arrays
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import NumericColumn, TabularInput, TensorInput
from sealift.model.service import ServedModel
from sealift.model.signature import Signature

_GIVES_UP: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MOST: Final = 100_000
"""Values of a row above which the long way costs nothing by comparison."""


class RowForm:
    """A row of a model that takes one floating-point tensor [batch, ...] and nothing else: `size` flat values."""

    def __init__(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.name = name
        self.shape = shape
        self.size = math.prod(shape)
        self._dtype = dtype

    def stacked(self, rows: Sequence[Sequence[float]]) -> Arrays:
        """Rows of `size` numbers each as the input tensor [rows, *shape].

        Raises: InvalidInput: a value that the datatype cannot hold.
        """
        try:
            with np.errstate(over="raise"):
                array = self._array(rows)
        except (FloatingPointError, OverflowError):
            raise InvalidInput("a value is out of range", code="invalid_element") from None
        return {self.name: array if len(self.shape) == 1 else array.reshape(len(rows), *self.shape)}

    def _array(self, rows: Sequence[Sequence[float]]) -> NDArray[Any]:
        return np.array(rows, self._dtype)


class _ColumnsForm(RowForm):
    """Numeric columns in order, `(x - mean) / std` in double precision."""

    def __init__(self, form: RowForm, columns: Sequence[NumericColumn]) -> None:
        super().__init__(form.name, form._dtype, form.shape)
        self._mean = np.array([column.mean for column in columns], np.float64)
        self._std = np.array([column.std for column in columns], np.float64)
        self.is_plain = not self._mean.any() and bool((self._std == 1).all())
        self.largest = float(np.finfo(form._dtype).max)

    def _array(self, rows: Sequence[Sequence[float]]) -> NDArray[Any]:
        if self.is_plain:
            return super()._array(rows)
        values = (np.array(rows, np.float64) - self._mean) / self._std
        if not (np.abs(values) <= self.largest).all():
            raise OverflowError
        return values.astype(self._dtype)


class RowReader(Protocol):
    """Reads the JSON body of a request for one row."""

    @property
    def form(self) -> RowForm:
        """What to do with the values."""
        ...

    def read(self, body: bytes) -> Sequence[float] | None:
        """The row's values; None: take the long way."""
        ...


def row_form(signature: Signature) -> RowForm | None:
    """What a row of the model is, if it is nothing but numbers and rows may stand beside each other."""
    if len(signature.inputs) != 1 or signature.batch_axis is None:
        return None
    spec = signature.inputs[0]
    if spec.shape is None or not spec.datatype.startswith("FP"):
        return None
    sizes = tuple(axis for axis in spec.shape[1:] if isinstance(axis, int))
    if not sizes or len(sizes) != len(spec.shape) - 1 or not 0 < math.prod(sizes) <= _MOST:
        return None
    return RowForm(spec.name, NUMPY_OF[spec.datatype], sizes)


def row_reader(model: ServedModel) -> RowReader | None:
    """The short way into a model's `/predict`; None where there is none."""
    form = row_form(model.signature)
    if form is None or model.handler is not None or len(form.shape) != 1:
        return None
    if isinstance(model.input, TensorInput):
        return _TensorReader(form)
    if isinstance(model.input, TabularInput):
        columns = [column for column in model.input.columns if isinstance(column, NumericColumn)]
        if len(columns) == len(model.input.columns) == form.size:
            return _FieldsReader(_ColumnsForm(form, columns), [column.name for column in columns])
    return None


class _TensorReader:
    """`{"x": [numbers]}` or `{"inputs": [numbers]}`."""

    def __init__(self, form: RowForm) -> None:
        self.form = form
        names = dict.fromkeys((form.name, "inputs"))
        fields = [
            (f"f{number}", list[float] | msgspec.UnsetType, msgspec.field(name=name, default=msgspec.UNSET))
            for number, name in enumerate(names)
        ]
        kind = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(kind).decode
        self._both = len(fields) == 2

    def read(self, body: bytes) -> Sequence[float] | None:
        """As `RowReader.read`."""
        try:
            found: Any = self._decode(body)
        except _GIVES_UP:
            return None
        row = found.f0
        if self._both:
            if row is msgspec.UNSET:
                row = found.f1
            elif found.f1 is not msgspec.UNSET:
                return None
        return row if row is not msgspec.UNSET and len(row) == self.form.size else None


class _FieldsReader:
    """`{"amount": 12.5, "age": 33}`: every column, nothing else."""

    def __init__(self, form: _ColumnsForm, names: Sequence[str]) -> None:
        self.form: RowForm = form
        # What would only round to the largest value is too large (`tabular`), which a cast does not notice.
        bounds = msgspec.Meta(ge=-form.largest, le=form.largest)
        number: Any = Annotated[float, bounds] if form.is_plain else float
        fields = [(f"f{position}", number, msgspec.field(name=name)) for position, name in enumerate(names)]
        kind = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(kind).decode

    def read(self, body: bytes) -> Sequence[float] | None:
        """As `RowReader.read`."""
        try:
            return msgspec.structs.astuple(self._decode(body))
        except _GIVES_UP:
            return None
