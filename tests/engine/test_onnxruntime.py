"""onnxruntime behind the engine protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sealift.engine.choose import engine_for
from sealift.engine.onnxruntime import OnnxRuntime
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError, ModelFailed


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    """y = x + x, any length."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    path = tmp_path / "doubler.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_it_runs_and_says_which_device_is_in_use(doubler: Path) -> None:
    session = engine_for(doubler).load(doubler, EngineOptions(threads=1))
    assert session.device == "cpu"
    assert session.run({"x": np.array([1, 2], np.float32)})["y"].tolist() == [2, 4]
    assert list(session.run({"x": np.zeros(1, np.float32)}, ["y"])) == ["y"]


def test_a_refused_input_is_the_models_failure_with_the_engines_words(doubler: Path) -> None:
    session = OnnxRuntime().load(doubler, EngineOptions())
    with pytest.raises(ModelFailed, match="double"):
        session.run({"x": np.zeros(1, np.float64)})


def test_a_declared_device_that_is_not_there_is_never_replaced_silently(doubler: Path) -> None:
    with pytest.raises(ModelError, match=r"cuda cannot be used: .* without CUDAExecutionProvider"):
        OnnxRuntime().load(doubler, EngineOptions(device=("cuda",)))
    permitted = OnnxRuntime().load(doubler, EngineOptions(device=("cuda", "cpu")))
    assert permitted.device == "cpu"
    assert permitted.degraded.startswith("cuda cannot be used: the installed onnxruntime")
    narrow = permitted.with_threads(1, may_copy=True)
    assert narrow is not None
    assert narrow.degraded == permitted.degraded
    with pytest.raises(ModelError, match="cuda:1 cannot be used"):
        OnnxRuntime().load(doubler, EngineOptions(device=("cuda:1",)))


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"m\.onnx: onnxruntime .* cannot load it"):
        OnnxRuntime().load(tmp_path / "m.onnx", EngineOptions())
    with pytest.raises(ModelError, match=r"m\.pkl: no engine loads \.pkl"):
        engine_for(tmp_path / "m.pkl")


@pytest.mark.slow
def test_the_engine_writes_nothing_home_and_names_no_device(doubler: Path, tmp_path: Path) -> None:
    """onnxruntime's own telemetry would leave a device id and a queue of events under $HOME."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, pathlib; from sealift.engine.onnxruntime import OnnxRuntime;"
        "from sealift.engine.protocol import EngineOptions;"
        "OnnxRuntime().load(pathlib.Path(sys.argv[1]), EngineOptions())"
    )
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code, str(doubler)], env=environment, check=True)
    assert list(home.rglob("*")) == []
