"""What an engine cannot run of a graph: all of it, by name, without loading the model once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sealift.errors import ModelError
from sealift.model.engine_limits import EngineLimits, limits_of
from sealift.optimize.export.engine_limits import installed_limits
from sealift.optimize.export.operators import graph_problems, openvino_problems

ENGINE = f"onnxruntime {onnxruntime.__version__}"


def written(
    path: Path, nodes: Sequence[NodeProto], output: str = "y", kind: int = TensorProto.FLOAT, ir: int = 9
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(np.ones((4, 4)), "w")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my.own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
    return path


def node(kind: str, given: str, made: str, name: str, **more: Any) -> NodeProto:
    return helper.make_node(kind, given.split(), [made], name=name, **more)


def test_a_plain_model_has_no_problem(tmp_path: Path) -> None:
    assert graph_problems(written(tmp_path / "m.onnx", [node("Relu", "x", "y", "r")])) == ()


def test_operators_that_nobody_has_are_listed_together_with_their_nodes(tmp_path: Path) -> None:
    nodes = [
        node("Wobble", "x", "a", "first"),
        node("Wobble", "a", "b", "second"),
        node("Magic", "b", "d", "third", domain="my.own"),
        node("Cast", "x", "e", "widen", to=TensorProto.DOUBLE),
        node("Erf", "e", "f", "fourth"),
        node("Relu", "x", "y", "fine"),
    ]
    path = written(tmp_path / "m.onnx", nodes)
    assert graph_problems(path) == (
        f"Wobble is not known to {ENGINE}: nodes first, second",
        f"my.own:Magic is not known to {ENGINE}: node third",
        f"Erf of DOUBLE has no kernel in {ENGINE}: node fourth",
    )


def test_what_stands_inside_a_branch_is_found(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [node("Cast", "x", "a", "widen", to=TensorProto.DOUBLE), node("Erf", "a", "z", "deep")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, None)],
    )
    choice = node("If", "c", "y", "choice", then_branch=inner, else_branch=inner)
    path = written(tmp_path / "m.onnx", [choice], kind=TensorProto.DOUBLE)
    assert graph_problems(path) == (f"Erf of DOUBLE has no kernel in {ENGINE}: node deep",)


def test_what_stands_inside_a_function_of_the_model_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Mine", "x", "y", "call", domain="my.own")])
    model = onnx.load(path)
    body = [node("Relu", "p", "q", "fine"), node("Wobble", "q", "r", "odd")]
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("my.own", "Mine", ["p"], ["r"], body, opsets))
    onnx.save(model, path)
    (problem,) = graph_problems(path)
    assert problem.startswith(f"Wobble is not known to {ENGINE}")


def test_operators_that_the_engine_builds_from_others_are_no_problem(tmp_path: Path) -> None:
    nodes = [node("HardSwish", "x", "a", "function"), node("Gelu", "a", "y", "own", domain="com.microsoft")]
    path = written(tmp_path / "m.onnx", nodes)
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    assert graph_problems(path) == ()


def test_many_nodes_of_a_kind_are_counted(tmp_path: Path) -> None:
    nodes = [node("Wobble", "x", f"t{n}", f"n{n}") for n in range(7)] + [node("Relu", "x", "y", "fine")]
    (problem,) = graph_problems(written(tmp_path / "m.onnx", nodes))
    assert problem.endswith("nodes n0, n1, n2, n3, n4 and 2 more")


def test_the_installed_engine_says_what_it_reads() -> None:
    limits = installed_limits()
    assert limits.engine == ENGINE
    assert limits.opset >= 21
    assert limits.ir >= 10
    assert limits_of(onnxruntime.__version__) == limits


def test_other_releases_are_known_or_not_guessed_at() -> None:
    assert limits_of("1.17.1") == EngineLimits("onnxruntime 1.17.1", opset=20, ir=9, ml=4)
    assert limits_of("1.9.0") is None
    assert limits_of("2.0.0") is None
    assert limits_of("nightly") is None


def test_a_model_that_is_too_new_for_the_boxs_engine_is_told_with_both_versions(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Relu", "x", "y", "r")], ir=10)
    older = EngineLimits("onnxruntime 1.16.3", opset=19, ir=9)
    opset, ir = graph_problems(path, older)
    assert "opset 20, onnxruntime 1.16.3 reads up to 19; export it with opset_version=19" in opset
    assert "IR version 10, onnxruntime 1.16.3 reads up to 9" in ir
    assert graph_problems(path) == ()


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x00\x01\x02")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        graph_problems(path)


@pytest.mark.slow
def test_openvino_names_what_it_does_not_know(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Wobble", "x", "a", "one"), node("Quiver", "a", "y", "two")])
    (problem,) = openvino_problems(path)
    assert "Wobble" in problem
    assert "Quiver" in problem
    assert openvino_problems(written(tmp_path / "fine.onnx", [node("Relu", "x", "y", "r")])) == ()
