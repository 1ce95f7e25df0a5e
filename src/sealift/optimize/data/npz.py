"""`.npz` -> items along the first axis of its arrays, read one at a time and never unpickled."""

from __future__ import annotations

import weakref
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput, ProjectError, UsageError
from sealift.model.arrays import Arrays, Prepared
from sealift.model.datatypes import NUMPY_OF
from sealift.model.pipeline import Pipeline
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tensors import check_shapes, describe
from sealift.optimize.data.item import Item

_BROKEN: Final = (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError)


class _Array:
    """One array of the file. A stream goes on where it stands, and from the start for what lies before."""

    def __init__(self, path: Path, member: str) -> None:
        self.name = member.removesuffix(".npy")
        self._path = path
        archive = zipfile.ZipFile(path)
        weakref.finalize(self, archive.close)
        self._stream: IO[bytes] = archive.open(member)
        weakref.finalize(self, self._stream.close)  # runs first: the archive waits for its streams
        version = np.lib.format.read_magic(self._stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        self.shape, self._is_fortran, self.dtype = read(self._stream)
        self._start = self._stream.tell()

    @property
    def problem(self) -> str:
        if self.dtype.hasobject:
            return f"{self.name} holds Python objects, which are not read (pickle)"
        if self.dtype.kind not in "biufU":
            return f"{self.name} is {self.dtype}, expected numbers, booleans or text"
        if not self.shape:
            return f"{self.name} is a single value; its first axis must be the items"
        if self._is_fortran and len(self.shape) > 1:
            return f"{self.name} lies in Fortran order; save np.ascontiguousarray of it"
        return ""

    def row(self, number: int) -> NDArray[Any]:
        """Raises: UsageError: the file is damaged."""
        shape = self.shape[1:]
        size = int(np.prod(shape)) * self.dtype.itemsize
        try:
            self._stream.seek(self._start + number * size)
            data = self._stream.read(size)
            return np.frombuffer(data, self.dtype).reshape(shape)
        except _BROKEN as error:
            raise UsageError(f"{self._path}: {self.name} is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class _Slice:
    arrays: tuple[_Array, ...]
    number: int

    def payload(self) -> Any:
        return {"inputs": {array.name: array.row(self.number).tolist() for array in self.arrays}}

    def prepare(self, pipeline: Pipeline) -> Prepared:
        return prepared_tensors(
            pipeline.signature, {each.name: each.row(self.number) for each in self.arrays}
        )


def read_npz(path: Path, label: str) -> list[Item]:
    """The arrays are the model's inputs by name, without a handler's or an image's preparation; `label` is optional.

    Raises: ProjectError: no such file, object arrays, arrays of different length; all problems at once.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
        arrays = [_Array(path, name) for name in members]
    except _BROKEN as error:
        why = getattr(error, "strerror", None) or error
        raise ProjectError(
            f"{path} is not an .npz file: {why}", next_step="write it with np.savez"
        ) from error
    problems = [array.problem for array in arrays if array.problem]
    inputs = tuple(array for array in arrays if array.name != label)
    if not inputs:
        problems.append("it holds no array for the model")
    lengths = {array.name: array.shape[0] for array in arrays if array.shape}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        problems.append(f"the first axes differ: {told}")
    if problems:
        raise ProjectError(f"{path} cannot be used", problems=problems)
    labels: Sequence[Any] = _labels(arrays, label) or [None] * inputs[0].shape[0]
    return [
        Item(f"{path.name}:{number}", value, _Slice(inputs, number)) for number, value in enumerate(labels)
    ]


def _labels(arrays: Sequence[_Array], label: str) -> list[Any]:
    found = [array for array in arrays if array.name == label]
    return [found[0].row(number).tolist() for number in range(found[0].shape[0])] if found else []


def prepared_tensors(signature: Signature, rows: Arrays) -> Prepared:
    """Arrays of one item -> what the engine takes: right dtype, a leading 1 where the model has a batch axis.

    Raises: InvalidInput: another name, shape or kind of number than the model's.
    """
    wanted = {spec.name for spec in signature.inputs}
    if rows.keys() != wanted:
        text = f"the file has arrays {', '.join(sorted(rows))}, the model takes {', '.join(sorted(wanted))}"
        raise InvalidInput(text, code="invalid_inputs")
    arrays: Arrays = {}
    added: set[Axis] = set()
    for spec in signature.inputs:
        array = _cast(spec, rows[spec.name])
        if spec.shape and array.ndim == len(spec.shape) - 1 and spec.shape[0] in (1, str(spec.shape[0])):
            array = array[np.newaxis]
            added.add(spec.shape[0])
        arrays[spec.name] = np.require(array, requirements="C")
    check_shapes(signature, arrays)
    return Prepared(arrays, frozenset(added))


def _cast(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    wanted = NUMPY_OF[spec.datatype]
    is_text = wanted.kind == "O"
    if is_text != (array.dtype.kind == "U") or not (is_text or np.can_cast(array.dtype, wanted, "same_kind")):
        text = f"{spec.name}: {array.dtype} does not go into {describe(spec)}"
        raise InvalidInput(text, code="invalid_inputs", field=spec.name)
    return array.astype(wanted)
