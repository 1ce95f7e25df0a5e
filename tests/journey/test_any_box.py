"""One project, locked and packed on this machine for boxes that are not like it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sealift.cli.main import run
from sealift.target.elf import glibc_needed
from sealift.target.known_bad import known_bad
from sealift.target.resolve import read_objects, resolve
from sealift.target.target import Target, version_key

pytestmark = pytest.mark.slow

BOXES = {
    "ubuntu-20.04": ('preset = "ubuntu-20.04"', "2.31", "x86_64"),
    "centos-7": ('preset = "centos-7"', "2.17", "x86_64"),
    "linux-aarch64": ('platform = "linux-aarch64"\nglibc = "2.28"', "2.28", "aarch64"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Opset 17, IR 8: what the engine of a CentOS 7 reads too."""
    weights = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "risk",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 30])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("model") / "risk.onnx"
    onnx.save(made, path)
    return path


def project(folder: Path, model: Path, wish: str) -> Path:
    folder.mkdir()
    (folder / "risk.onnx").write_bytes(model.read_bytes())
    (folder / "requirements.txt").write_text("markupsafe\n")
    (folder / "sealift.toml").write_text(
        f'[project]\nname = "risk"\nversion = "1.0"\n[target]\n{wish}\npython = "3.11"\n'
        'interpreter = "/opt/python3.11/bin/python3.11"\n'
        '[python]\nrequirements = "requirements.txt"\n[model]\npath = "risk.onnx"\n'
    )
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, tuple[Path, dict[str, str]]]:
    """Box -> the files of its release under their own names, and its packages."""
    found = {}
    base = tmp_path_factory.mktemp("boxes")
    for box, (wish, _, _) in BOXES.items():
        folder = project(base / box, model, wish)
        assert run(["lock", str(folder), "-q"]) == 0
        toml = folder / "sealift.toml"
        toml.write_text(toml.read_text().replace("[model]", 'lock = "pylock.toml"\n[model]', 1))
        bundle = base / f"{box}.sealift"
        assert run(["pack", str(folder), "--unsigned", "-o", str(bundle), "-q"]) == 0
        tree, bill = base / f"{box}-tree", base / f"{box}.json"
        assert run(["inspect", str(bundle), "-q", "--extract", str(tree), "--sbom", str(bill)]) == 0
        parts = json.loads(bill.read_text())["components"]
        found[box] = tree, {part["name"]: part["version"] for part in parts if "version" in part}
    return found


@pytest.mark.parametrize("box", BOXES)
def test_no_shared_object_needs_a_newer_system_than_the_target(
    box: str, packed: dict[str, tuple[Path, dict[str, str]]]
) -> None:
    _, glibc, machine = BOXES[box]
    tree, packages = packed[box]
    objects, broken = read_objects(tree)
    assert not broken
    assert len(objects) > 50
    assert {elf.machine for elf in objects.values()} == {machine}
    needed = {name: floor for name, elf in objects.items() if (floor := glibc_needed(elf))}
    assert {name: n for name, n in needed.items() if version_key(n) > version_key(glibc)} == {}
    target = Target(platform=f"linux-{machine}", python="3.11", glibc=glibc)
    assert resolve(tree, target).problems == ()
    assert known_bad(target, packages) == ()
    assert "markupsafe" in packages


def test_versions_differ_where_they_must(packed: dict[str, tuple[Path, dict[str, str]]]) -> None:
    new, old, arm = (packed[box][1] for box in ("ubuntu-20.04", "centos-7", "linux-aarch64"))
    assert new["onnxruntime"] == arm["onnxruntime"]
    assert version_key(old["onnxruntime"]) < version_key(new["onnxruntime"])
    assert version_key(old["numpy"]) < (2,)  # with the engine of a CentOS 7, numpy 2 crashes on import
    assert old["markupsafe"] == new["markupsafe"] == arm["markupsafe"]


def test_a_release_for_another_processor_is_recorded_with_the_same_versions_here(
    packed: dict[str, tuple[Path, dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    tree, _ = packed["linux-aarch64"]
    golden = json.loads((tree / "application" / "goldens" / "risk.json").read_text())
    assert len(golden["goldens"]) == 3
    capsys.readouterr()
    assert run(["inspect", str(tree.with_name("linux-aarch64.sealift")), "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks["golden_checked"] is True
    assert any("recorded on linux-x86_64" in note for note in checks["golden_notes"])
