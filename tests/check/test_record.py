"""Recording and checking, in process, with models that run, do not run, or are not the same twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sealift.check.golden import GoldenSet, decode_set
from sealift.check.record import record_service
from sealift.check.run import check_service
from sealift.errors import UsageError
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.onnx_graph import read_signature
from sealift.model.service import ServedModel, Service


def save(folder: Path, nodes: list[NodeProto], weights: list[TensorProto] | None = None) -> Path:
    """x [batch, 4] -> y [batch, ...]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph(nodes, "g", [x], [y], weights or [])
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def service_of(path: Path) -> Service:
    model = ServedModel("m", path, read_signature(path), TensorInput(), TensorOutput())
    return Service("x", "1", (model,))


def record(service: Service, folder: Path, payloads: Path | None = None) -> tuple[GoldenSet, tuple[str, ...]]:
    notes = record_service(service, payloads, folder)
    return decode_set((folder / "m.json").read_bytes()), notes


def weight(shift: float) -> TensorProto:
    return numpy_helper.from_array(np.full((4, 4), 0.5 + shift, np.float32), "w")


def linear(folder: Path, shift: float = 0.0) -> Path:
    return save(folder, [helper.make_node("MatMul", ["x", "w"], ["y"])], [weight(shift)])


def test_a_plain_model_is_recorded_from_its_signature_and_checks_out(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    recorded, notes = record(service, tmp_path / "goldens")
    assert notes == ()
    assert [golden.name for golden in recorded.goldens] == ["signature-1", "signature-2", "signature-3"]
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    assert report.golden_checked
    assert report.latency_ms["m"] > 0
    assert report.memory_mb > 10


def test_another_model_under_the_same_name_fails_the_check(tmp_path: Path) -> None:
    record(service_of(linear(tmp_path / "m")), tmp_path / "goldens")
    other = service_of(linear(tmp_path / "other", shift=0.01))
    report = check_service(other, tmp_path / "goldens")
    assert not report.ok
    assert report.problems[0].startswith(
        "golden inputs of m: golden input signature-1: output y: differs by "
    )


def test_recording_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    record(service, tmp_path / "one")
    record(service, tmp_path / "two")
    assert (tmp_path / "one" / "m.json").read_bytes() == (tmp_path / "two" / "m.json").read_bytes()


def test_a_random_model_is_marked_not_golden_checked(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    service = service_of(save(tmp_path / "m", nodes))
    recorded, notes = record(service, tmp_path / "goldens")
    assert recorded.goldens == ()
    assert notes[0].startswith("model m is not golden-checked: no output is the same twice")
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    assert not report.golden_checked


def test_rows_that_see_each_other_are_never_batched(tmp_path: Path) -> None:
    """Subtracting the mean over the batch: a row alone is not the row among others."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    recorded, notes = record(service_of(save(tmp_path / "m", nodes)), tmp_path / "goldens")
    assert recorded.batch_reason == "a row among 2 differs from the row alone"
    assert notes == ("model m is not batched: a row among 2 differs from the row alone",)


def test_given_inputs_are_kept_and_go_through_preprocessing(tmp_path: Path) -> None:
    payloads = tmp_path / "given"
    payloads.mkdir()
    (payloads / "one.json").write_text('{"inputs": {"x": [[1, 2, 3, 4]]}}')
    service = service_of(linear(tmp_path / "m"))
    recorded, _ = record(service, tmp_path / "goldens", payloads)
    assert [golden.payload for golden in recorded.goldens] == ["m/one.json"]
    assert recorded.goldens[0].outputs[0].tensor.array().tolist() == [[5.0] * 4]
    assert check_service(service, tmp_path / "goldens").golden_checked


def test_given_inputs_that_do_not_run_are_refused_together(tmp_path: Path) -> None:
    payloads = tmp_path / "given"
    payloads.mkdir()
    (payloads / "a.json").write_text('{"inputs": {"x": [[1, 2, 3]]}}')
    (payloads / "b.json").write_text("{")
    (payloads / "c.json").write_text('{"inputs": {"x": [[1, 2, 3, 4]]}}')
    with pytest.raises(UsageError) as caught:
        record(service_of(linear(tmp_path / "m")), tmp_path / "goldens", payloads)
    assert caught.value.message == "2 golden input(s) of m do not run"
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a.json", "b.json"]


def test_a_model_that_does_not_load_is_one_finding_among_the_others(tmp_path: Path) -> None:
    good = service_of(linear(tmp_path / "m"))
    record(good, tmp_path / "goldens")
    (tmp_path / "broken.onnx").write_bytes(b"junk")
    broken = replace(good.models[0], name="broken", path=tmp_path / "broken.onnx")
    report = check_service(replace(good, models=(broken, *good.models)), tmp_path / "goldens")
    assert [finding.ok for finding in report.findings] == [False, True, True]
    assert "cannot load it" in report.problems[0]
