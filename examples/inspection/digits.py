"""The photos: scikit-learn's 1,797 handwritten digits, enlarged, standing in for the number stamped on a part.

They are read out of the pinned wheel that `sealift demo` uses too; scikit-learn itself is not installed. Source:
E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, CC BY 4.0.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sealift.demo.material import SKLEARN_WHEEL, default_cache, fetch_wheels, read_member

PHOTO_PX: Final = 64
SIZE_PX: Final = 32
LABELS: Final = tuple("0123456789")
TRAINING, CALIBRATION, EVALUATION = "training", "calibration", "evaluation"
COUNTS: Final = {CALIBRATION: 150, EVALUATION: 800}
"""What is left is trained on. No photo is in two parts."""
_SEED: Final = 2026
_MEMBER: Final = "sklearn/datasets/data/digits.csv.gz"


@dataclass(frozen=True, slots=True)
class Photo:
    """A grey image of PHOTO_PX by PHOTO_PX, and the class it shows."""

    name: str
    image: Image.Image
    label: int


def read_photos() -> dict[str, list[Photo]]:
    """The parts, shuffled once with a fixed seed. Raises: HostError: the wheel cannot be had."""
    fetch_wheels(default_cache(), (SKLEARN_WHEEL,))
    text = gzip.decompress(read_member(default_cache(), SKLEARN_WHEEL, _MEMBER)).decode()
    rows = np.array([line.split(",") for line in text.splitlines()], np.float64).astype(np.int64)
    photos = [_photo(number, row) for number, row in enumerate(rows)]
    order = np.random.default_rng(_SEED).permutation(len(photos))
    shuffled = [photos[number] for number in order]
    parts, start = {}, 0
    for part, count in COUNTS.items():
        parts[part] = shuffled[start : start + count]
        start += count
    return {**parts, TRAINING: shuffled[start:]}


def _photo(number: int, row: NDArray[np.int64]) -> Photo:
    """64 values of 0 to 16, then the class. Dark on light, as ink is."""
    pixels = (255 - row[:64] * 255 // 16).astype(np.uint8).reshape(8, 8)
    image = Image.fromarray(pixels).resize((PHOTO_PX, PHOTO_PX), Image.Resampling.BICUBIC)
    return Photo(f"part-{number:04d}.png", image, int(row[64]))


def write_photos(photos: list[Photo], folder: Path, *, by_label: bool) -> None:
    """PNG files in `folder`, or in a folder a label."""
    for photo in photos:
        place = folder / LABELS[photo.label] if by_label else folder
        place.mkdir(parents=True, exist_ok=True)
        photo.image.save(place / photo.name)


def pixels_of(photos: list[Photo]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What `kind = "image"` makes of the files before it normalises them, 0 to 255: [photos, SIZE_PX, SIZE_PX, 1]."""
    small = [photo.image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR) for photo in photos]
    labels = np.array([photo.label for photo in photos], np.int64)
    return np.stack([np.asarray(each, np.float32) for each in small])[..., None], labels
