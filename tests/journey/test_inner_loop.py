"""Must show: the engineer's inner loop. `serve DIR` and `predict --project` run a project, unsigned, on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import requests
from onnx import TensorProto, helper
from tests.journey.conftest import Server, sealift

pytestmark = pytest.mark.slow
PROJECT = '[project]\nname = "loop"\nversion = "{version}"\n[model]\npath = "model.onnx"\n{more}'


def write_project(folder: Path, version: str, more: str = "") -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "adder", [x], [y])
    folder.mkdir(exist_ok=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        folder / "model.onnx",
    )
    (folder / "sealift.toml").write_text(PROJECT.format(version=version, more=more))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path / "loop", "1")
    return tmp_path / "loop"


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    running = Server([sys.executable, "-m", "sealift", "serve", "./loop", "--port", "0"], project.parent)
    yield running
    assert running.stop() == 0
    running.log.close()


def release_served(server: Server) -> str:
    answer = requests.post(f"{server.url}/predict", json={"inputs": {"x": [1.0, 2.0]}}, timeout=30)
    assert answer.json()["prediction"] == [2.0, 4.0], answer.text
    return answer.headers["X-Sealift-Release"]


def until_log_says(server: Server, words: str) -> None:
    """Read the server's log as it grows, until a line has `words`."""
    tail = subprocess.Popen(
        ["tail", "-n", "+1", "-F", server.log.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert tail.stdout is not None
    try:
        assert any(words in line for line in tail.stdout)
    finally:
        tail.kill()
        tail.stdout.close()
        tail.wait()


def test_a_change_of_the_project_is_served_without_a_restart(project: Path, server: Server) -> None:
    assert release_served(server) == "loop@1"
    write_project(project, "2")
    until_log_says(server, "reloaded after a change")
    assert release_served(server) == "loop@2"


def test_a_broken_edit_keeps_the_old_version_and_says_what_is_wrong(project: Path, server: Server) -> None:
    (project / "sealift.toml").write_text(
        '[project]\nname = "loop"\nversion = "2"\n[model]\npth = "model.onnx"\n'
    )
    until_log_says(server, "the old version serves on")
    assert release_served(server) == "loop@1"
    assert "'pth' is not a key; did you mean 'path'?" in server.said()


def test_a_project_is_never_served_beyond_loopback(project: Path) -> None:
    said = sealift("serve", "./loop", "--host", "0.0.0.0", "--port", "0", cwd=project.parent, ok=False)
    assert said.startswith("2 sealift serve: --host 0.0.0.0: a project is served on loopback only")


def test_a_project_predicts_in_process(project: Path) -> None:
    (project / "case.json").write_text('{"inputs": {"x": [3.0]}}')
    answer = json.loads(
        sealift("predict", "loop/case.json", "--project", "loop", "--json", cwd=project.parent)
    )
    assert answer["prediction"] == [6.0]
    assert answer["release"] == "loop@1"


def test_the_guides_preprocess_is_a_handler_without_edits_to_its_body(tmp_path: Path) -> None:
    """`preprocess(io.BytesIO(...))` of the guide: only its parameter's annotation says what it takes."""
    project = tmp_path / "guide"
    project.mkdir()
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    model = helper.make_model(
        helper.make_graph(nodes, "means", [x], [y]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, project / "model.onnx")
    (project / "handler.py").write_text(
        "import io\n\nimport numpy as np\nfrom PIL import Image\n\n\n"
        "def preprocess(image_file: io.BytesIO):\n"
        "    img = Image.open(image_file).convert('RGB').resize((8, 8))\n"
        "    arr = np.array(img).astype(np.float32) / 255.0\n"
        "    return arr.transpose(2, 0, 1)[np.newaxis]\n"
    )
    (project / "sealift.toml").write_text(
        '[project]\nname = "guide"\nversion = "1"\n[model]\npath = "model.onnx"\n'
        '[handler]\nmodule = "handler.py"\n[model.output]\nkind = "classes"\nlabels = ["red", "green", "blue"]\n'
    )
    code = "from PIL import Image; Image.new('RGB', (20, 10), (0, 0, 255)).save('blue.png')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    answer = json.loads(sealift("predict", "blue.png", "--project", "guide", "--json", cwd=tmp_path))
    assert answer["label"] == "blue"
    import base64

    body = {"image": base64.b64encode((tmp_path / "blue.png").read_bytes()).decode()}
    (tmp_path / "case.json").write_text(json.dumps(body))
    assert (
        json.loads(sealift("predict", "case.json", "--project", "guide", "--json", cwd=tmp_path))[
            "prediction"
        ]
        == 2
    )
