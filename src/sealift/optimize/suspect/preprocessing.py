"""Declared image input -> the likely other ways to prepare the same photos, each with what it does to top-1.

One session answers all of them; a photo is read and decoded once. All ways, the declared one too, scale by Pillow
(`decode = "exact"`), so that they differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sealift.engine.protocol import Session
from sealift.model.agreement import image_problems
from sealift.model.declaration import ImageInput
from sealift.model.image import ImagePreparation, photo_bytes
from sealift.model.photo import decode_photo
from sealift.model.resample import fit
from sealift.model.signature import TensorSpec
from sealift.optimize.data.item import Item

NORMALISATION, CHANNELS, LAYOUT = "normalisation", "channel order", "layout"
INTERPOLATION, RESIZE = "interpolation", "resize"

_SCALES: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "ImageNet's mean and std": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "values from 0 to 1": ((0.0,), (255.0,)),
    "values from -1 to 1": ((127.5,), (127.5,)),
    "(x - 127) / 128": ((127.0,), (128.0,)),
    "values from 0 to 255": ((0.0,), (1.0,)),
}
"""On the 0..255 scale, red first: torchvision's, most of Keras's, TensorFlow Lite's, and none."""
_GREY: Final = ("values from 0 to 1", "values from -1 to 1", "(x - 127) / 128", "values from 0 to 255")
_CROP: Final = 0.875
"""224 of 256: the part of the shorter side that ImageNet's evaluation keeps (torchvision, timm)."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to prepare a photo. `what` is the mistake it would correct, `words` say what is tried, `change` is
    what to write under [model.input]."""

    what: str
    words: str
    change: str
    declared: ImageInput


def other_ways(declared: ImageInput, spec: TensorSpec) -> tuple[Way, ...]:
    """All likely ones that differ from what is declared and make a tensor of the model's shape and datatype."""
    made = [*_scales(declared), *_channels(declared), *_layouts(declared), *_interpolations(declared)]
    made += _sizes(declared)
    return tuple(way for way in made if not any(image_problems(way.declared, spec)))


def hits_of(
    session: Session,
    spec: TensorSpec,
    ways: Sequence[ImageInput],
    items: Sequence[Item],
    is_right: Callable[[dict[str, NDArray[Any]], Item], bool],
) -> NDArray[np.bool_]:
    """[ways, items]: which way gets which photo right.

    Raises: InvalidInput, UsageError: a photo that cannot be read. ModelFailed: the engine's.
    """
    preparations = [ImagePreparation(way, spec) for way in ways]
    hits = np.zeros((len(ways), len(items)), np.bool_)
    for column, item in enumerate(items):
        pixels = _Pixels(item, ways[0])
        known: list[tuple[NDArray[Any], bool]] = []
        for row, (way, prepare) in enumerate(zip(ways, preparations, strict=True)):
            inputs = prepare.from_pixels(pixels.fitted(way)).inputs
            tensor = inputs[spec.name]
            same = next((right for other, right in known if _is_same(other, tensor)), None)
            hits[row, column] = is_right(session.run(inputs), item) if same is None else same
            known = known or [(tensor, bool(hits[row, column]))]
    return hits


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other))


class _Pixels:
    """A photo decoded once, and scaled once for each geometry."""

    def __init__(self, item: Item, declared: ImageInput) -> None:
        self._photo = decode_photo(photo_bytes(item.payload()), declared.channels)
        self._fitted: dict[tuple[object, ...], NDArray[np.uint8]] = {}

    def fitted(self, way: ImageInput) -> NDArray[np.uint8]:
        key = (way.size, way.resize, way.interpolation)
        if key not in self._fitted:
            self._fitted[key] = fit(self._photo, way)
        return self._fitted[key]


def _scales(declared: ImageInput) -> Iterator[Way]:
    for words, (mean, std) in _SCALES.items():
        if declared.channels == "GRAY" and words not in _GREY:
            continue
        if declared.channels == "BGR":
            mean, std = mean[::-1], std[::-1]
        if _spread(mean) == _spread(declared.mean) and _spread(std) == _spread(declared.std):
            continue
        change = f"mean = {_listed(mean, declared)}\nstd = {_listed(std, declared)}"
        yield Way(NORMALISATION, words, change, msgspec.structs.replace(declared, mean=mean, std=std))


def _spread(values: tuple[float, ...]) -> tuple[float, ...]:
    return values * 3 if len(values) == 1 else values


def _listed(values: tuple[float, ...], declared: ImageInput) -> str:
    shown = values if declared.channels == "GRAY" else _spread(values)
    return f"[{', '.join(f'{value:g}' for value in shown)}]"


def _channels(declared: ImageInput) -> Iterator[Way]:
    """Mean and std belong to their colours and change places with them."""
    if declared.channels == "GRAY":
        return
    order = "BGR" if declared.channels == "RGB" else "RGB"
    mean, std = declared.mean[::-1], declared.std[::-1]
    change = f'channels = "{order}"'
    if mean != declared.mean or std != declared.std:
        change += f"\nmean = {_listed(mean, declared)}\nstd = {_listed(std, declared)}"
    yield Way(CHANNELS, order, change, msgspec.structs.replace(declared, channels=order, mean=mean, std=std))


def _layouts(declared: ImageInput) -> Iterator[Way]:
    layout = "NHWC" if declared.layout == "NCHW" else "NCHW"
    yield Way(LAYOUT, layout, f'layout = "{layout}"', msgspec.structs.replace(declared, layout=layout))


def _interpolations(declared: ImageInput) -> Iterator[Way]:
    for name in ("nearest", "bilinear", "bicubic", "lanczos"):
        if name != declared.interpolation:
            other = msgspec.structs.replace(declared, interpolation=name)
            yield Way(INTERPOLATION, name, f'interpolation = "{name}"', other)


def _sizes(declared: ImageInput) -> Iterator[Way]:
    longer = max(declared.size)
    for resize in (round(longer / _CROP), longer, None):
        if resize == declared.resize:
            continue
        words = "straight to the size" if resize is None else f"shorter side to {resize}, then the centre"
        change = "# without resize" if resize is None else f"resize = {resize}"
        yield Way(RESIZE, words, change, msgspec.structs.replace(declared, resize=resize))
