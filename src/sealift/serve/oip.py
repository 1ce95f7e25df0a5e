"""Open Inference Protocol v2, REST: an infer request to arrays, arrays to an infer answer.

Source: Open Inference Protocol v2 with the binary tensor data and classification extensions, as Triton
serves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.engine.protocol import Arrays
from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF, datatype_of
from sealift.model.declaration import ClassesOutput
from sealift.model.rows import chosen_output
from sealift.model.service import ServedModel
from sealift.model.signature import TensorSpec
from sealift.serve.http.message import BINARY, Buffer, Reply, encode_json
from sealift.serve.tensors import BF16, from_binary, from_json, from_list, to_binary, to_json

HEADER_LENGTH: Final = b"inference-header-content-length"

_NAME_OF: Final = {dtype: name for name, dtype in NUMPY_OF.items()}
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_MAX_KNOWN: Final = 1000


class _Input(msgspec.Struct):
    name: str
    shape: tuple[_Size, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _FloatInput(msgspec.Struct):
    name: str
    shape: tuple[_Size, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[float] | msgspec.UnsetType = msgspec.UNSET


class _Requested(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Requested] = []


class _FloatInfer(msgspec.Struct):
    inputs: list[_FloatInput]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Requested] = []


_Inputs = Sequence[_Input | _FloatInput]


class Described(Protocol):
    """What a request says about one of its inputs."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def datatype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


class Requested(Protocol):
    """What a request says about one of the outputs it wants."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> Mapping[str, Any]: ...  # noqa: D102


_decode: Final = msgspec.json.Decoder(_Infer).decode
_decode_floats: Final = msgspec.json.Decoder(_FloatInfer).decode


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One output to be sent; `classes` > 0 asks for that many `score:index:label` strings a row."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A checked request. `timeout_s` counts from its arrival; None: no deadline."""

    id: str
    arrays: Arrays
    outputs: tuple[WantedOutput, ...]
    timeout_s: float | None


class OipModel:
    """The protocol's face of one model; stateless, safe from several threads."""

    def __init__(self, model: ServedModel, version: str) -> None:
        self.model = model
        self.version = version
        self._inputs = {spec.name: spec for spec in model.signature.inputs}
        self._outputs = {spec.name: spec for spec in model.signature.outputs}
        self._all_floats = all(spec.datatype.startswith("FP") for spec in model.signature.inputs)
        self._known_to_fit: set[tuple[tuple[str, str, tuple[int, ...]], ...]] = set()
        self._all_json = tuple(WantedOutput(name, False) for name in self._outputs)
        self._all_binary = tuple(WantedOutput(name, True) for name in self._outputs)

    def parse(self, body: bytes, header_length: bytes | None) -> InferRequest:
        """Read an infer request; all problems with its inputs are named at once.

        Raises: InvalidInput: anything that the protocol or the model's signature does not allow.
        """
        json_size = self._json_size(body, header_length)
        request = self._read(memoryview(body)[:json_size] if header_length is not None else body)
        self.check(request.inputs)
        tail = None if header_length is None else memoryview(body)[json_size:]
        arrays = _read_tensors(request.inputs, tail)
        parameters = request.parameters
        if parameters:
            refuse_foreign(parameters, "parameters")
        binary = bool(parameters.get("binary_data_output", False))
        return InferRequest(
            request.id, arrays, self.wanted(request.outputs, binary=binary), timeout_s(parameters)
        )

    def check(self, inputs: Sequence[Described]) -> None:
        """Hold what inputs are said to be against the signature.

        Raises: InvalidInput: names all that does not fit.
        """
        shapes = tuple([(given.name, given.datatype, given.shape) for given in inputs])
        if shapes not in self._known_to_fit:
            self._check_inputs(inputs)
            if len(self._known_to_fit) >= _MAX_KNOWN:
                self._known_to_fit.clear()
            self._known_to_fit.add(shapes)

    def _read(self, text: bytes | memoryview) -> _Infer | _FloatInfer:
        if self._all_floats:
            try:
                return _decode_floats(text)  # flat data in one pass; nested data takes the longer way
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                pass
        try:
            return _decode(text)
        except RecursionError:
            raise InvalidInput("the JSON is nested too deeply", code="invalid_json") from None
        except msgspec.ValidationError as error:
            raise _invalid(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the request is not JSON: {error}", code="invalid_json") from None

    def render(self, request: InferRequest, outputs: Mapping[str, NDArray[Any]]) -> Reply:
        """The answer: JSON, or JSON and the raw tensors behind it where one was asked for in binary."""
        described: list[dict[str, Any]] = []
        tail: list[Buffer] = []
        for wanted in request.outputs:
            array, datatype = self.said(wanted, outputs)
            entry: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": array.shape}
            if wanted.binary:
                raw = to_binary(array)
                entry["parameters"] = {"binary_data_size": len(raw)}
                tail.append(raw)
            else:
                entry["data"] = to_json(array)
            described.append(entry)
        answer: dict[str, Any] = {"model_name": self.model.name, "model_version": self.version}
        if request.id:
            answer["id"] = request.id
        answer["outputs"] = described
        text = encode_json(answer)
        if not tail:
            return Reply(200, text)
        length = (("Inference-Header-Content-Length", str(len(text))),)
        return Reply(200, (text, *tail), BINARY, length)

    def said(self, wanted: WantedOutput, outputs: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], str]:
        """An output as it is sent, classified where that was asked for, and its datatype."""
        array = np.asarray(outputs[wanted.name])
        if wanted.classes:
            array = classify(array, wanted.classes, self._labels(wanted.name))
        return array, _NAME_OF.get(array.dtype) or datatype_of(array.dtype)

    def _json_size(self, body: bytes, header_length: bytes | None) -> int:
        if header_length is None:
            return len(body)
        if not header_length.isdigit() or len(header_length) > 12 or int(header_length) > len(body):
            raise InvalidInput(
                f"Inference-Header-Content-Length: expected 0 to {len(body)}, the size of the body, "
                f"got {header_length.decode('latin-1')!r}",
                code="invalid_header",
            )
        return int(header_length)

    def _check_inputs(self, inputs: Sequence[Described]) -> None:
        problems: list[tuple[str, str]] = []
        sizes: dict[str, tuple[int, str]] = {}
        seen: set[str] = set()
        for given in inputs:
            spec = self._inputs.get(given.name)
            if spec is None:
                problems.append((given.name, f"no such input; the model takes {', '.join(self._inputs)}"))
            elif given.name in seen:
                problems.append((given.name, "given more than once"))
            else:
                seen.add(given.name)
                problems += [(given.name, text) for text in _mismatches(given, spec, sizes)]
        problems += [(name, "missing") for name in self._inputs if name not in seen]
        if problems:
            text = "; ".join(f"{name}: {what}" for name, what in problems)
            raise InvalidInput(text, code="invalid_input", field=problems[0][0])

    def wanted(self, requested: Sequence[Requested], *, binary: bool) -> tuple[WantedOutput, ...]:
        """The outputs to be sent, all where none is named; `binary` where they do not say.

        Raises: InvalidInput: there is no such output, or it cannot be had like that.
        """
        if not requested:
            return self._all_binary if binary else self._all_json
        wanted: dict[str, WantedOutput] = {}
        for output in requested:
            name, parameters = output.name, output.parameters
            if name not in self._outputs or name in wanted:
                text = (
                    "requested twice"
                    if name in wanted
                    else f"no such output; there are {', '.join(self._outputs)}"
                )
                raise InvalidInput(f"{name}: {text}", code="invalid_output", field=name)
            refuse_foreign(parameters, name)
            classes = parameters.get("classification", 0)
            if (
                type(classes) is not int
                or classes < 0
                or (classes and self._outputs[name].datatype == "BYTES")
            ):
                text = "classification: expected how many classes (1 or more) of a numeric output"
                raise InvalidInput(f"{name}: {text}, got {classes!r}", code="invalid_output", field=name)
            wanted[name] = WantedOutput(name, bool(parameters.get("binary_data", binary)), classes)
        return tuple(wanted.values())

    def _labels(self, output: str) -> tuple[str, ...]:
        declared = self.model.output
        if isinstance(declared, ClassesOutput) and declared.labels:
            chosen = chosen_output(declared, self.model.signature)
            if chosen is not None and chosen.name == output:
                return declared.labels
        return self._outputs[output].labels


def classify(array: NDArray[Any], classes: int, labels: tuple[str, ...]) -> NDArray[Any]:
    """The top `classes` of each row as `score:index[:label]`, best first; shape (rows, classes) or (classes,)."""
    rows = array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(1, -1)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :classes]
    texts = np.empty(best.shape, dtype=np.object_)
    for (row, rank), index in np.ndenumerate(best):
        score = rows[row, index]
        text = f"{score:f}" if array.dtype.kind == "f" else str(int(score))
        label = f":{labels[index]}" if index < len(labels) else ""
        texts[row, rank] = f"{text}:{index}{label}"
    return texts if array.ndim > 1 else texts.reshape(-1)


def _mismatches(given: Described, spec: TensorSpec, sizes: dict[str, tuple[int, str]]) -> list[str]:
    """What is wrong with an input's datatype and shape; `sizes` holds the open axes seen so far.

    BF16 fits where FP32 is expected: every value of it is one of FP32, and that is what pack makes of such an edge.
    """
    found: list[str] = []
    if given.datatype != spec.datatype and (given.datatype, spec.datatype) != (BF16, "FP32"):
        known = "" if given.datatype in NUMPY_OF else ", which is no datatype here"
        found.append(f"expected datatype {spec.datatype}, got {given.datatype}{known}")
    if spec.shape is None:
        return found
    expected = f"expected shape {_shape_text(spec)}, got {list(given.shape)}"
    if len(given.shape) != len(spec.shape):
        return [*found, expected]
    for axis, size in zip(spec.shape, given.shape, strict=True):
        if isinstance(axis, int):
            if axis != size:
                return [*found, expected]
        elif axis != "?":
            before, other = sizes.setdefault(axis, (size, given.name))
            if before != size:
                found.append(f"axis {axis} is {size} here and {before} in {other}")
    return found


def _shape_text(spec: TensorSpec) -> str:
    return "[" + ", ".join(str(axis) for axis in spec.shape or ()) + "]"


def _read_tensors(inputs: _Inputs, tail: memoryview | None) -> Arrays:
    arrays: Arrays = {}
    at = 0
    for number, given in enumerate(inputs):
        field = given.name
        size = None
        if given.parameters:
            refuse_foreign(given.parameters, field)
            size = given.parameters.get("binary_data_size")
        if size is None:
            arrays[field] = _json_tensor(given, f"inputs[{number}].data")
            continue
        if tail is None:
            text = "binary_data_size needs the header Inference-Header-Content-Length"
            raise InvalidInput(f"{field}: {text}", code="invalid_tensor", field=field)
        if type(size) is not int or not 0 <= size <= len(tail) - at:
            text = (
                f"binary_data_size: expected 0 to {len(tail) - at}, the bytes left in the body, got {size!r}"
            )
            raise InvalidInput(f"{field}: {text}", code="invalid_tensor", field=field)
        arrays[field] = from_binary(tail[at : at + size], given.datatype, given.shape, field)
        at += size
    if tail is not None and at != len(tail):
        text = f"{len(tail) - at} bytes behind the JSON belong to no input"
        raise InvalidInput(text, code="invalid_tensor")
    return arrays


def _json_tensor(given: _Input | _FloatInput, where: str) -> NDArray[Any]:
    data = given.data
    if given.datatype == BF16:
        text = "BF16 has no JSON form; send it as binary data"
        raise InvalidInput(f"{given.name}: {text}", code="invalid_tensor", field=given.name)
    if data is msgspec.UNSET:
        raise InvalidInput(f"{given.name}: data is missing", code="invalid_tensor", field=given.name)
    if isinstance(data, list):
        return from_list(data, given.datatype, given.shape, where)
    return from_json(memoryview(data), given.datatype, given.shape, where)


def refuse_foreign(parameters: Mapping[str, Any], field: str) -> None:
    """Refuse what a request may ask for and no release does. Raises: InvalidInput."""
    if any(name.startswith("shared_memory_") for name in parameters):
        text = "shared memory is not offered: a release reads nothing but the request; send the data in it"
        raise InvalidInput(f"{field}: {text}", code="unsupported", field=field)
    if parameters.get("sequence_id") not in (None, 0, ""):
        text = "sequence_id: no state is kept between requests; pass a model's state as tensors"
        raise InvalidInput(f"{field}: {text}", code="unsupported", field="sequence_id")


def timeout_s(parameters: Mapping[str, Any]) -> float | None:
    """The `timeout` of a request in seconds; None: no deadline. Raises: InvalidInput: it is no number of them."""
    if not parameters:
        return None
    timeout = parameters.get("timeout")
    if timeout in (None, 0):
        return None
    if type(timeout) is not int or timeout < 0:
        text = f"timeout: expected microseconds as a whole number, got {timeout!r}"
        raise InvalidInput(text, code="invalid_parameter", field="timeout")
    return timeout / 1e6


def _invalid(error: msgspec.ValidationError) -> InvalidInput:
    text, _, path = str(error).replace("`", "").partition(" - at $")
    field = path.lstrip(".") or None
    return InvalidInput(f"{field}: {text}" if field else text, code="invalid_request", field=field)
