"""The project that the demo writes is one that sealift's own reader takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.demo.material import Material
from sealift.demo.project import build_model, write_project
from sealift.errors import HostError, ModelError
from sealift.model.declaration import ClassesOutput, ImageInput
from sealift.project.file import load_project

SMALL = Material(b"not weights", ("cat", "cup"), {"a.png": b"\x89PNG"}, ("a.png: somebody, CC0",))


def test_the_project_reads_back_as_an_image_classifier(tmp_path: Path) -> None:
    root = write_project(tmp_path / "lite0", SMALL, b"model bytes")
    project = load_project(root)
    assert (project.name, project.version, project.golden) == ("lite0", "1.0.0", root / "data" / "golden")
    [model] = project.models
    assert (model.path.read_bytes(), model.license) == (b"model bytes", "Apache-2.0")
    assert isinstance(model.input, ImageInput)
    assert (model.input.size, model.input.resize, model.input.interpolation) == ((224, 224), 256, "bicubic")
    assert (model.input.mean, model.input.std) == ((127, 127, 127), (128, 128, 128))
    assert isinstance(model.output, ClassesOutput)
    assert (model.output.labels, model.output.top) == (("cat", "cup"), 5)
    assert (root / "data" / "golden" / "a.png").read_bytes() == b"\x89PNG"
    assert (root / "CREDITS.txt").read_text() == "a.png: somebody, CC0\n"


def test_an_existing_project_is_never_written_over(tmp_path: Path) -> None:
    write_project(tmp_path / "lite0", SMALL, b"first")
    with pytest.raises(HostError, match="cannot be written"):
        write_project(tmp_path / "lite0", SMALL, b"second")
    assert (tmp_path / "lite0" / "model.onnx").read_bytes() == b"first"


def test_weights_that_are_none_are_a_model_error() -> None:
    with pytest.raises(ModelError):
        build_model(SMALL)
