"""An export is held against its original, a few lines of numpy: numbers, batch, versions, operators."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sealift.model.arrays import Arrays
from sealift.model.engine_limits import EngineLimits
from sealift.model.onnx_graph import read_signature
from sealift.optimize.export.checks import ExportReport, check_export, difference_of, made_inputs

WEIGHTS = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)


def linear(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"] @ WEIGHTS}


def written(
    path: Path,
    nodes: Sequence[NodeProto] = (helper.make_node("MatMul", ["x", "w"], ["y"]),),
    batch: str | int = "batch",
    weights: NDArray[Any] = WEIGHTS,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([2, 3]), "two")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def checked(path: Path, original: Any = linear, **more: Any) -> ExportReport:
    return check_export(original, path, read_signature(path), **more)


def test_an_export_that_does_the_same_passes_with_its_largest_difference(tmp_path: Path) -> None:
    report = checked(written(tmp_path / "m.onnx"))
    assert report.passed
    assert report.compared == 6
    assert report.row_reason == ""
    assert report.notes == ()
    assert report.largest is not None
    assert report.largest.share < 1e-6


def test_it_is_tried_on_one_two_and_five_rows_the_same_each_time(tmp_path: Path) -> None:
    signature = read_signature(written(tmp_path / "m.onnx"))
    first, second = list(made_inputs(signature)), list(made_inputs(signature))
    assert [len(each["x"]) for each in first] == [1, 1, 2, 2, 5, 5]
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))


def test_other_numbers_are_named_with_their_place(tmp_path: Path) -> None:
    changed = WEIGHTS.copy()
    changed[:, 1] += 0.5
    report = checked(written(tmp_path / "m.onnx", weights=changed))
    assert not report.passed
    (problem,) = report.problems
    assert problem.startswith("y[")
    assert ", 1] of " in problem
    assert "expected " in problem
    assert "rounding explains 0.01%" in problem


def test_a_dropout_that_stays_on_is_found_by_asking_twice(tmp_path: Path) -> None:
    drawn = itertools.count()

    def trained(inputs: Arrays) -> Arrays:
        kept = np.random.default_rng(next(drawn)).random(inputs["x"].shape) > 0.5
        return {"y": np.where(kept, inputs["x"], 0).astype(np.float32) @ WEIGHTS}

    report = checked(written(tmp_path / "m.onnx"), trained)
    assert "answers the same input differently (y): dropout" in report.problems[0]
    assert any(problem.startswith("y[") for problem in report.problems)


def test_a_batch_that_the_exporter_wrote_into_the_graph_shows_at_other_sizes(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Reshape", ["a", "two"], ["y"])]
    report = checked(written(tmp_path / "m.onnx", nodes))
    assert len(report.problems) == 2
    assert "the export refuses 1 row that the original answers" in report.problems[0]
    assert "the export refuses 5 rows that the original answers" in report.problems[1]


def test_a_fixed_batch_is_a_note_and_batching_is_off(tmp_path: Path) -> None:
    report = checked(written(tmp_path / "m.onnx", batch=1))
    assert report.passed
    assert report.notes == (
        "rows of several requests never share a run: its inputs and outputs do not share a symbolic first axis",
    )


def test_a_model_whose_rows_depend_on_each_other_is_a_note(tmp_path: Path) -> None:
    def centred(inputs: Arrays) -> Arrays:
        return linear({"x": inputs["x"] - inputs["x"].mean(0, keepdims=True)})

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    report = checked(written(tmp_path / "m.onnx", nodes), centred)
    assert report.passed
    assert "differs from the row alone" in report.row_reason
    assert report.notes == (f"rows of several requests never share a run: {report.row_reason}",)


def test_operators_that_the_engine_lacks_come_all_at_once_and_nothing_is_loaded(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Wobble", ["x"], ["a"], name="one"),
        helper.make_node("Quiver", ["a"], ["y"], name="two"),
    ]
    report = checked(written(tmp_path / "m.onnx", nodes))
    assert [problem.split(" ")[0] for problem in report.problems] == ["Wobble", "Quiver"]
    assert report.compared == 0


def test_an_export_that_the_boxs_engine_is_too_old_for_is_a_problem(tmp_path: Path) -> None:
    older = EngineLimits("onnxruntime 1.9.0", opset=15, ir=8)
    report = checked(written(tmp_path / "m.onnx"), limits=older)
    assert "opset 17, onnxruntime 1.9.0 reads up to 15" in report.problems[0]


def test_another_shape_or_datatype_is_told(tmp_path: Path) -> None:
    report = checked(
        written(tmp_path / "m.onnx"), lambda inputs: {"y": linear(inputs)["y"].astype(np.float64)}
    )
    assert "y of 1 rows: expected float64 [1, 3], got float32 [1, 3]" in report.problems


def test_an_original_that_answers_nothing_proves_nothing(tmp_path: Path) -> None:
    def refuses(_: Arrays) -> Arrays:
        raise ValueError("no")

    report = checked(written(tmp_path / "m.onnx"), refuses)
    assert report.problems == (
        "the original answers none of the inputs made from its signature; nothing shows that both agree",
    )


def test_real_inputs_are_compared_too(tmp_path: Path) -> None:
    real = {"x": np.full((3, 4), 7.0, np.float32)}
    assert checked(written(tmp_path / "m.onnx"), inputs=(real,)).compared == 7


@pytest.mark.parametrize(
    ("expected", "value", "passed"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], True),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([1000.0, 0.0], [1000.0, 0.01], True),
        ([1000.0, 0.0], [1000.0, 1.0], False),
        ([0.0, 0.0], [0.0, 0.0], True),
    ],
)
def test_rounding_is_measured_against_the_largest_value(
    expected: list[float], value: list[float], passed: bool
) -> None:
    difference = difference_of("y", np.array(expected, np.float32), np.array(value, np.float32), 1)
    assert not isinstance(difference, str)
    assert difference.passed is passed


def test_whole_numbers_must_be_the_same() -> None:
    difference = difference_of("y", np.array([1_000_000]), np.array([1_000_001]), 1)
    assert not isinstance(difference, str)
    assert not difference.passed
