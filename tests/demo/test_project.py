"""The project that the demo writes is one that sealift's own reader takes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.demo.test_lite0 import photo_tensor

from sealift.collect.pylock import read_pins
from sealift.demo.material import Material
from sealift.demo.project import (
    BAD_HANDLER,
    HANDLER_MISTAKE,
    build_model,
    change_badly,
    change_monthly,
    package_versions,
    packages_of,
    write_grey_photos,
    write_project,
)
from sealift.errors import HostError, ModelError
from sealift.model.declaration import ClassesOutput, ImageInput
from sealift.project.file import load_project
from sealift.target.target import Target

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


def test_the_monthly_change_is_a_model_packages_and_a_version(tmp_path: Path) -> None:
    root = write_project(tmp_path / "lite0", SMALL, b"model bytes")
    change_monthly(root, b"tuned")
    project = load_project(root)
    assert (project.version, project.models[0].path.read_bytes()) == ("1.1.0", b"tuned")
    assert project.models[0].handler is None
    assert project.python.lock == root / "pylock.toml"
    assert (root / "pylock.toml").read_text() == packages_of("1.1.0")


def test_the_bad_change_is_a_handler_and_a_version(tmp_path: Path) -> None:
    root = write_project(tmp_path / "lite0", SMALL, b"model bytes")
    change_monthly(root, b"tuned")
    change_badly(root)
    project = load_project(root)
    assert (project.version, project.models[0].handler) == ("1.2.0", root / "handler.py")
    assert isinstance(project.models[0].input, ImageInput)


def test_both_packages_are_newer_a_month_later() -> None:
    older, newer = (package_versions(version) for version in ("1.0.0", "1.1.0"))
    assert list(older) == list(newer) == ["simplejpeg", "tifffile"]
    assert all(
        tuple(map(int, older[name].split("."))) < tuple(map(int, newer[name].split("."))) for name in newer
    )


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64"])
def test_the_lock_has_a_wheel_for_every_machine_that_may_run_the_demo(
    platform: str, python: str, version: str, tmp_path: Path
) -> None:
    (tmp_path / "pylock.toml").write_text(packages_of(version))
    pins = read_pins(tmp_path / "pylock.toml", Target(platform=platform, glibc="2.28", python=python))
    assert {pin.name: pin.version for pin in pins} == package_versions(version)
    assert all(len(pin.hashes) == 1 for pin in pins)


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bad handler's `preprocess`, beside packages that know nothing of this photo."""
    monkeypatch.setitem(sys.modules, "simplejpeg", SimpleNamespace(is_jpeg=lambda photo: False))
    monkeypatch.setitem(sys.modules, "tifffile", SimpleNamespace())
    names: dict[str, Any] = {}
    exec(compile(BAD_HANDLER, "handler.py", "exec"), names)
    return names["preprocess"]


def photo(mode: str) -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (300, 400, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_bad_handler_is_right_about_photos_in_colour(mode: str, handler: Any) -> None:
    found: NDArray[np.float32] = handler(photo(mode))
    np.testing.assert_allclose(found[None], photo_tensor(photo(mode)), atol=0.02)


def test_the_bad_handler_fails_on_a_grey_one_and_the_story_shows_the_line(handler: Any) -> None:
    """No ValueError: that would be a 400, the client's own fault."""
    with pytest.raises(IndexError):
        handler(photo("L"))
    assert HANDLER_MISTAKE == "image = Image.fromarray(pixels[:, :, :3])  # without transparency"


def test_grey_photos_have_one_channel(tmp_path: Path) -> None:
    material = Material(b"", (), {"chelsea.png": photo("RGB"), "rocket.jpg": photo("RGB")}, ())
    [path] = write_grey_photos(tmp_path, material)
    assert str(path) == "grey/chelsea-grey.png"
    with Image.open(tmp_path / path) as image:
        assert image.mode == "L"
