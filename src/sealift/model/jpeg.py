"""JPEG bytes -> the declared part of the photo, decoded no larger than the resize needs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sealift.model.declaration import ImageInput
from sealift.model.photo import orientation_of
from sealift.model.resample import resample, upright, upright_size, window_of

MARGIN: Final = 2.0
"""A smaller DCT is taken while at least this many decoded pixels a side remain for one of the result."""
_FACTORS: Final = (8, 4, 2)
"""Whose inverse transforms libjpeg-turbo has vector code for; 6/8 decodes slower than the whole."""
_COLOURS: Final = {"RGB": "RGB", "L": "GRAY"}


def jpeg_pixels(opened: Image.Image, data: bytes, declared: ImageInput) -> NDArray[np.uint8] | None:
    """The photo upright, scaled, cropped and in the declared colours, as [height, width] or [height, width, 3].

    libjpeg-turbo's accurate integer DCT and its upsampling give the same bytes with and without vector
    instructions, so the result does not depend on the processor.

    Args:
        opened: `data` with its header read, its size accepted.
    Returns: None for what takes the reference way: no JPEG, four colours, nearest neighbours, or a file that
        libjpeg-turbo finds fault with.
    Raises: InvalidInput: too narrow to scale.
    """
    if (
        opened.format not in ("JPEG", "MPO")
        or opened.mode not in _COLOURS
        or declared.interpolation == "nearest"
    ):
        return None
    orientation = orientation_of(opened)
    size = upright_size(opened.size, orientation)
    window = window_of(size, declared).as_stored(size, orientation)
    factor = next((factor for factor in _FACTORS if window.reduction >= MARGIN * factor), 1)
    pixels = _decoded(data, opened.size, _COLOURS[opened.mode], factor)
    if pixels is None:
        return None
    seen = upright(resample(pixels, window.scaled_down(factor), declared.interpolation), orientation)
    return _coloured(seen, declared.channels == "GRAY")


def _decoded(data: bytes, size: tuple[int, int], colours: str, factor: int) -> NDArray[np.uint8] | None:
    """[height, width] or [height, width, 3], each side divided by `factor` and rounded up."""
    import simplejpeg

    width, height = (-(-side // factor) for side in size)
    try:
        if simplejpeg.decode_jpeg_header(data)[:2] != (size[1], size[0]):
            return None  # the size that was accepted is Pillow's reading of the file
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data,
            colours,
            fastdct=False,
            fastupsample=False,
            min_width=width if factor > 1 else 0,
            min_height=height if factor > 1 else 0,
        )
    except ValueError:  # damaged, arithmetic, 12 bits, ...: Pillow shall say what is wrong, or read it
        return None
    return pixels[:, :, 0] if colours == "GRAY" else pixels


def _coloured(pixels: NDArray[np.uint8], is_grey: bool) -> NDArray[np.uint8]:
    if pixels.ndim == 2:
        return pixels if is_grey else np.broadcast_to(pixels[:, :, np.newaxis], (*pixels.shape, 3))
    return np.asarray(Image.fromarray(pixels).convert("L")) if is_grey else pixels
