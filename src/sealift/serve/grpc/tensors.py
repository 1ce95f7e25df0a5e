"""ModelInfer's messages to arrays and back; raw tensors are neither copied in nor out where that can be.

Source: Open Inference Protocol v2, gRPC: `raw_input_contents` and `raw_output_contents` hold what REST's binary
data holds; Protocol Buffers encoding (a message is a sequence of tagged fields, in any order).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from sealift.engine.protocol import Arrays
from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF
from sealift.serve.grpc.messages import InferRequest, InferResponse
from sealift.serve.grpc.stream import Buffer
from sealift.serve.oip import OipModel, WantedOutput, refuse_foreign
from sealift.serve.tensors import BF16, from_binary, from_list, to_binary

_RAW_INPUT: Final = 7 << 3 | 2
_RAW_OUTPUT: Final = 6 << 3 | 2
_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5
_MAX_SIZE: Final = 2**31 - 1
_CONTENTS_OF: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_COSTLY_BYTES: Final = 16 * 1024
"""As REST: what is larger is read on a thread, unless it is only looked at."""


@dataclass(frozen=True, slots=True)
class GivenInput:
    """An input as the request describes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WantedName:
    """A requested output."""

    name: str
    parameters: Mapping[str, Any]


class Parsed:
    """A ModelInfer request whose tensors have not been read yet; `raw` are views of its bytes."""

    __slots__ = ("message", "parameters", "raw", "size")

    def __init__(self, message: Any, raw: list[memoryview], size: int) -> None:
        self.message = message
        self.raw = raw
        self.size = size
        self.parameters = plain(message.parameters)

    @property
    def is_costly(self) -> bool:
        """Claims that reading the tensors would hold up the event loop."""
        if self.size <= _COSTLY_BYTES:
            return False
        held = sum(map(len, self.raw))
        return self.size - held > _COSTLY_BYTES or any(
            given.datatype in ("BYTES", BF16, "BOOL") for given in self.message.inputs
        )

    def outputs(self) -> list[WantedName]:
        """The outputs that are asked for by name."""
        return [WantedName(output.name, plain(output.parameters)) for output in self.message.outputs]


def parse(data: memoryview) -> Parsed:
    """Raises: InvalidInput: not the bytes of such a message."""
    head, raw = _split(data)
    return Parsed(decode(InferRequest, head), raw, len(data))


def decode(kind: type[Any], data: bytes | memoryview) -> Any:
    """A message of that kind. Raises: InvalidInput: `data` is none."""
    try:
        return kind.FromString(data)
    except (DecodeError, ValueError) as error:
        raise InvalidInput(f"the message cannot be read: {error}", code="invalid_request") from None


def read_arrays(parsed: Parsed, model: OipModel) -> Arrays:
    """The inputs as arrays, checked against the signature as REST checks them.

    Raises: InvalidInput: anything that the protocol or the signature does not allow.
    """
    inputs = parsed.message.inputs
    given = [GivenInput(one.name, one.datatype, _shape(one)) for one in inputs]
    for one in inputs:
        if one.parameters:
            refuse_foreign(plain(one.parameters), one.name)
    model.check(given)
    raw = parsed.raw
    if not raw:
        return {
            one.name: _typed(one, inputs[number].contents, f"inputs[{number}].contents")
            for number, one in enumerate(given)
        }
    if len(raw) != len(given):
        text = f"raw_input_contents: expected one entry for each of {len(given)} inputs, got {len(raw)}"
        raise InvalidInput(text, code="invalid_tensor", field="raw_input_contents")
    mixed = [one.name for one in inputs if one.HasField("contents")]
    if mixed:
        text = f"{mixed[0]}: give contents or raw_input_contents, not both"
        raise InvalidInput(text, code="invalid_tensor", field=mixed[0])
    return {
        one.name: from_binary(data, one.datatype, one.shape, one.name)
        for one, data in zip(given, raw, strict=True)
    }


def write(
    model: OipModel, request_id: str, wanted: tuple[WantedOutput, ...], outputs: Mapping[str, NDArray[Any]]
) -> tuple[Buffer, ...]:
    """The bytes of a ModelInferResponse, in pieces: the tensors are as the engine left them."""
    answer = InferResponse(model_name=model.model.name, model_version=model.version, id=request_id)
    tail: list[Buffer] = []
    for one in wanted:
        array, datatype = model.said(one, outputs)
        answer.outputs.add(name=one.name, datatype=datatype, shape=array.shape)
        raw = to_binary(array)
        tail += (bytes((_RAW_OUTPUT,)) + _varint(len(raw)), raw)
    head: bytes = answer.SerializeToString()
    return (head, *tail)


def plain(parameters: Any) -> dict[str, Any]:
    """A map of InferParameter as Python values."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        case = value.WhichOneof("choice")
        if case is not None:
            found[name] = getattr(value, case)
    return found


def message(kind: type[Any], **fields: Any) -> tuple[Buffer]:
    """A small message's bytes."""
    made: Message = kind(**fields)
    return (made.SerializeToString(),)


def _shape(given: Any) -> tuple[int, ...]:
    shape = tuple(given.shape)
    if shape and not 0 <= min(shape) <= max(shape) <= _MAX_SIZE:
        text = f"{given.name}: shape: expected sizes of 0 to {_MAX_SIZE}, got {list(shape)}"
        raise InvalidInput(text, code="invalid_request", field=given.name)
    return shape


def _typed(given: GivenInput, contents: Any, where: str) -> NDArray[Any]:
    field = _CONTENTS_OF.get(given.datatype)
    if field is None:
        text = f"{given.name}: {given.datatype} is sent in raw_input_contents only"
        raise InvalidInput(text, code="invalid_tensor", field=given.name)
    strangers = [known.name for known, _ in contents.ListFields() if known.name != field]
    if strangers:
        text = f"{given.name}: {given.datatype} is sent in {field}, got {strangers[0]}"
        raise InvalidInput(text, code="invalid_tensor", field=given.name)
    values = list(getattr(contents, field))
    if given.datatype == "BYTES":
        values = [_text(value, where, number) for number, value in enumerate(values)]
    elif NUMPY_OF[given.datatype].itemsize > 8:  # pragma: no cover - no such datatype
        raise AssertionError(given.datatype)
    return from_list(values, given.datatype, given.shape, where)


def _text(value: bytes, where: str, number: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        text = f"{where}: element {number} is not UTF-8, which string tensors take"
        raise InvalidInput(text, code="invalid_tensor", field=where) from None


def _split(data: memoryview) -> tuple[bytes, list[memoryview]]:
    """The message without its raw tensors, and views of these: the runtime would copy them twice."""
    kept: list[memoryview] = []
    raw: list[memoryview] = []
    at, since, end = 0, 0, len(data)
    while at < end:
        tag, start = _read_varint(data, at)
        kind = tag & 7
        if kind == _SIZED:
            size, start = _read_varint(data, start)
            after = start + size
        elif kind == _VARINT:
            after = _read_varint(data, start)[1]
        elif kind in (_FIXED64, _FIXED32):
            after = start + (8 if kind == _FIXED64 else 4)
        else:
            raise _damaged()
        if after > end:
            raise _damaged()
        if tag == _RAW_INPUT:
            raw.append(data[start:after])
            kept.append(data[since:at])
            since = after
        at = after
    kept.append(data[since:])
    return b"".join(kept), raw


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    found, shift = 0, 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, place + 1
        shift += 7
    raise _damaged()


def _damaged() -> InvalidInput:
    return InvalidInput("the message cannot be read: it is damaged or cut short", code="invalid_request")


def _varint(size: int) -> bytes:
    made = bytearray()
    while size >= 0x80:
        made.append(size & 0x7F | 0x80)
        size >>= 7
    made.append(size)
    return bytes(made)
