"""Must show: the INT8 file that was measured is the file that travels, is installed and answers; to the byte."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import requests
from tests.journey.conftest import Lite0, Server, pack_and_install, sealift
from tests.journey.test_lite0 import CLOSE, reference_input, softmax
from tests.made_bundles import tree_hash

from sealift.bundle.documents import decode_release
from sealift.demo.views import CALIBRATION_SEED, EVALUATION_SEED, write_views

pytestmark = pytest.mark.slow
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")
WISH = """
[optimize]
candidates = ["int8-static"]
calibration = "data/calibration"
evaluation = "data/evaluation"
min_agreement = 0.8
travel = 2
"""
"""Few views, so a gate that few can prove. Both travel: the box chooses."""


@dataclass(frozen=True)
class Int8:
    """The demo's service, optimised: its folder (project, keys, bundle, box), the report's JSON, its server."""

    folder: Path
    report: dict[str, Any]
    server: Server

    @property
    def variants(self) -> dict[str, Path]:
        """Name -> the very file that was measured."""
        place = self.folder / "lite0" / "optimized" / "lite0"
        shipping = json.loads((place / "shipping.json").read_text())
        return {
            each["name"]: place / each["folder"] / each["files"][0]["name"] for each in shipping["variants"]
        }

    @property
    def travelling(self) -> list[dict[str, Any]]:
        """Of the report, what is in the bundle."""
        return [each for each in self.report["variants"] if each["standing"] in ("ships", "travels")]

    @property
    def chosen(self) -> str:
        """The variant that the box runs, as its check recorded it."""
        shown = json.loads(sealift("status", "lite0", "--prefix", "box", "--json", cwd=self.folder))
        name: str = shown["services"][0]["check"]["variants"]["lite0"]
        return name


@pytest.fixture(scope="module")
def int8(lite0: Lite0, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Int8]:
    """Optimised, packed and installed by the command line, served by the prefix's own sealift."""
    folder = tmp_path_factory.mktemp("int8")
    for name in ("lite0", "keys"):
        shutil.copytree(lite0.folder / name, folder / name)
    shutil.copy(lite0.folder / "phrase", folder)
    data = folder / "lite0" / "data"
    write_views(data / "calibration", lite0.material.photos, CALIBRATION_SEED, 24)
    write_views(data / "evaluation", lite0.material.photos, EVALUATION_SEED, 60)
    with (folder / "lite0" / "sealift.toml").open("a") as file:
        file.write(WISH)
    optimized = json.loads(sealift("optimize", "lite0", "--quick", "--json", cwd=folder))
    pack_and_install(folder, "lite0")
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "lite0", "--port", "0"], folder)
    yield Int8(folder, optimized["models"][0], server)
    assert server.stop() == 0
    server.log.close()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_signed_release_states_the_digest_of_the_report(int8: Int8) -> None:
    stated = decode_release((int8.folder / "bundle" / "release.json").read_bytes()).checks["optimized"]
    place = int8.folder / "lite0" / "optimized" / "lite0" / "report.json"
    assert stated == {
        "lite0": {
            "report": f"sha256:{digest(place)}",
            "variant": int8.report["chosen"],
            "verdict": int8.report["verdict"],
        }
    }
    installed = int8.folder / "box" / "current" / "lite0" / "application" / "reports" / "lite0.json"
    assert digest(installed) == digest(place)


def test_each_installed_model_is_the_file_that_was_measured(int8: Int8) -> None:
    models = int8.folder / "box" / "current" / "lite0" / "application" / "models" / "lite0"
    reported = {each["name"]: each["files"][0]["sha256"] for each in int8.travelling}
    assert next(iter(int8.variants)) == int8.report["chosen"]
    installed = {path.parent.name: digest(path) for path in models.rglob("*") if path.is_file()}
    assert installed == reported
    assert {name: digest(path) for name, path in int8.variants.items()} == reported


def test_answers_over_http_are_those_of_the_measured_file(int8: Int8, lite0: Lite0) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(int8.variants[int8.chosen], options)
    for name in ("chelsea.png", "coffee.png", "motorcycle.png"):
        photo = lite0.material.photos[name]
        sent = requests.post(
            f"{int8.server.url}/predict", data=photo, headers={"Content-Type": "image/png"}, timeout=30
        )
        assert sent.status_code == 200, sent.text
        probabilities = softmax(session.run(None, {"input": reference_input(photo)})[0][0])
        told = {entry["class"]: entry["probability"] for entry in sent.json()["probabilities"]}
        assert list(told) == np.argsort(-probabilities)[:5].tolist()
        assert max(abs(told[place] - probabilities[place]) for place in told) <= CLOSE


def test_the_officer_sees_the_verdict_and_what_was_tried(int8: Int8) -> None:
    page = " ".join(sealift("inspect", "bundle", "--trust", "keys/root.json", cwd=int8.folder).split())
    assert f"quality {int8.report['verdict']}" in page
    for each in int8.travelling:
        size_mb = each["files"][0]["size"] / 1e6
        assert (
            f"tried {each['name']} {each['standing']}, {size_mb:.1f} MB, {each['speed']['speedup']:.2f}x"
            in page
        )
    assert "report application/reports/lite0.json sha256:" in page


def test_the_box_chooses_among_those_that_travel_by_measuring_and_says_so(int8: Int8) -> None:
    said = sealift("status", "lite0", "--why", "--prefix", "box", cwd=int8.folder)
    (line,) = [each for each in said.splitlines() if "variants of lite0" in each]
    other = next(name for name in int8.variants if name != int8.chosen)
    pattern = rf"checked here: variants of lite0: {int8.chosen} answers here: [\d.]+ ms; {other} [\d.]+ ms"
    assert re.search(pattern, line)


@pytest.fixture
def desk(int8: Int8, tmp_path: Path) -> Path:
    """A copy of the optimised project, to be spoilt; packing it has to be refused before anything is fetched."""
    shutil.copytree(int8.folder / "lite0", tmp_path / "lite0")
    for name in ("keys", "phrase"):
        (tmp_path / name).symlink_to(int8.folder / name)
    return tmp_path


def refused(desk: Path) -> str:
    """What `pack` says on its way out with 2; it wrote nothing, neither here nor into its ledger."""
    keys = (desk / "keys").resolve()
    before = tree_hash(desk), tree_hash(keys)
    said = sealift("pack", "lite0", "-o", "refused.sealift", *SIGNING, cwd=desk, ok=False)
    assert said.startswith("2 ")
    assert (tree_hash(desk), tree_hash(keys)) == before
    return said


def test_a_model_that_changed_since_is_refused_with_the_command_to_run(desk: Path) -> None:
    model = onnx.load(desk / "lite0" / "model.onnx")
    bias = next(each for each in model.graph.initializer if each.name == "classifier.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(model, desk / "lite0" / "model.onnx")
    said = refused(desk)
    assert "optimized/lite0 was measured for another state of the model or its declarations" in said
    assert f"sealift optimize {desk / 'lite0'}" in said


@pytest.mark.parametrize("what", ["model", "report"])
def test_a_file_that_is_not_what_was_measured_is_refused_by_name(what: str, int8: Int8, desk: Path) -> None:
    place = desk / "lite0" / "optimized" / "lite0"
    folder = int8.variants[int8.report["chosen"]].parent.name
    path = place / ("report.json" if what == "report" else f"{folder}/model.onnx")
    path.write_bytes(path.read_bytes()[:-2] + b"?}")
    said = refused(desk)
    measured = "model lite0: optimized/lite0 is not what was measured: "
    assert f"{measured}{path.relative_to(place)}: expected sha256 " in said
    assert said.rstrip().endswith(f"; sealift optimize {desk / 'lite0'}")
