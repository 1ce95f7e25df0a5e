"""The fixed views: 26 labelled photos -> cut-outs that are mirrored, brightened and the same on every machine.

Six photos of scikit-image and scikit-learn (`sealift.demo.material` fetches them) and foolbox's twenty, each with its
ImageNet class. View k of a seed is of photo k % 26; calibration and evaluation have seeds of their own. A view is
256 x 256, so the model's preprocessing only cuts 224 x 224 out of its middle.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from sealift.demo.material import default_cache, fetch_wheels, read_material

CALIBRATION_SEED: Final = 11
EVALUATION_SEED: Final = 12
MEMORY_SEED: Final = 13
SIDE: Final = 256
_LABELS: Final = {
    "chelsea.png": 282, "china.jpg": 698, "coffee.png": 967, "flower.jpg": 985, "motorcycle.png": 665,
    "rocket.jpg": 657,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Photo:
    """A whole photo in RGB and the number of its ImageNet class."""

    name: str
    label: int
    image: Image.Image


def photos() -> list[Photo]:
    """All 26, in a fixed order. Raises: SystemExit: foolbox is not installed; HostError: no network."""
    fetch_wheels(default_cache())
    material = read_material(default_cache())
    own = [
        Photo(Path(name).stem, label, Image.open(io.BytesIO(material.photos[name])).convert("RGB"))
        for name, label in _LABELS.items()
    ]
    try:
        folder = Path(str(distribution("foolbox").locate_file("foolbox/data")))
    except PackageNotFoundError:
        raise SystemExit(
            "foolbox is not installed, and its photos are used: pip install -r constraints/dev.txt"
        ) from None
    paths = sorted(folder.glob("imagenet_*.*"))
    return own + [
        Photo(path.stem, int(path.stem.split("_")[2]), Image.open(path).convert("RGB")) for path in paths
    ]


def view(photo: Image.Image, seed: int, number: int) -> Image.Image:
    """A square of half the photo's shorter side or more, mirrored or not, at 0.8 to 1.25 of its brightness."""
    draw = np.random.default_rng([seed, number])
    side = min(photo.size) * draw.uniform(0.5, 1)
    left, top = (draw.uniform(0, length - side) for length in photo.size)
    box = (int(left), int(top), int(left + side), int(top + side))
    square = photo.crop(box).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if draw.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain = 2 ** draw.uniform(-0.32, 0.32)
    return Image.fromarray(np.clip(np.asarray(square, np.float32) * gain, 0, 255).astype(np.uint8))


def views(given: Sequence[Photo], seed: int, count: int) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of the first `count`, made one at a time."""
    for number in range(count):
        photo = given[number % len(given)]
        yield f"{number:04}-{photo.name}", view(photo.image, seed, number)


def write_views(folder: Path, given: Sequence[Photo], seed: int, count: int) -> None:
    """`count` PNG files without labels, as clients would send them."""
    folder.mkdir(parents=True)
    for name, picture in views(given, seed, count):
        picture.save(folder / f"{name}.png", compress_level=1)


def write_photos(folder: Path, given: Sequence[Photo]) -> None:
    """The photos themselves, whole: one folder a class."""
    for photo in given:
        place = folder / str(photo.label)
        place.mkdir(parents=True, exist_ok=True)
        photo.image.save(place / f"{photo.name}.png", compress_level=1)
