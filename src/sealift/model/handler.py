"""The engineer's own `preprocess` and `postprocess`, called with what they ask for and checked after."""

from __future__ import annotations

import inspect
import io
import logging
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from sealift.errors import InvalidInput, ModelFailed, RequestError
from sealift.model.arrays import Arrays, JsonValue, Prepared, did_you_mean
from sealift.model.datatypes import NUMPY_OF
from sealift.model.handler_load import Function, failure_text
from sealift.model.image import photo_bytes
from sealift.model.nested import json_from_array
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tensors import check_shapes, contiguous, describe

_LOG = logging.getLogger("sealift.handler")

Wish = Literal["stream", "bytes", "body"]
"""What the first parameter asks for: a BytesIO, bytes, or the body as it came."""

_STREAMS: Final = (io.BytesIO, typing.BinaryIO, typing.IO[bytes], io.BufferedIOBase, io.RawIOBase)
_STREAM_WORDS: Final = frozenset({"BytesIO", "BinaryIO", "IO[bytes]", "BufferedIOBase", "RawIOBase"})


def first_parameter(function: Function) -> Wish:
    """Read the annotation of the first parameter, string annotations included."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "body"
    annotation = parameters[0].annotation if parameters else inspect.Parameter.empty
    if isinstance(annotation, str):
        words = annotation.replace(" ", "").strip("'\"")
        last = words if "[" in words and "." not in words else words.rpartition(".")[2]
        return "stream" if last in _STREAM_WORDS else "bytes" if words == "bytes" else "body"
    if annotation in _STREAMS:
        return "stream"
    return "bytes" if annotation is bytes else "body"


class HandlerPreparation:
    """Calls `preprocess` and fits what it returns to the signature.

    Safe from several threads at once as far as the handler is.

    Args:
        is_image: `[model.input] kind = "image"`: JSON bodies carry the photo as `{"image": base64}`.
    """

    def __init__(self, preprocess: Function, signature: Signature, folder: Path, is_image: bool) -> None:
        self._preprocess = preprocess
        self._signature = signature
        self._folder = folder
        self._wish = first_parameter(preprocess)
        self._decodes = is_image or self._wish != "body"

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """One item.

        Raises:
            InvalidInput: the body is not what the handler's annotation asks for, or it raised ValueError
                (`handler_refused`).
            ModelFailed: it raised anything else, or returned what the model cannot take (`handler_failed`).
        """
        body = photo_bytes(payload) if self._decodes else payload
        argument = io.BytesIO(body) if self._wish == "stream" and isinstance(body, bytes) else body
        result = call(self._preprocess, argument, self._folder)
        try:
            given = _by_name(result, self._signature)
            arrays, added = self._fitted(given)
            check_shapes(self._signature, arrays)
        except (ValueError, InvalidInput) as error:
            text = f"preprocess returned something the model cannot take: {error}"
            raise ModelFailed(text, code="handler_failed") from error
        return Prepared(contiguous(arrays), added)

    def _fitted(self, given: Mapping[str, Any]) -> tuple[Arrays, frozenset[Axis]]:
        arrays: Arrays = {}
        added: set[Axis] = set()
        for spec in self._signature.inputs:
            array = _cast(spec, _as_array(spec.name, given[spec.name], self._folder))
            first = spec.shape[0] if spec.shape else None
            if spec.shape is not None and (first == 1 or isinstance(first, str)):
                array = array[np.newaxis] if array.ndim == len(spec.shape) - 1 else array
                if array.ndim == len(spec.shape) and array.shape[0] == 1:
                    added.add(spec.shape[0])
            arrays[spec.name] = array
        return arrays, frozenset(added)


class HandlerAnswer:
    """Calls `postprocess`; a dict with the key `prediction` is the answer, anything else is wrapped."""

    def __init__(self, postprocess: Function, folder: Path) -> None:
        self._postprocess = postprocess
        self._folder = folder

    def __call__(self, outputs: Arrays, prepared: Prepared) -> dict[str, Any]:  # noqa: ARG002  as every answer
        """Raises: InvalidInput, ModelFailed: as `HandlerPreparation`, or the value is not JSON."""
        result = call(self._postprocess, dict(outputs), self._folder)
        try:
            value = msgspec.json.decode(msgspec.json.encode(result, enc_hook=_builtin))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            text = f"postprocess returned {type(result).__name__} that is not JSON: {error}"
            raise ModelFailed(text, code="handler_failed") from error
        return value if isinstance(value, dict) and "prediction" in value else {"prediction": value}


def call(function: Function, argument: Any, folder: Path) -> Any:
    """Call foreign code and turn what it raises into what a client may see.

    Raises: InvalidInput: ValueError, or a photo that Pillow does not know. ModelFailed: anything else.
    """
    try:
        return function(argument)
    except RequestError:
        raise
    except UnidentifiedImageError as error:
        raise InvalidInput("image: not a photo in a known format", code="invalid_image") from error
    except ValueError as error:
        raise InvalidInput(str(error) or type(error).__name__, code="handler_refused") from error
    except Exception as error:  # the edge to foreign code: anything can come out of it
        _LOG.exception("%s failed", getattr(function, "__name__", "handler"))
        text = f"the handler failed: {failure_text(error, folder)}"
        raise ModelFailed(text, code="handler_failed") from error


def _by_name(result: Any, signature: Signature) -> Mapping[str, Any]:
    """Raises: ValueError: names or number do not match the model's inputs."""
    names = [spec.name for spec in signature.inputs]
    if isinstance(result, Mapping):
        unknown = [f"{name!r}{did_you_mean(str(name), names)}" for name in result if name not in names]
        missing = [repr(name) for name in names if name not in result]
        if unknown or missing:
            parts = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"no {', '.join(missing)}"] * bool(
                missing
            )
            raise ValueError(f"a dict with {' and '.join(parts)}; the inputs are {', '.join(names)}")
        return result
    if isinstance(result, tuple) or (isinstance(result, list) and len(names) > 1):
        if len(result) != len(names):
            raise ValueError(f"{len(result)} values for {len(names)} inputs ({', '.join(names)})")
        return dict(zip(names, result, strict=True))
    if len(names) != 1:
        raise ValueError(
            f"{type(result).__name__} for {len(names)} inputs ({', '.join(names)}); return a dict"
        )
    return {names[0]: result}


def _as_array(name: str, value: Any, folder: Path) -> NDArray[Any]:
    """Raises: ValueError: no array can be made of it (a ragged list, None, a tensor on a GPU)."""
    if value is None:
        raise ValueError(f"None for {name!r}; is a return missing?")
    try:
        array = np.asarray(value)
    except Exception as error:  # __array__ of a foreign type, e.g. a tensor that requires grad
        raise ValueError(f"{type(value).__name__} for {name!r}: {failure_text(error, folder)}") from error
    return array


def _cast(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """The datatype of the input, where that loses nothing but precision.

    Raises: ValueError: float for an integer input, text for a number, or a number out of range.
    """
    wanted = NUMPY_OF[spec.datatype]
    if array.dtype == wanted and wanted.kind != "O":
        return array
    if wanted.kind == "O":
        return _strings(spec, array)
    whole = array.dtype.kind in "iu" and wanted.kind in "iu"
    if not whole and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise ValueError(f"{array.dtype} for {spec.name!r}, which is {describe(spec)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    lost = np.isfinite(array) & ~np.isfinite(cast) if wanted.kind == "f" else cast != array
    if lost.any():
        worst = array[lost].flat[0]
        raise ValueError(f"{worst} for {spec.name!r}, out of the range of {spec.datatype}")
    return cast


def _strings(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    texts = np.empty(array.shape, dtype=np.object_)
    for position, element in enumerate(array.flat):
        if isinstance(element, bytes):
            element = element.decode("utf-8")  # UnicodeDecodeError is a ValueError
        if not isinstance(element, str):
            raise ValueError(f"{type(element).__name__} for {spec.name!r}, which is {describe(spec)}")
        texts.flat[position] = str(element)
    return texts


def _builtin(value: Any) -> Any:
    """msgspec's hook for what it does not know: numpy values and anything with `__array__` or `item`."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "OV":
            return array.tolist()
        return json_from_array(array)
    raise TypeError(f"{type(value).__name__} has no JSON form")
