"""Photo bytes -> an upright 8-bit picture, as Pillow reads it: the reference of every faster way."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sealift.errors import InvalidInput, TooLarge

MAX_PIXELS: Final = 50_000_000
"""Width times height above which a photo is refused before it is decoded."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM", "AVIF")
"""What is decoded. The list is closed: Pillow also opens formats that start other programs (EPS)."""

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


def decode_photo(data: bytes, channels: str = "RGB", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The photo upright, 8 bits a channel: mode L for `GRAY`, else RGB.

    Alpha is dropped and a palette looked up, as `Image.convert("RGB")` does in training code. 16-bit
    greyscale is scaled to 8 bits. Of several frames the first is taken.

    Raises: InvalidInput (`invalid_image`), TooLarge.
    """
    with opened_photo(data, max_pixels) as opened:
        return upright_photo(opened, channels)


@contextmanager
def opened_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The photo with its header read and its size accepted, its pixels not decoded yet.

    Raises: InvalidInput (`invalid_image`), TooLarge; also in place of what a decoder raises inside.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise _too_many_pixels(f"{width} x {height}", max_pixels)
            yield opened
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


def upright_photo(opened: Image.Image, channels: str) -> Image.Image:
    """Decode, turn as the EXIF orientation says, convert: see `decode_photo`."""
    opened.load()
    turned = ImageOps.exif_transpose(opened) if orientation_of(opened) != 1 else opened
    return _eight_bit(turned, "L" if channels == "GRAY" else "RGB", opened.format)


def orientation_of(opened: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (as it lies) where there is none or it is damaged."""
    try:
        value = opened.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODE_ERRORS:  # damaged EXIF says nothing about the pixels: take them as they lie
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _too_many_pixels(found: str, limit: int) -> TooLarge:
    return TooLarge(f"image: {found} pixels, the limit is {limit:,}", code="too_many_pixels", field="image")


def _eight_bit(photo: Image.Image, mode: str, file_format: str | None) -> Image.Image:
    if photo.mode == mode:
        return photo
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
