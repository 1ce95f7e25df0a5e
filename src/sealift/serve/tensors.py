"""Arrays to and from the two forms the Open Inference Protocol gives them: JSON and raw bytes.

Source: Open Inference Protocol v2 (tensor data, flattened or nested, row-major) and its binary tensor
data extension (little-endian; BYTES elements each behind a 4-byte little-endian length).
"""

from __future__ import annotations

import math
import re
import struct
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF

_ELEMENT: Final[dict[str, Any]] = {
    "BOOL": bool | Literal[0, 1],
    "BYTES": str,
    "FP16": float,
    "FP32": float,
    "FP64": float,
    "INT64": int,
    # msgspec knows no bound above int64: numpy refuses what is larger than uint64.
    "UINT64": Annotated[int, msgspec.Meta(ge=0)],
} | {
    name: Annotated[int, msgspec.Meta(ge=int(bounds.min), le=int(bounds.max))]
    for name, bounds in (
        (name, np.iinfo(name.lower())) for name in ("UINT8", "UINT16", "UINT32", "INT8", "INT16", "INT32")
    )
}
BF16: Final = "BF16"
"""The upper half of an FP32. numpy has no such type, and onnxruntime takes none from numpy (ADR 0016)."""
_MAX_RANK: Final = 32
_LENGTH: Final = struct.Struct("<I")
_BF16_BITS: Final = np.dtype("<u2")
_OPENING: Final = re.compile(rb"[\s\[]*").match


def from_json(raw: bytes | memoryview, datatype: str, shape: tuple[int, ...], field: str) -> NDArray[Any]:
    """Flat or nested JSON data as an array of `shape`, C-contiguous.

    Raises: InvalidInput: not JSON, wrong element, out of the datatype's range, or another number of them.
    """
    data = bytes(raw)
    opening = _OPENING(data)
    depth = opening.group().count(b"[") if opening else 0
    if depth not in (len(shape), 1) or depth > _MAX_RANK:
        wanted = f"a flat list or {len(shape)} nested levels" if len(shape) != 1 else "a flat list"
        raise _bad(field, f"data of shape {list(shape)} is {wanted}, got {depth} levels")
    try:
        values = _decoder(datatype, depth).decode(data)
    except msgspec.DecodeError as error:
        raise _bad(field, _readable(error)) from None
    return from_list(values, datatype, shape, field)


def from_list(values: Any, datatype: str, shape: tuple[int, ...], field: str) -> NDArray[Any]:
    """Flat or nested lists whose elements are of the right kind already, as `from_json`.

    Raises: InvalidInput: a value out of range, ragged, or another number of elements.
    """
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype=NUMPY_OF[datatype])
    except (OverflowError, FloatingPointError):
        raise _bad(field, f"a value is out of the range of {datatype}") from None
    except ValueError:
        raise _bad(field, "the nested lists have different lengths") from None
    if array.shape == shape:
        return array
    if array.ndim != 1 or len(shape) == 1:
        raise _bad(field, f"data has shape {list(array.shape)}, declared is {list(shape)}")
    _check_rank(shape, field)
    if array.size != math.prod(shape):
        raise _bad(field, f"shape {list(shape)} takes {math.prod(shape)} elements, got {array.size}")
    return array.reshape(shape) if array.size else _empty(shape, array.dtype, field)


def from_binary(raw: memoryview, datatype: str, shape: tuple[int, ...], field: str) -> NDArray[Any]:
    """Raw bytes as an array of `shape`: a read-only view of `raw` where its address allows, else a copy.

    BF16 becomes FP32, exactly.

    Raises: InvalidInput: another number of bytes than the shape takes, or BYTES that are not UTF-8.
    """
    _check_rank(shape, field)
    count = math.prod(shape)
    if datatype == "BYTES":
        strings = _strings(raw, count, field)
        return strings.reshape(shape) if count else _empty(shape, strings.dtype, field)
    dtype = _BF16_BITS if datatype == BF16 else NUMPY_OF[datatype]
    if len(raw) != count * dtype.itemsize:
        raise _bad(
            field, f"{datatype} of shape {list(shape)} takes {count * dtype.itemsize} bytes, got {len(raw)}"
        )
    if not count:
        return _empty(shape, np.dtype(np.float32) if datatype == BF16 else dtype, field)
    if datatype == BF16:
        return (np.frombuffer(raw, dtype).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if datatype == "BOOL":
        # A byte other than 0 and 1 in a bool array is undefined behaviour in whoever reads it.
        return np.frombuffer(raw, np.uint8).astype(np.bool_).reshape(shape)
    array = np.frombuffer(raw, dtype).reshape(shape)
    # The JSON in front has any length; engines may assume that elements are aligned.
    return array if array.flags.aligned else array.copy()


def _check_rank(shape: tuple[int, ...], field: str) -> None:
    if len(shape) > _MAX_RANK:
        raise _bad(field, f"a tensor has at most {_MAX_RANK} axes, got {len(shape)}")


def _empty(shape: tuple[int, ...], dtype: np.dtype[np.generic], field: str) -> NDArray[Any]:
    try:
        return np.zeros(shape, dtype)
    except ValueError:  # numpy multiplies the other axes, however large they are said to be
        raise _bad(field, f"shape {list(shape)} is too large, although it holds nothing") from None


def to_json(array: NDArray[Any]) -> list[Any]:
    """Flat, row-major JSON values; NaN and infinities have none and become null."""
    values: list[Any] = array.reshape(-1).tolist()
    return values


def to_binary(array: NDArray[Any]) -> bytes | memoryview:
    """Raw little-endian bytes, uncopied where the array is contiguous."""
    if array.dtype.kind in "OUS":
        encoded = (text.encode() if isinstance(text, str) else bytes(text) for text in array.reshape(-1))
        return b"".join(part for element in encoded for part in (_LENGTH.pack(len(element)), element))
    if not array.size:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _strings(raw: memoryview, count: int, field: str) -> NDArray[Any]:
    data = bytes(raw)
    at = 0
    texts: list[str] = []
    while at < len(data):
        if at + 4 > len(data):
            raise _bad(field, f"element {len(texts)} has no 4-byte length in front")
        end = at + 4 + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            raise _bad(field, f"element {len(texts)} is longer than the tensor's bytes")
        try:
            texts.append(data[at + 4 : end].decode())
        except UnicodeDecodeError:
            raise _bad(field, f"element {len(texts)} is not UTF-8, which string tensors take") from None
        at = end
    if len(texts) != count:
        raise _bad(field, f"the shape takes {count} elements, got {len(texts)}")
    array = np.empty(count, dtype=np.object_)
    array[:] = texts
    return array


@cache
def _decoder(datatype: str, depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = _ELEMENT[datatype]
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind)


def _readable(error: msgspec.DecodeError) -> str:
    text = str(error).replace("`", "")
    if "malformed" in text:
        text += " (JSON has no NaN or Infinity: send those as binary data)"
    return text.replace(" - at $", ", at ")


def _bad(field: str, text: str) -> InvalidInput:
    return InvalidInput(f"{field}: {text}", code="invalid_tensor", field=field)
