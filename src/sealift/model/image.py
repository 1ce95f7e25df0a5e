"""Photo bytes -> the image tensor of the model."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sealift.errors import InvalidInput, TooLarge
from sealift.model.arrays import JsonValue, Prepared, shown
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import ImageInput
from sealift.model.signature import Axis, TensorSpec

MAX_PIXELS: Final = 50_000_000
"""Width times height above which a photo is refused before it is decoded."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM", "AVIF")
"""What is decoded. The list is closed: Pillow also opens formats that start other programs (EPS)."""

_RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,200},", re.ASCII)
_DECODE_ERRORS: Final = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,
    EOFError,
    struct.error,
)
"""What Pillow's plug-ins raise on damaged files (PNG: SyntaxError; TIFF: KeyError, struct.error, ...)."""


class ImagePreparation:
    """Decode, orient, scale, crop, normalise; safe from several threads at once.

    Args:
        declared: sizes and normalisation; must have passed `agreement.image_problems`.
        spec: the model's only input.
        max_pixels: width times height of the photo as sent.
    """

    def __init__(self, declared: ImageInput, spec: TensorSpec, max_pixels: int = MAX_PIXELS) -> None:
        self._declared = declared
        self._max_pixels = max_pixels
        self._name = spec.name
        self._tables = _normalisation_tables(declared, NUMPY_OF[spec.datatype])
        self._shape, self._added = _tensor_shape(declared, spec)

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """One photo (raw bytes, or `{"image": base64}`) -> the tensor, with a leading 1 if the model has it.

        Raises:
            InvalidInput: no photo in the body, or one that does not decode (`invalid_image`).
            TooLarge: more than `max_pixels`.
        """
        photo = decode_photo(photo_bytes(payload), self._declared.channels, self._max_pixels)
        pixels = np.asarray(_fit(photo, self._declared))
        return Prepared({self._name: self._normalised(pixels)}, self._added)

    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        height, width = self._declared.size
        planes = pixels.reshape(height, width, -1)
        if self._declared.channels == "BGR":
            planes = planes[:, :, ::-1]
        count = planes.shape[2]
        if self._declared.layout == "NCHW":
            tensor = np.empty((count, height, width), dtype=self._tables.dtype)
            for channel in range(count):
                np.take(self._tables[channel], planes[:, :, channel], out=tensor[channel])
        else:
            tensor = np.empty((height, width, count), dtype=self._tables.dtype)
            for channel in range(count):
                tensor[:, :, channel] = self._tables[channel][planes[:, :, channel]]
        return tensor.reshape(self._shape)


def _normalisation_tables(declared: ImageInput, dtype: np.dtype[Any]) -> NDArray[Any]:
    """[channels, 256]: pixel value -> tensor value, computed in double once instead of per pixel."""
    channels = 1 if declared.channels == "GRAY" else 3
    mean = np.broadcast_to(np.array(declared.mean, dtype=np.float64), (channels,))[:, np.newaxis]
    std = np.broadcast_to(np.array(declared.std, dtype=np.float64), (channels,))[:, np.newaxis]
    return ((np.arange(256.0)[np.newaxis] - mean) / std).astype(dtype)


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


def _from_base64(text: str) -> bytes:
    head = _DATA_URL.match(text)
    content = "".join(text[head.end() if head else 0 :].split()).replace("-", "+").replace("_", "/")
    content = content.rstrip("=")
    try:
        data = base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"image: not base64 ({error}), got {shown(text, 30)}", code="invalid_image", field="image"
        ) from error
    if not data:
        raise InvalidInput("image: empty; expected base64 of a photo", code="invalid_image", field="image")
    return data


def decode_photo(data: bytes, channels: str = "RGB", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The photo upright, 8 bits a channel: mode L for `GRAY`, else RGB.

    Alpha is dropped and a palette looked up, as `Image.convert("RGB")` does in training code. 16-bit
    greyscale is scaled to 8 bits. Of several frames the first is taken.

    Raises: InvalidInput (`invalid_image`), TooLarge.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise _too_many_pixels(f"{width} x {height}", max_pixels)
            opened.load()
            return _eight_bit(_upright(opened), "L" if channels == "GRAY" else "RGB", opened.format)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("far more", max_pixels) from error
    except UnidentifiedImageError as error:
        text = f"image: not a photo in a known format ({', '.join(FORMATS)})"
        raise InvalidInput(text, code="invalid_image", field="image") from error
    except MemoryError as error:
        raise _too_many_pixels("too much for this machine", max_pixels) from error
    except _DECODE_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"image: damaged or cut short ({reason})"
        raise InvalidInput(text, code="invalid_image", field="image") from error


def _too_many_pixels(found: str, limit: int) -> TooLarge:
    return TooLarge(f"image: {found} pixels, the limit is {limit:,}", code="too_many_pixels", field="image")


def _upright(photo: Image.Image) -> Image.Image:
    try:
        turned = photo.getexif().get(ExifTags.Base.Orientation, 1) not in (1, None)
        return ImageOps.exif_transpose(photo) if turned else photo
    except _DECODE_ERRORS:  # damaged EXIF says nothing about the pixels: take them as they lie
        return photo


def _eight_bit(photo: Image.Image, mode: str, file_format: str | None) -> Image.Image:
    if photo.mode == mode:
        return photo.copy()
    if photo.mode == "F" or (photo.mode == "I" and file_format not in ("PNG", "PPM")):
        raise ValueError(f"mode {photo.mode}: its values have no agreed range; send 8 or 16 bits a channel")
    if photo.mode.startswith("I"):
        values = np.asarray(photo).astype(np.float64)
        photo = Image.fromarray(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8))
    if photo.mode == "P" and "transparency" in photo.info:
        photo = photo.convert("RGBA")  # Pillow warns where a palette with transparency loses it unseen
    if photo.mode in ("La", "RGBa"):
        photo = photo.convert(photo.mode.upper())
    if photo.mode in ("CMYK", "LAB", "YCbCr", "HSV") and mode == "L":
        photo = photo.convert("RGB")
    return photo.convert(mode)


def _fit(photo: Image.Image, declared: ImageInput) -> Image.Image:
    """Scale and crop with the rounding of torchvision's Resize and CenterCrop."""
    height, width = declared.size
    resampling = _RESAMPLING[declared.interpolation]
    if declared.resize is None:
        return photo.resize((width, height), resampling) if photo.size != (width, height) else photo
    short, long = sorted(photo.size)
    scaled_long = int(declared.resize * long / short)
    scaled = (declared.resize, scaled_long) if photo.width <= photo.height else (scaled_long, declared.resize)
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise InvalidInput(
            f"image: {photo.width} x {photo.height} pixels is too narrow to scale to {declared.resize}",
            code="invalid_image",
            field="image",
        )
    if scaled != photo.size:
        photo = photo.resize(scaled, resampling)
    left = round((photo.width - width) / 2.0)
    top = round((photo.height - height) / 2.0)
    return photo.crop((left, top, left + width, top + height))
