"""Decoded pixels -> the declared size: which part of the photo is seen, and its one resampling."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sealift.errors import InvalidInput
from sealift.model.declaration import ImageInput
from sealift.model.photo import MAX_PIXELS

RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SHRINKS: Final = 1.01
"""The least reduction that the vector resizer is given. Enlarging, it may read where no photo is: it leaves out
weights of zero, so that a later pixel's window can begin before the first one's (fast_image_resize 6.1:
17 x 9 pixels, box (8.25, 4.25, 9.25, 5.25), size 2 x 2, bicubic). When shrinking, windows only move on."""
_FILTERS: Final = {"bilinear": "bilinear", "bicubic": "catmull_rom", "lanczos": "lanczos3"}
"""Pillow's name -> the resizer's: both cubics are a = -0.5."""
_TURNS: Final = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""EXIF orientation -> (swap axes, then flip rows, then flip columns) to stand upright."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a photo that the model sees.

    `box`: left, top, right, bottom in pixels of the photo, fractions included. `size`: (width, height) that
    it is resampled to.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]

    @property
    def reduction(self) -> float:
        """Pixels of the photo for one of the result, along the axis that has fewer."""
        left, top, right, bottom = self.box
        return min((right - left) / self.size[0], (bottom - top) / self.size[1])

    def scaled_down(self, factor: int) -> Window:
        """The same part of the same photo with `factor` times fewer pixels a side."""
        left, top, right, bottom = (edge / factor for edge in self.box)
        return Window((left, top, right, bottom), self.size)

    def as_stored(self, size: tuple[int, int], orientation: int) -> Window:
        """The window on the pixels as they lie in the file.

        Args:
            size: (width, height) of the upright photo.
            orientation: EXIF, 1 to 8.
        """
        swap, flip_rows, flip_columns = _TURNS.get(orientation, (False, False, False))
        left, top, right, bottom = self.box
        if flip_columns:
            left, right = size[0] - right, size[0] - left
        if flip_rows:
            top, bottom = size[1] - bottom, size[1] - top
        if swap:
            return Window((top, left, bottom, right), (self.size[1], self.size[0]))
        return Window((left, top, right, bottom), self.size)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) as a person sees the photo."""
    return (size[1], size[0]) if orientation >= 5 else size


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of [height, width, ...] pixels, turned as the EXIF orientation says."""
    swap, flip_rows, flip_columns = _TURNS.get(orientation, (False, False, False))
    turned = pixels.swapaxes(0, 1) if swap else pixels
    return turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def scaled_size(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(width, height) with the shorter side at `shorter`, rounded as torchvision's Resize does.

    Raises: InvalidInput: the photo is so narrow that its longer side would blow up.
    """
    width, height = size
    short, long = sorted(size)
    longer = int(shorter * long / short)
    if shorter * longer > MAX_PIXELS:
        text = f"image: {width} x {height} pixels is too narrow to scale to {shorter}"
        raise InvalidInput(text, code="invalid_image", field="image")
    return (shorter, longer) if width <= height else (longer, shorter)


def window_of(size: tuple[int, int], declared: ImageInput) -> Window:
    """What the declaration keeps of an upright photo of `size` (width, height).

    Raises: InvalidInput: see `scaled_size`.
    """
    height, width = declared.size
    if declared.resize is None:
        return Window((0.0, 0.0, float(size[0]), float(size[1])), (width, height))
    scaled = scaled_size(size, declared.resize)
    left, top = _crop_corner(scaled, declared)
    across, down = size[0] / scaled[0], size[1] / scaled[1]
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    return Window(box, (width, height))


def fit(photo: Image.Image, declared: ImageInput) -> NDArray[np.uint8]:
    """The reference: scale with Pillow, then crop, with the rounding of torchvision's Resize and CenterCrop.

    Returns: [height, width] or [height, width, 3].
    """
    height, width = declared.size
    size = (width, height) if declared.resize is None else scaled_size(photo.size, declared.resize)
    if size != photo.size:
        photo = photo.resize(size, RESAMPLING[declared.interpolation])
    if declared.resize is not None:
        left, top = _crop_corner(photo.size, declared)
        photo = photo.crop((left, top, left + width, top + height))
    return np.asarray(photo)


def _crop_corner(scaled: tuple[int, int], declared: ImageInput) -> tuple[int, int]:
    height, width = declared.size
    return round((scaled[0] - width) / 2.0), round((scaled[1] - height) / 2.0)


def resample(pixels: NDArray[np.uint8], window: Window, interpolation: str) -> NDArray[np.uint8]:
    """One resampling of the window alone; within 2 of 255 of Pillow's resize and crop.

    A photo that shrinks is computed by cykooz.resizer with the vector instructions of the processor, to the
    same bytes on every processor; where it has no wheel (ARM), and for what grows, Pillow computes it.

    Args:
        pixels: [height, width] or [height, width, 3], C-contiguous.
        interpolation: a key of `RESAMPLING`, but not `nearest`.
    Returns: [height, width] or [height, width, 3] of the window's size.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = window.box
    box = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    if box == (0.0, 0.0, width, height) and window.size == (width, height):
        return pixels
    resizer = _vector_resizer() if Window(box, window.size).reduction >= SHRINKS else None
    if resizer is None:
        picture = Image.fromarray(pixels).resize(window.size, RESAMPLING[interpolation], box=box)
        return np.asarray(picture)
    kind = resizer.PixelType.U8 if pixels.ndim == 2 else resizer.PixelType.U8x3
    source = resizer.ImageData(width, height, kind, pixels.tobytes())
    result = resizer.ImageData(*window.size, kind)
    _own_resizer(resizer).resize(source, result, _options(resizer, box, interpolation))
    shape = (window.size[1], window.size[0], *pixels.shape[2:])
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(shape)


@cache
def _vector_resizer() -> ModuleType | None:
    try:
        import cykooz_resizer
    except ImportError:
        return None
    module: ModuleType = cykooz_resizer
    return module


_mine = threading.local()


def _own_resizer(module: ModuleType) -> Any:
    """One a thread: a resizer keeps its scratch memory, and refuses a second caller."""
    if not hasattr(_mine, "resizer"):
        _mine.resizer = module.Resizer()
    return _mine.resizer


def _options(module: ModuleType, box: tuple[float, float, float, float], interpolation: str) -> Any:
    options = module.ResizeOptions()
    options.resize_alg = module.ResizeAlg.convolution(getattr(module.FilterType, _FILTERS[interpolation]))
    options.crop_box = module.CropBox(box[0], box[1], box[2] - box[0], box[3] - box[1])
    return options
