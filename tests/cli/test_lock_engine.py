"""`sealift lock` for an old box, with a model that its engine does not read."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from sealift.cli.main import run
from sealift.errors import ModelError


def project(folder: Path, opset: int, ir: int) -> Path:
    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", edges[:1], edges[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.save(model, folder / "m.onnx")
    (folder / "sealift.toml").write_text(
        '[project]\nname = "fraud"\nversion = "1"\n[model]\npath = "m.onnx"\n'
        '[target]\npreset = "centos-7"\npython = "3.11"\n'
    )
    return folder


def test_a_model_newer_than_the_targets_engine_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["lock", str(project(tmp_path, 22, 10)), "--no-index"])
    said = capsys.readouterr().err
    assert code == ModelError.exit_code
    assert "model fraud (m.onnx): expected opset 19 or older (onnxruntime 1.16.3), found 22" in said
    assert "model fraud (m.onnx): expected IR version 9 or older (onnxruntime 1.16.3), found 10" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "sealift.toml"]


def test_a_model_that_it_reads_is_locked(tmp_path: Path) -> None:
    assert run(["lock", str(project(tmp_path, 19, 9)), "--no-index"]) == 0
    assert (tmp_path / "pylock.toml").is_file()
