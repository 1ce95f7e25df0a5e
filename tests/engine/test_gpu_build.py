"""The application's onnxruntime-gpu goes before the runtime layer's onnxruntime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sealift

pytestmark = pytest.mark.slow

ASK = """
import sys
runtime, dependencies, sealift = sys.argv[1:]
before = [*sys.path, runtime, dependencies]
sys.path[:] = [*before, sealift]
from sealift.engine.gpu_build import prefer_gpu_build
prefer_gpu_build()
import onnxruntime, part
assert sys.path == [*before, sealift], sys.path
print(onnxruntime.build, part.build)
"""


def layer(folder: Path, build: str, package: str) -> Path:
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime/__init__.py").write_text(f"build = {build!r}\n")
    (folder / "part.py").write_text(f"build = {build!r}\n")
    (folder / f"{package}-1.31.1.dist-info").mkdir()
    return folder


@pytest.mark.parametrize(
    ("package", "answer"), [("onnxruntime_gpu", "theirs ours"), ("onnxruntime", "ours ours")]
)
def test_it_is_imported_in_place_of_ours_and_nothing_else_is(
    tmp_path: Path, package: str, answer: str
) -> None:
    runtime = layer(tmp_path / "runtime", "ours", "onnxruntime")
    dependencies = layer(tmp_path / "dependencies", "theirs", package)
    house = Path(sealift.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", ASK, str(runtime), str(dependencies), str(house)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == answer
