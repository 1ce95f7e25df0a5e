"""Outputs as they are, or as embeddings -> JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealift.model.arrays import Arrays, Prepared
from sealift.model.declaration import EmbeddingOutput
from sealift.model.nested import json_from_array
from sealift.model.rows import as_rows, is_single
from sealift.model.signature import Signature, TensorSpec


class TensorAnswer:
    """`{"prediction": value}` for one output, `{"prediction": {"name": value, ...}}` for several.

    NaN and infinity become null. An item that came without a batch axis leaves without one: an output
    loses its first axis if that is the axis which was added on the way in, and has size 1.
    """

    def __init__(self, signature: Signature) -> None:
        self._specs = signature.outputs

    def __call__(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:
        """Nested lists; BYTES as strings."""
        values = {
            spec.name: json_from_array(_item(spec, outputs[spec.name], prepared)) for spec in self._specs
        }
        return {"prediction": values[self._specs[0].name] if len(values) == 1 else values}

    def many(self, outputs: Arrays, rows: int) -> list[dict[str, Any]]:  # noqa: ARG002 - there is one for each
        """One answer for each item; NaN and infinity are left to the JSON writer, which writes null."""
        values = [outputs[spec.name].tolist() for spec in self._specs]
        if len(values) == 1:
            return [{"prediction": value} for value in values[0]]
        names = [spec.name for spec in self._specs]
        return [{"prediction": dict(zip(names, row, strict=True))} for row in zip(*values, strict=True)]


def _item(spec: TensorSpec, array: NDArray[Any], prepared: Prepared) -> NDArray[Any]:
    leads = bool(spec.shape) and spec.shape is not None and spec.shape[0] in prepared.added_axes
    return np.asarray(array[0]) if leads and array.ndim and array.shape[0] == 1 else array


class EmbeddingAnswer:
    """`{"prediction": [0.1, ...]}`; one vector per row where there are several rows."""

    def __init__(self, declared: EmbeddingOutput, spec: TensorSpec) -> None:
        self._normalize = declared.normalize
        self._spec = spec

    def __call__(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:
        """Raises: ModelFailed: values not finite, or not one vector a row."""
        values, had_rows = self._vectors(outputs)
        single = is_single(had_rows, len(values), prepared)
        return {"prediction": values[0].tolist() if single else values.tolist()}

    def many(self, outputs: Arrays, rows: int) -> list[dict[str, Any]]:  # noqa: ARG002 - there is one for each
        """One answer for each item. Raises: as `__call__`."""
        return [{"prediction": vector} for vector in self._vectors(outputs)[0].tolist()]

    def _vectors(self, outputs: Arrays) -> tuple[NDArray[np.float64], bool]:
        values, had_rows = as_rows(self._spec, outputs[self._spec.name])
        if self._normalize:
            largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
            scaled = values / np.where(largest == 0.0, 1.0, largest)
            lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
            values = scaled / np.where(lengths == 0.0, 1.0, lengths)
        return values, had_rows
