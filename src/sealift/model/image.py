"""Photo bytes -> the image tensor of the model."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.errors import InvalidInput
from sealift.model.arrays import JsonValue, Prepared, shown
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import ImageInput
from sealift.model.jpeg import jpeg_pixels
from sealift.model.photo import MAX_PIXELS, opened_photo, upright_photo
from sealift.model.resample import fit
from sealift.model.signature import Axis, TensorSpec

_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,200},", re.ASCII)


class _PhotoBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    image: bytes


_photo_body: Final = msgspec.json.Decoder(_PhotoBody).decode


class ImagePreparation:
    """Decode, orient, scale, crop, normalise; safe from several threads at once.

    `decode = "exact"` is Pillow's result to the bit. `"fast"` differs for JPEG alone, by the amounts that
    docs/reference/project-file.md states.

    Args:
        declared: sizes and normalisation; must have passed `agreement.image_problems`.
        spec: the model's only input.
        max_pixels: width times height of the photo as sent.
    """

    def __init__(self, declared: ImageInput, spec: TensorSpec, max_pixels: int = MAX_PIXELS) -> None:
        self._declared = declared
        self._max_pixels = max_pixels
        self._name = spec.name
        self._normalisation = _Normalisation(declared, NUMPY_OF[spec.datatype])
        self._shape, self._added = _tensor_shape(declared, spec)

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """One photo (raw bytes, or `{"image": base64}`) -> the tensor, with a leading 1 if the model has it.

        Raises:
            InvalidInput: no photo in the body, or one that does not decode (`invalid_image`).
            TooLarge: more than `max_pixels`.
        """
        return self.from_pixels(photo_pixels(photo_bytes(payload), self._declared, self._max_pixels))

    def from_pixels(self, pixels: NDArray[np.uint8]) -> Prepared:
        """What `photo_pixels` gave for these sizes and colours -> the tensor."""
        return Prepared({self._name: self._normalisation(pixels).reshape(self._shape)}, self._added)


def photo_pixels(data: bytes, declared: ImageInput, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The photo upright, scaled and cropped as declared: [height, width] for `GRAY`, else [height, width, 3]
    in the order red, green, blue.

    Raises: InvalidInput (`invalid_image`), TooLarge.
    """
    with opened_photo(data, max_pixels) as opened:
        if declared.decode == "fast":
            pixels = jpeg_pixels(opened, data, declared)
            if pixels is not None:
                return pixels
        photo = upright_photo(opened, declared.channels)
    return fit(photo, declared)


class _Normalisation:
    """`(x - mean) / std` in the precision of the tensor (FP16: in single), as training code computes it."""

    def __init__(self, declared: ImageInput, dtype: np.dtype[Any]) -> None:
        self._declared = declared
        self._dtype = dtype
        self._work = np.dtype(np.float32) if dtype == np.float16 else dtype
        self._mean = _per_pixel(declared, declared.mean, self._work)
        self._std = _per_pixel(declared, declared.std, self._work)
        self._is_plain = not self._mean.any() and bool((self._std == 1).all())

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """[height, width, ...] pixels -> a new C-contiguous array of the declared layout."""
        height, width = self._declared.size
        planes: NDArray[np.uint8] = pixels.reshape(height, width, -1)
        if self._declared.channels == "BGR":
            planes = planes[:, :, ::-1]
        rows = planes.transpose(2, 0, 1) if self._declared.layout == "NCHW" else planes.reshape(height, -1)
        tensor = np.empty(rows.shape, self._work)
        if self._is_plain:
            np.copyto(tensor, rows)
        else:
            np.subtract(rows, self._mean, out=tensor, dtype=self._work)
            np.divide(tensor, self._std, out=tensor)
        return tensor.astype(self._dtype, copy=False)


def _per_pixel(declared: ImageInput, values: tuple[float, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """One value a channel, shaped to meet [channels, height, width], or rows of [width * channels]."""
    channels = 1 if declared.channels == "GRAY" else 3
    spread = np.broadcast_to(np.array(values, dtype), (channels,))
    if declared.layout == "NCHW":
        return spread[:, np.newaxis, np.newaxis]
    return np.tile(spread, declared.size[1])


def _tensor_shape(declared: ImageInput, spec: TensorSpec) -> tuple[tuple[int, ...], frozenset[Axis]]:
    """The shape of the input tensor, and the leading axis that stands for the item, if there is one."""
    height, width = declared.size
    channels = 1 if declared.channels == "GRAY" else 3
    image = (channels, height, width) if declared.layout == "NCHW" else (height, width, channels)
    axes = spec.shape
    if axes is None or len(axes) == 4:
        return (1, *image), frozenset({axes[0] if axes else "?"})
    if len(axes) == 3 and channels == 1 and isinstance(axes[0], str) and axes[2] != 1:
        return (1, height, width), frozenset({axes[0]})
    return (image if len(axes) == 3 else (height, width)), frozenset()


def photo_bytes(payload: bytes | JsonValue) -> bytes:
    """The photo's file content from a raw body or `{"image": base64}`; data URLs and whitespace pass.

    Raises: InvalidInput: another body, or text that is not base64.
    """
    if isinstance(payload, bytes):
        if not payload:
            raise InvalidInput("the body is empty; expected a photo", code="invalid_image")
        return payload
    expected = 'expected a photo as the raw body, or {"image": "<base64>"}'
    if not isinstance(payload, dict):
        raise InvalidInput(f"{expected}, got {shown(payload)}", code="invalid_body")
    if "image" not in payload:
        keys = ", ".join(map(shown, payload)) or "no fields"
        raise InvalidInput(f"{expected}, got {keys}", code="invalid_body", field="image")
    text = payload["image"]
    if not isinstance(text, str):
        raise InvalidInput(
            f"image: expected base64 text, got {shown(text)}", code="invalid_image", field="image"
        )
    return _from_base64(text)


def photo_in_json(body: bytes) -> bytes | None:
    """The photo of a body that is exactly `{"image": "<base64>"}`, decoded in one pass.

    Returns: None: anything else, well-formed or not; then decode the JSON and ask `photo_bytes`.
    """
    try:
        return _photo_body(body).image or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _from_base64(text: str) -> bytes:
    try:
        data: bytes = msgspec.convert(text, bytes)  # five times faster, and knows one dress only
    except msgspec.ValidationError:
        data = _from_loose_base64(text)
    if not data:
        raise InvalidInput("image: empty; expected base64 of a photo", code="invalid_image", field="image")
    return data


def _from_loose_base64(text: str) -> bytes:
    """Data URLs, white space, the URL-safe alphabet and missing padding pass."""
    head = _DATA_URL.match(text)
    content = "".join(text[head.end() if head else 0 :].split()).replace("-", "+").replace("_", "/")
    content = content.rstrip("=")
    try:
        return base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"image: not base64 ({error}), got {shown(text, 30)}", code="invalid_image", field="image"
        ) from error
