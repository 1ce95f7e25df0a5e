"""From weights and the Python of their module to an answer, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.slow

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.hidden = torch.nn.Linear(4, 8)
        self.out = torch.nn.Linear(8, classes)

    def forward(self, features):
        return torch.softmax(self.out(torch.relu(self.hidden(features))), -1)
"""

SHAPES = """
[[model.inputs]]
name = "features"
datatype = "FP32"
shape = ["batch", 4]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `trained/net.py` and `trained/weights.safetensors`, and `case.json`."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("weights")
    (folder / "trained").mkdir()
    (folder / "trained" / "net.py").write_text(NET)
    save_file(parameters(), folder / "trained" / "weights.safetensors")
    (folder / "case.json").write_text('{"inputs": {"features": [[1, 2, 3, 4]]}}')
    return folder


def parameters() -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(1)
    shapes = {"hidden.weight": (8, 4), "hidden.bias": (8,), "out.weight": (3, 8), "out.bias": (3,)}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def expected() -> NDArray[Any]:
    weights = parameters()
    hidden = np.maximum(weights["hidden.weight"] @ np.array([1, 2, 3, 4]) + weights["hidden.bias"], 0)
    scores = weights["out.weight"] @ hidden + weights["out.bias"]
    odds = np.exp(scores - scores.max())
    shares: NDArray[Any] = odds / odds.sum()
    return shares


def sealift(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealift", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_way_from_weights_to_an_answer(trained: Path) -> None:
    weights = ("--model", "trained/weights.safetensors", "--architecture", "trained/net.py:Net")
    assert "sealift optimize marks/" in sealift("init", "marks", *weights, cwd=trained).stdout
    project = trained / "marks" / "sealift.toml"
    text = project.read_text().replace("# arguments = { classes = 10 } ", "arguments = { classes = 3 } ")
    project.write_text(text.replace('shape = ["batch", 1]', 'shape = ["batch", 4]'))
    early = sealift("predict", "case.json", "--project", "marks/", cwd=trained, code=2)
    assert "sealift optimize" in early.stderr
    told = sealift("optimize", "marks/", "--quick", cwd=trained).stdout
    assert "fp32" in told
    answer = json.loads(sealift("predict", "case.json", "--project", "marks/", "--json", cwd=trained).stdout)
    assert np.allclose(answer["prediction"], [expected()], atol=1e-5)
