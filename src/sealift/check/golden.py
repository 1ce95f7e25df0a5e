"""Golden inputs: recorded once at pack, compared on every box.

`application/goldens/MODEL.json`; of the variants that travel beside the first one `MODEL@VARIANT.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.errors import StoreError
from sealift.model.datatypes import NUMPY_OF, datatype_of
from sealift.model.service import UNPROVEN, ServedModel

ROUNDING: Final[Mapping[str, float]] = {"": 2.0**-13, "bf16": 2.0**-6, "fp16": 2.0**-6, "int8": 2.0**-4}
"""What a model is calculated in -> the share of the largest output that two processors may differ by.

Sums in another order, for fp32. bf16 and fp16 keep 8 and 11 bits, and the losses add up over the layers. In INT8 a
value on the edge between two steps falls on either side; a step is 1/127 of a tensor's range, and some meet."""


class GoldenTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor by value: little-endian C order; BYTES elements stand in `strings` instead."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes = b""
    strings: tuple[str, ...] = ()

    def array(self) -> NDArray[Any]:
        """The tensor, read-only."""
        dtype = NUMPY_OF[self.datatype]
        if self.datatype == "BYTES":
            return np.array(self.strings, dtype=object).reshape(self.shape)
        return np.frombuffer(self.data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(self.shape)


class GoldenOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An expected output; `|y - recorded| <= tolerance` elementwise (0: exactly equal)."""

    tensor: GoldenTensor
    tolerance: float


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One golden input: a `payload` file that goes through pre-processing, or bare `inputs`."""

    name: str
    payload: str | None = None
    inputs: tuple[GoldenTensor, ...] = ()
    outputs: tuple[GoldenOutput, ...] = ()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The recorded inputs, by name; of a payload none."""
        return {tensor.name: tensor.array() for tensor in self.inputs}


class _BatchReason(msgspec.Struct, frozen=True):
    """What of a golden set a worker needs to begin with; the rest is passed over unread."""

    batch_reason: str = UNPROVEN


class GoldenSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The goldens of one model; without any, `reason` says why the release is not golden-checked.

    `batch_reason` is empty when rows of several requests may share a run (`engine.proof`); else why not.
    """

    model: str
    goldens: tuple[Golden, ...] = ()
    reason: str = ""
    batch_reason: str = ""


def tensor_of(name: str, array: NDArray[Any]) -> GoldenTensor:
    """Record an array by value. Raises: KeyError: a dtype that no protocol datatype carries."""
    array = np.asarray(array)
    datatype = datatype_of(array.dtype)
    shape = tuple(int(size) for size in array.shape)
    if datatype == "BYTES":
        strings = tuple(item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel())
        return GoldenTensor(name=name, datatype=datatype, shape=shape, strings=strings)
    data = np.ascontiguousarray(array, dtype=NUMPY_OF[datatype].newbyteorder("<")).tobytes()
    return GoldenTensor(name=name, datatype=datatype, shape=shape, data=data)


def differences(golden: Golden, outputs: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """What is not as recorded, one sentence per output tensor."""
    found = [_difference(expected, outputs) for expected in golden.outputs]
    return tuple(f"golden input {golden.name}: {problem}" for problem in found if problem)


def _difference(expected: GoldenOutput, outputs: Mapping[str, NDArray[Any]]) -> str:
    name = expected.tensor.name
    if name not in outputs:
        return f"output {name} is missing"
    wanted, got = expected.tensor.array(), np.asarray(outputs[name])
    if wanted.shape != got.shape:
        return f"output {name}: expected shape {list(wanted.shape)}, found {list(got.shape)}"
    if expected.tensor.datatype in ("BYTES", "BOOL") or expected.tolerance == 0:
        return "" if is_same(wanted, got) else f"output {name}: expected the recorded values, found others"
    distance = furthest(wanted, got)
    if distance <= expected.tolerance:
        return ""
    return f"output {name}: differs by {distance:.3g}, tolerance {expected.tolerance:.3g}"


def is_same(wanted: NDArray[Any], got: NDArray[Any]) -> bool:
    """Equal in every element; NaN equals NaN."""
    if wanted.dtype.kind == "f":
        return bool(np.array_equal(wanted, got, equal_nan=True))
    return bool(np.array_equal(wanted, got))


def furthest(wanted: NDArray[Any], got: NDArray[Any]) -> float:
    """The largest absolute difference; NaN and infinities must stand in the same places, else inf."""
    a, b = wanted.astype(np.float64), np.asarray(got).astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(
        a[~finite], b[~finite], equal_nan=True
    ):
        return math.inf
    return float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))


def golden_file(folder: Path, model: ServedModel) -> Path:
    """Where what was recorded of a model lies; of each of its variants apart, for they answer differently."""
    is_first = not model.variants or model.variant == model.variants[0].name
    return folder / (f"{model.name}.json" if is_first else f"{model.name}@{model.variant}.json")


def tolerance_for(recorded: NDArray[Any], variants: list[NDArray[Any]], precision: str = "") -> float:
    """Four times the spread over threads, at least what processors may differ by.

    Args:
        precision: a key of `ROUNDING`, the floor; outputs in fp16 have that of fp16 at least.
    Returns: rounded up to a power of two so that packing twice records the same. Integers, booleans and strings: 0.
        inf when a variant differs in kind (NaN for a number).
    """
    if recorded.dtype.kind != "f":
        same = all(is_same(recorded, variant) for variant in variants)
        return 0.0 if same else math.inf
    spread = max((furthest(recorded, variant) for variant in variants), default=0.0)
    if math.isinf(spread):
        return math.inf
    finite = recorded[np.isfinite(recorded)].astype(np.float64)
    scale = float(np.max(np.abs(finite), initial=0.0))
    rounding = max(ROUNDING[precision], ROUNDING["fp16"] if recorded.dtype == np.float16 else 0.0)
    floor = scale * rounding
    bound = max(4 * spread, floor, 2.0**-30)
    return float(2.0 ** math.ceil(math.log2(bound)))


def encode_set(goldens: GoldenSet) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.format(msgspec.json.encode(goldens, order="sorted"), indent=1)


def read_set(path: Path) -> GoldenSet:
    """The goldens of a model. Raises: StoreError: the file is missing or damaged."""
    try:
        return decode_set(path.read_bytes())
    except OSError as error:
        raise StoreError(f"golden inputs {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise StoreError(f"golden inputs {path}: damaged: {error}") from error


def read_batch_reason(path: Path) -> str:
    """Why a model is not batched, empty where it may be; `UNPROVEN` where there is no such file.

    Raises: StoreError: the file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_BatchReason).batch_reason
    except FileNotFoundError:
        return UNPROVEN
    except OSError as error:
        raise StoreError(f"golden inputs {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise StoreError(f"golden inputs {path}: damaged: {error}") from error


def decode_set(data: bytes) -> GoldenSet:
    """Strict. Raises: msgspec.ValidationError."""
    return msgspec.json.decode(data, type=GoldenSet)
