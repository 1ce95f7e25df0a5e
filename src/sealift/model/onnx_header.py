"""An ONNX file -> the versions that it is written in. Standard library only; the graph is stepped over.

Source: onnx.proto3, message ModelProto (fields 1 and 8) and OperatorSetIdProto, in protobuf's wire format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sealift.errors import ModelError

_IR_VERSION: Final = 1
_OPSET_IMPORT: Final = 8
_DOMAIN: Final = 1
_VERSION: Final = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_OPSET: Final = 4096
"""Bytes of one entry: a domain's name and a number."""


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """`opsets`: domain -> version; the default domain is the empty text, however the file spells it."""

    ir: int
    opsets: Mapping[str, int]


class _Broken(Exception):
    """The bytes are no message of protobuf's."""


def read_header(path: Path) -> OnnxHeader:
    """Read the few bytes around the graph, however large the file is.

    Raises: ModelError: the file cannot be read, or is not in ONNX's format.
    """
    ir, opsets = 0, dict[str, int]()
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while file.tell() < size:
                field, kind = divmod(_varint(file), 8)
                if (field, kind) == (_IR_VERSION, _VARINT):
                    ir = _varint(file)
                elif (field, kind) == (_OPSET_IMPORT, _BYTES):
                    domain, version = _opset(file)
                    opsets[domain] = max(version, opsets.get(domain, 0))
                else:
                    _skip(file, kind, size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    except _Broken as error:
        raise ModelError(f"{path} is not a usable ONNX model: {error}.") from error
    if not ir:
        raise ModelError(f"{path} is not a usable ONNX model: it tells no IR version.")
    return OnnxHeader(ir, opsets)


def _opset(file: BinaryIO) -> tuple[str, int]:
    domain, version = "", 0
    length = _varint(file)
    end = file.tell() + length
    if length > _LONGEST_OPSET:
        raise _Broken(f"an operator set of {length} bytes")
    while file.tell() < end:
        field, kind = divmod(_varint(file), 8)
        if (field, kind) == (_DOMAIN, _BYTES):
            domain = file.read(min(_varint(file), length)).decode("utf-8", errors="replace")
        elif (field, kind) == (_VERSION, _VARINT):
            version = _varint(file)
        else:
            _skip(file, kind, end)
    if file.tell() != end:
        raise _Broken("it is cut short")
    return "" if domain == "ai.onnx" else domain, version


def _skip(file: BinaryIO, kind: int, end: int) -> None:
    """Step over one value that must end at `end` or before."""
    if kind == _VARINT:
        _varint(file)
        return
    lengths = {_FIXED64: 8, _FIXED32: 4}
    length = _varint(file) if kind == _BYTES else lengths.get(kind)
    if length is None:
        raise _Broken("it does not parse as ONNX")
    if file.tell() + length > end:
        raise _Broken("it is cut short")
    file.seek(length, 1)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _Broken("it is cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _Broken("it does not parse as ONNX")
