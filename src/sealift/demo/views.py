"""The demo's photos -> views of them, which `sealift optimize` calibrates and measures on; and `[optimize]` itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from sealift.demo.project import writing

CALIBRATION: Final = 120
EVALUATION: Final = 240
CALIBRATION_SEED: Final = 1
EVALUATION_SEED: Final = 2
SECTION: Final = """\

[optimize]
candidates = ["int8-static"]
calibration = "data/calibration"
evaluation = "data/evaluation"
# Views of six photos, without labels: what counts is how often INT8 answers as the original does.
# 240 of them can prove 90 %, and not the default of 95; of new views that is, not of new subjects.
min_agreement = 0.9
"""
_LEAST_SIDE: Final = 0.9
_LEAST_GAIN, _MOST_GAIN = 0.9, 1.1
_QUALITY: Final = 92


def give_views(directory: Path, photos: Mapping[str, bytes]) -> None:
    """Write `data/calibration` and `data/evaluation` into a project, and the section that names them.

    Raises: HostError: they cannot be written.
    """
    write_views(directory / "data" / "calibration", photos, CALIBRATION_SEED, CALIBRATION)
    write_views(directory / "data" / "evaluation", photos, EVALUATION_SEED, EVALUATION)
    with writing(), (directory / "sealift.toml").open("a") as file:
        file.write(SECTION)


def write_views(folder: Path, photos: Mapping[str, bytes], seed: int, count: int) -> None:
    """`count` JPEG files without labels, of the photos in turn; another seed gives other views.

    Raises: HostError: they cannot be written, or the folder is there.
    """
    opened = [
        (Path(name).stem, Image.open(io.BytesIO(photo)).convert("RGB")) for name, photo in photos.items()
    ]
    with writing():
        folder.mkdir(parents=True)
        for number in range(count):
            name, photo = opened[number % len(opened)]
            view(photo, seed, number).save(folder / f"{number:03}-{name}.jpg", quality=_QUALITY)


def view(photo: Image.Image, seed: int, number: int) -> Image.Image:
    """A square of at least 90 % of the shorter side, half of them mirrored, at 0.9 to 1.1 of the brightness.

    The same arguments give the same pixels.
    """
    draw = np.random.default_rng([seed, number])
    side = max(1, int(min(photo.size) * draw.uniform(_LEAST_SIDE, 1)))
    left, top = (int(draw.integers(0, length - side + 1)) for length in photo.size)
    square = photo.crop((left, top, left + side, top + side))
    if draw.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain = draw.uniform(_LEAST_GAIN, _MOST_GAIN)
    return square.point(lambda value: min(255, round(value * gain)))
