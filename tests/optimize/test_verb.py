"""`sealift optimize` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.optimize.projects import digit_net, digit_project, write_digits

pytestmark = pytest.mark.slow

DATA = 'calibration = "data/calibration"\nevaluation = "data/evaluation"\n'


@pytest.fixture(scope="module")
def inspect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verb") / "inspect"
    digit_net(folder / "net.onnx")
    write_digits(folder / "data" / "calibration", range(1000, 1064), labelled=False)
    write_digits(folder / "data" / "evaluation", range(1100, 1400))
    return digit_project(folder, DATA + 'max_accuracy_drop_points = 3.0\ncandidates = ["int8-static"]\n')


def sealift(*arguments: str | Path, cwd: Path, code: int = 0) -> tuple[str, str]:
    """(stdout, stderr) of one command line."""
    command = [sys.executable, "-m", "sealift", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_the_engineers_way_from_data_to_a_variant_that_serves(inspect: Path) -> None:
    place = inspect.parent
    out, err = sealift("optimize", "inspect/", "--html", "report.html", cwd=place)
    assert "int8-static ships: " in out
    assert out.rstrip().endswith("report.html")
    assert "next: sealift pack inspect" in out
    assert "calibrating" in err
    page = (place / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "data:image/jpeg;base64," in page
    picture = next((inspect / "data" / "evaluation" / "7").iterdir())
    answers, _ = sealift("predict", picture, "--project", "inspect/", "--json", cwd=place)
    assert json.loads(answers)["prediction"] == 7


def test_json_holds_every_figure(inspect: Path, tmp_path: Path) -> None:
    out, err = sealift("optimize", inspect, "--quick", "--json", cwd=tmp_path)
    found = json.loads(out)
    assert found["schema"] == 1
    (model,) = found["models"]
    assert model["chosen"] == "int8-static"
    assert {variant["name"] for variant in model["variants"]} == {"fp32", "int8-static"}
    assert err == ""


def test_wrong_arguments_are_told_before_anything_is_measured(inspect: Path, tmp_path: Path) -> None:
    _, err = sealift("optimize", inspect, "--model", "digit", cwd=tmp_path, code=2)
    assert "--model digit: no such model (those of the project: digits)" in err
    _, err = sealift("optimize", inspect, "--html", tmp_path, cwd=tmp_path, code=2)
    assert "is a folder, or would lie in none" in err
    _, err = sealift("optimize", tmp_path / "nothing", cwd=tmp_path, code=2)
    assert "sealift.toml does not exist" in err
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_the_data_is_told_at_once_and_nothing_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    digit_net(folder / "net.onnx", trained=False)
    write_digits(folder / "data" / "calibration", range(4), labelled=False)
    for label in ("seven", "eleven"):
        (folder / "data" / "evaluation" / label).mkdir(parents=True)
        (folder / "data" / "evaluation" / label / "x.png").write_bytes(b"no picture")
    digit_project(folder, DATA)
    _, err = sealift("optimize", folder, cwd=tmp_path, code=2)
    assert "seven" in err
    assert "eleven" in err
    assert not (folder / "optimized").exists()


def test_for_an_onnx_model_nothing_pulls_torch(inspect: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'nncf', 'openvino', 'sklearn', 'scipy', 'sympy', 'pandas'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        "from sealift.cli.main import run\n"
        f"sys.exit(run(['optimize', {str(inspect)!r}, '--quick', '-q']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
