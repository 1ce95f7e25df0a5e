"""An output tensor -> rows of values: which axis is the row, which the class, and is there a row at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.errors import ModelFailed
from sealift.model.arrays import Prepared
from sealift.model.declaration import ClassesOutput, EmbeddingOutput, ScoresOutput
from sealift.model.signature import Signature, TensorSpec

Named = ClassesOutput | ScoresOutput | EmbeddingOutput


def chosen_output(declared: Named, signature: Signature) -> TensorSpec | None:
    """The output a declaration speaks of: by its name, else the first floating-point one."""
    for spec in signature.outputs:
        if spec.name == declared.name or (declared.name is None and spec.datatype.startswith("FP")):
            return spec
    return None


def has_rows(spec: TensorSpec) -> bool | None:
    """Whether the first axis counts rows: rank 2 and above, or one symbolic axis; None: rank open."""
    if spec.shape is None:
        return None
    return len(spec.shape) >= 2 or (len(spec.shape) == 1 and isinstance(spec.shape[0], str))


def columns(spec: TensorSpec) -> int | None:
    """How many values a row has, where the signature fixes it."""
    if spec.shape is None:
        return None
    rest = spec.shape[1:] if has_rows(spec) else spec.shape
    count = 1
    for axis in rest:
        if not isinstance(axis, int):
            return None
        count *= axis
    return count


def as_rows(spec: TensorSpec, array: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
    """[rows, values] in double, and whether the tensor had a row axis.

    Raises: ModelFailed: more than one axis of values (`unexpected_output`), or NaN or infinity
        (`not_finite`).
    """
    known = has_rows(spec)
    rows = known if known is not None else array.ndim >= 2
    if rows and array.ndim == 0:
        rows = False
    values = array.reshape(array.shape[0] if rows else 1, *[n for n in array.shape[int(rows) :] if n != 1])
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim > 2 or values.shape[1] == 0:
        text = f"output {spec.name!r} has shape {list(array.shape)}; expected one list of values per row"
        raise ModelFailed(text, code="unexpected_output", field=spec.name)
    double = values.astype(np.float64)
    if not np.isfinite(double).all():
        text = f"output {spec.name!r} holds NaN or infinity"
        raise ModelFailed(text, code="not_finite", field=spec.name)
    return double, rows


def is_single(had_rows: bool, count: int, prepared: Prepared) -> bool:
    """Whether the answer speaks of one item rather than a list of rows."""
    return not had_rows or (count == 1 and prepared.added_batch)


def activate(values: NDArray[np.float64], activation: str) -> NDArray[np.float64]:
    """`softmax` over the last axis, `sigmoid` or `none`; stable for any finite input."""
    if activation == "none":
        return values
    if activation == "sigmoid":
        small = np.exp(-np.abs(values))
        return np.where(values >= 0, 1.0, small) / (1.0 + small)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def index_of(words: Sequence[str], word: str) -> int | None:
    """Position of a label, None where it is not there."""
    return words.index(word) if word in words else None
