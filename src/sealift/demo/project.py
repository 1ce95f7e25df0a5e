"""Material -> the demo's project folder, as an engineer would have written it by hand, release after release."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image

from sealift.demo.lite0 import build_lite0
from sealift.demo.material import Material
from sealift.errors import HostError
from sealift.model.graph_weights import read_tensors

PROJECT_NAME: Final = "lite0"
PROJECT_VERSION: Final = "1.0.0"
MONTHLY_VERSION: Final = "1.1.0"
BAD_VERSION: Final = "1.2.0"
PACKAGES: Final = {PROJECT_VERSION: "month1.pylock.toml", MONTHLY_VERSION: "month2.pylock.toml"}
"""Version of the release -> the lock of the application's packages, beside this file."""

# The weights were trained on (x - 127) / 128; ImageNet's mean and std cost 15 points of accuracy.
_PROJECT_FILE: Final = f"""\
[project]
name = "{PROJECT_NAME}"
version = "{PROJECT_VERSION}"

[python]
lock = "pylock.toml"

[model]
path = "model.onnx"
license = "Apache-2.0"

[model.input]
kind = "image"
size = [224, 224]
resize = 256
interpolation = "bicubic"
mean = [127, 127, 127]
std = [128, 128, 128]

[model.output]
kind = "classes"
labels = "labels.txt"
top = 5

[checks]
golden = "data/golden"
"""

HANDLER_KEYS: Final = '[handler]\nmodule = "handler.py"\n'
BAD_HANDLER: Final = '''\
"""Reads photos faster: JPEG by simplejpeg, TIFF by tifffile, the rest by Pillow."""

import io

import numpy as np
import simplejpeg
from PIL import Image


def preprocess(photo: bytes) -> np.ndarray:
    pixels = read(photo)
    image = Image.fromarray(pixels[:, :, :3])  # without transparency
    scale = 256 / min(image.size)
    size = [round(side * scale) for side in image.size]
    left, top = (side // 2 - 112 for side in size)
    image = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    return ((np.asarray(image, np.float32) - 127) / 128).transpose(2, 0, 1)


def read(photo: bytes) -> np.ndarray:
    if simplejpeg.is_jpeg(photo):
        return simplejpeg.decode_jpeg(photo)
    if photo[:4] in (b"II*\\0", b"MM\\0*"):
        import tifffile  # TIFF is rare, and starting is quicker without

        return tifffile.imread(io.BytesIO(photo))
    return np.asarray(Image.open(io.BytesIO(photo)))
'''
"""Right for every photo in colour. A grey one from a PNG has no third axis: `IndexError`."""
HANDLER_MISTAKE: Final = next(line for line in BAD_HANDLER.splitlines() if ":3]" in line).strip()

GREY: Final = ("chelsea.png", "coffee.png")


def build_model(material: Material) -> bytes:
    """The ONNX file of EfficientNet-Lite0, without torch. Raises: ModelError: other weights than expected."""
    return build_lite0(read_tensors(io.BytesIO(material.weights)))


def write_project(directory: Path, material: Material, model: bytes) -> Path:
    """Write `sealift.toml`, the locked packages, the model, its labels, the photos as golden inputs, and the credits.

    Args:
        directory: made if it is not there; must be empty.
        model: what `build_model` returned.
    Returns: the project folder.
    Raises: HostError: the folder cannot be written.
    """
    golden = directory / "data" / "golden"
    with writing():
        golden.mkdir(parents=True)
        (directory / "sealift.toml").write_text(_PROJECT_FILE)
        (directory / "pylock.toml").write_text(packages_of(PROJECT_VERSION))
        (directory / "model.onnx").write_bytes(model)
        (directory / "labels.txt").write_text("".join(f"{label}\n" for label in material.labels))
        (directory / "CREDITS.txt").write_text("".join(f"{credit}\n" for credit in material.credits))
        for name, photo in material.photos.items():
            (golden / name).write_bytes(photo)
    return directory


def change_monthly(directory: Path, model: bytes) -> None:
    """The monthly change: another model, newer packages, the next version. Raises: HostError."""
    with writing():
        (directory / "model.onnx").write_bytes(model)
        (directory / "pylock.toml").write_text(packages_of(MONTHLY_VERSION))
        _set_version(directory, MONTHLY_VERSION)


def change_badly(directory: Path) -> None:
    """A handler that is right for every golden photo and fails on grey ones. Raises: HostError."""
    with writing():
        (directory / "handler.py").write_text(BAD_HANDLER)
        _set_version(directory, BAD_VERSION)
        with (directory / "sealift.toml").open("a") as file:
            file.write("\n" + HANDLER_KEYS)


def packages_of(version: str) -> str:
    """The PEP 751 lock of a release: two packages, one pure and one compiled."""
    return (Path(__file__).parent / PACKAGES[version]).read_text(encoding="utf-8")


def package_versions(version: str) -> dict[str, str]:
    """Name -> version of the packages in a release's lock."""
    found = re.findall(r'^name = "(.+)"\nversion = "(.+)"$', packages_of(version), re.MULTILINE)
    return dict(found)


def write_grey_photos(folder: Path, material: Material) -> list[Path]:
    """Some of the photos without colour, as a camera sends them by night; no golden input is like that.

    Returns: `grey/NAME.png`, relative to `folder`. Raises: HostError: they cannot be written.
    """
    names = {name: Path("grey", f"{Path(name).stem}-grey.png") for name in GREY if name in material.photos}
    with writing():
        (folder / "grey").mkdir()
        for name, path in names.items():
            Image.open(io.BytesIO(material.photos[name])).convert("L").save(folder / path)
    return list(names.values())


def _set_version(directory: Path, version: str) -> None:
    path = directory / "sealift.toml"
    path.write_text(
        re.sub(r'^version = ".+"$', f'version = "{version}"', path.read_text(), flags=re.MULTILINE)
    )


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Raises: HostError: for every OSError inside."""
    try:
        yield
    except OSError as error:
        raise HostError(f"the demo project cannot be written: {error}") from error
