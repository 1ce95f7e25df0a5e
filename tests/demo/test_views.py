"""The demo's views: the same each time, none of them in both parts, and as a project reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sealift.demo.material import Material
from sealift.demo.project import write_project
from sealift.demo.views import CALIBRATION_SEED, EVALUATION_SEED, give_views, view, write_views
from sealift.errors import HostError
from sealift.optimize.data.dataset import read_dataset
from sealift.project.file import load_project


def photo(width: int = 60, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(5).integers(40, 200, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    photos = {"cat.png": png(photo()), "cup.jpg": png(photo(40, 60))}
    root = write_project(tmp_path / "lite0", Material(b"", ("a", "b"), photos, ()), b"model")
    give_views(root, photos)
    return root


def test_a_project_reads_its_views_and_its_gate(project: Path) -> None:
    read = load_project(project)
    wish = read.optimize
    assert wish.candidates == ("int8-static",)
    assert wish.min_agreement == 0.9
    assert wish.calibration is not None
    assert wish.evaluation is not None
    calibration, evaluation = (
        read_dataset(path, read.models[0]) for path in (wish.calibration, wish.evaluation)
    )
    assert (len(calibration.items), len(evaluation.items)) == (120, 240)
    assert {item.label for item in (*calibration.items, *evaluation.items)} == {None}
    assert evaluation.items[1].name == "001-cup.jpg"


def test_no_view_calibrates_and_is_evaluated(project: Path) -> None:
    parts = [
        {path.read_bytes() for path in (project / "data" / part).iterdir()}
        for part in ("calibration", "evaluation")
    ]
    assert not parts[0] & parts[1]
    assert len(parts[1]) == 240


def test_a_view_is_a_mild_change_and_the_same_each_time() -> None:
    whole = photo()
    for number in range(40):
        cut = view(whole, EVALUATION_SEED, number)
        assert cut.width == cut.height
        assert 36 <= cut.width <= 40
        assert abs(np.asarray(cut, float).mean() / np.asarray(whole, float).mean() - 1) < 0.15
        assert cut.tobytes() == view(whole, EVALUATION_SEED, number).tobytes()
        assert cut.tobytes() != view(whole, CALIBRATION_SEED, number).tobytes()


def test_views_are_never_written_over_others(tmp_path: Path) -> None:
    photos = {"cat.png": png(photo())}
    write_views(tmp_path / "views", photos, 1, 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "views").iterdir()}
    with pytest.raises(HostError, match="cannot be written"):
        write_views(tmp_path / "views", photos, 2, 3)
    assert {path.name: path.read_bytes() for path in (tmp_path / "views").iterdir()} == before
