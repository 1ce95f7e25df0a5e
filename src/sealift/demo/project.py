"""Material -> the demo's project folder, as an engineer would have written it by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from sealift.demo.lite0 import build_lite0
from sealift.demo.material import Material
from sealift.demo.pth import read_tensors
from sealift.errors import HostError

PROJECT_NAME: Final = "lite0"
PROJECT_VERSION: Final = "1.0.0"

# The weights were trained on (x - 127) / 128; ImageNet's mean and std cost 15 points of accuracy.
_PROJECT_FILE: Final = f"""\
[project]
name = "{PROJECT_NAME}"
version = "{PROJECT_VERSION}"

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


def build_model(material: Material) -> bytes:
    """The ONNX file of EfficientNet-Lite0, without torch. Raises: ModelError: other weights than expected."""
    return build_lite0(read_tensors(io.BytesIO(material.weights)))


def write_project(directory: Path, material: Material, model: bytes) -> Path:
    """Write `sealift.toml`, the model, its labels, the photos as golden inputs, and the credits.

    Args:
        directory: made if it is not there; must be empty.
        model: what `build_model` returned.
    Returns: the project folder.
    Raises: HostError: the folder cannot be written.
    """
    golden = directory / "data" / "golden"
    try:
        golden.mkdir(parents=True)
        (directory / "sealift.toml").write_text(_PROJECT_FILE)
        (directory / "model.onnx").write_bytes(model)
        (directory / "labels.txt").write_text("".join(f"{label}\n" for label in material.labels))
        (directory / "CREDITS.txt").write_text("".join(f"{credit}\n" for credit in material.credits))
        for name, photo in material.photos.items():
            (golden / name).write_bytes(photo)
    except OSError as error:
        raise HostError(f"the demo project cannot be written: {error}") from error
    return directory
