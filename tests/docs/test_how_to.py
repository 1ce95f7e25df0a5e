"""The how-to pages are typed, command by command, on boxes as they describe them, and print what the pages say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from tests.docs.pages import page
from tests.docs.running import require_as_printed
from tests.docs.scenes import SCENES, make_shelf
from tests.models_zoo import info, model, node, save

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles, packed once."""
    return make_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.mark.parametrize("name", SCENES)
def test_the_page_works_as_it_is_printed(name: str, shelf: Path, tmp_path: Path) -> None:
    scene = SCENES[name]
    if scene.wrap and subprocess.run([*scene.wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root (unshare -m is refused here)")
    require_as_printed(page(f"how-to/{name}.md"), scene.place(tmp_path, shelf))


def test_one_of_several_models_is_asked_by_its_name(tmp_path: Path) -> None:
    """The page's own project file, with two small nets."""
    several = page("how-to/several-models.md")
    teller = tmp_path / "teller"
    for kind in ("risk", "document"):
        (teller / "data" / "golden" / kind).mkdir(parents=True)
    (teller / "sealift.toml").write_text(
        next(each.text for each in several.fences() if each.language == "toml")
    )
    (teller / "document.py").write_text("def postprocess(outputs):\n    return {}\n")
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    shapes: dict[str, list[int | str | None]] = {"risk": ["rows", 1], "document": ["rows", 3, 224, 224]}
    for name, shape in shapes.items():
        ends = [info(end, TensorProto.FLOAT, shape) for end in ("x", "y")]
        save(model([node("Add", ["x", "zero"], ["y"])], ends[:1], ends[1:], [zero]), teller, f"{name}.onnx")
    (tmp_path / "case.json").write_text('{"amount": 12.5}')
    command = next(each.text for each in several.fences() if each.is_shell).split()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("case.json  [12.5]")
