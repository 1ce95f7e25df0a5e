"""Recording and checking, in process, with models that run, do not run, or are not the same twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import NodeProto, TensorProto, helper, numpy_helper
from tests import coupled_nets

from sealift.check.golden import GoldenSet, decode_set, encode_set, read_batch_reason
from sealift.check.record import record_service
from sealift.check.report import NEVER_HERE, Finding
from sealift.check.run import _Memory, check_service
from sealift.engine.tuning import forget_peak
from sealift.errors import StoreError, UsageError
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.onnx_graph import read_signature
from sealift.model.schema import BATCHING
from sealift.model.service import ServedModel, Service
from sealift.model.settings import Schema, Settings


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


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (coupled_nets.batch_mean, "output y of a row among 2 differs from the row alone"),
        (coupled_nets.dynamic_int8, "output y of a row among 2 differs from the row alone"),
        (coupled_nets.fixed_batch, "its inputs and outputs do not share a symbolic first axis"),
    ],
    ids=["row-coupled", "dynamic int8", "no batch axis"],
)
def test_rows_that_see_each_other_are_never_batched(
    tmp_path: Path, net: Callable[[Path], Path], why: str
) -> None:
    """A row alone is not the row among others; the check on the box says so again, with the reason."""
    service = service_of(net(tmp_path / "m"))
    recorded, notes = record(service, tmp_path / "goldens")
    assert recorded.batch_reason == why
    assert notes == (f"model m is not batched: {why}",)
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    assert report.golden_checked
    assert report.max_rows == {"m": 1}
    assert report.findings[-1] == Finding("batching of m", True, f"not batched: {why}")


def test_a_table_is_batched_as_far_as_it_pays_on_this_box(tmp_path: Path) -> None:
    service = service_of(coupled_nets.table(tmp_path / "m"))
    recorded, notes = record(service, tmp_path / "goldens")
    assert (recorded.batch_reason, notes) == ("", ())
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    rows = report.max_rows["m"]
    assert rows in (4, 8, 16, 32)
    said = report.findings[-1].detail
    assert re.fullmatch(rf"batches up to {rows} rows: [0-9.]+x the rows/s of one", said)
    bounded = replace(Schema(), settings={**Schema().settings, **{each.name: each for each in BATCHING}})
    report = check_service(service, tmp_path / "goldens", bounded.resolve({"batch_max": 3}))
    assert report.findings[-1].detail.endswith("x the rows/s of one; this box sets at most 3")


def test_rows_that_do_not_stay_what_they_are_on_this_box_are_never_batched_here(tmp_path: Path) -> None:
    """Where it was packed nothing was seen of it: another processor, another engine path."""
    service = service_of(coupled_nets.dynamic_int8(tmp_path / "m"))
    recorded, _ = record(service, tmp_path / "goldens")
    (tmp_path / "goldens" / "m.json").write_bytes(encode_set(structs.replace(recorded, batch_reason="")))
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    assert report.max_rows == {"m": NEVER_HERE}
    assert report.findings[-1].detail == (
        "not batched: on this box output y of a row among 2 differs from the row alone"
    )


def test_neither_batches_that_are_too_long_nor_such_as_do_not_fit_are_chosen(tmp_path: Path) -> None:
    service = service_of(coupled_nets.table(tmp_path / "m"))
    record(service, tmp_path / "goldens")
    report = check_service(service, tmp_path / "goldens", settings(slo=0.001, memory=10))
    assert report.max_rows == {"m": 1}
    assert "not batched: two rows are more than time or memory permit" in report.findings[-2].detail


def test_what_is_held_to_try_something_out_is_not_the_peak() -> None:
    forget_peak()
    memory = _Memory()
    before_mb = memory.peak_mb()
    tried = np.ones(200_000_000, np.uint8)
    del tried
    memory.leave_out()
    assert memory.trials_bytes > 150e6
    assert memory.peak_mb() < before_mb + 50


def test_a_reason_is_read_without_the_rest_of_the_goldens(tmp_path: Path) -> None:
    record(service_of(coupled_nets.fixed_batch(tmp_path / "m")), tmp_path / "goldens")
    place = tmp_path / "goldens" / "m.json"
    assert read_batch_reason(place) == "its inputs and outputs do not share a symbolic first axis"
    record(service_of(linear(tmp_path / "l")), tmp_path / "goldens")
    assert read_batch_reason(place) == ""
    assert read_batch_reason(tmp_path / "none.json") == "not proven when it was packed"
    place.write_text("{")
    with pytest.raises(StoreError, match=r"m\.json: damaged"):
        read_batch_reason(place)


def test_whole_numbers_that_a_model_does_not_know_do_not_end_the_pack(tmp_path: Path) -> None:
    """Turned round they stand in columns where they mean nothing."""
    columns = coupled_nets.two_columns(tmp_path / "m")
    given_rows = given(tmp_path, '{"inputs": {"x": [[1, 900]]}}')
    (given_rows / "b.json").write_text('{"inputs": {"x": [[0, 7]]}}')
    recorded, notes = record(service_of(columns), tmp_path / "goldens", given_rows)
    assert (recorded.batch_reason, notes) == ("", ())
    assert len(recorded.goldens) == 2


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
    assert [finding.ok for finding in report.findings] == [False, True, True, True, True]
    assert "cannot load it" in report.problems[0]


def test_a_release_for_a_gpu_is_recorded_on_the_processor_and_refused_where_there_is_none(
    tmp_path: Path,
) -> None:
    cuda = service_of(linear(tmp_path / "m"))
    cuda = replace(cuda, models=(replace(cuda.models[0], device=("cuda",)),))
    recorded, notes = record(cuda, tmp_path / "goldens")
    assert notes == ("golden inputs of m were recorded on cpu: this machine has no cuda",)
    assert len(recorded.goldens) == 3
    report = check_service(cuda, tmp_path / "goldens")
    (problem,) = report.problems
    assert problem.startswith("model m: model.onnx: device cuda: cuda cannot be used: ")
    assert not report.golden_checked


def test_an_explicit_fall_back_to_the_processor_is_said(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    both = replace(service, models=(replace(service.models[0], device=("cuda:1", "cpu")),))
    record(both, tmp_path / "goldens")
    report = check_service(both, tmp_path / "goldens")
    assert report.ok
    assert report.findings[0].detail.startswith("loads, runs on cpu, degraded: cuda:1 cannot be used: ")


def test_an_opset_that_the_engine_does_not_know_is_named(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    record(service, tmp_path / "goldens")
    proto = onnx.load(service.models[0].path)
    proto.ir_version = 99
    onnx.save(proto, service.models[0].path)
    report = check_service(service, tmp_path / "goldens")
    assert "Unsupported model IR version: 99" in report.problems[0]


def test_a_latency_and_a_memory_that_are_promised_are_held(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    record(service, tmp_path / "goldens")
    report = check_service(service, tmp_path / "goldens", settings(slo=1000, memory=5000))
    assert report.ok
    said = {finding.name: finding.detail for finding in report.findings}
    assert re.fullmatch(r"p99 \d+\.\d\d ms of 100 runs, 1000 ms are permitted", said["latency of m"])
    assert re.fullmatch(r"\d+ MB at the peak, 5000 MB are permitted", said["memory"])
    assert report.latency_ms["m"] <= report.latency_p99_ms["m"]


def test_a_latency_and_a_memory_above_what_is_promised_fail_with_both_figures(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    record(service, tmp_path / "goldens")
    report = check_service(service, tmp_path / "goldens", settings(slo=0.001, memory=10))
    assert report.golden_checked
    latency, memory = report.problems
    assert re.fullmatch(
        r"latency of m: expected a p99 of at most 0\.001 ms \(slo\.latency_p99_ms\), found p99 \d+\.\d\d ms of 100 "
        r"runs, then p99 \d+\.\d\d ms of 100 runs; give it more threads, .*",
        latency,
    )
    assert re.fullmatch(
        r"memory: expected at most 10 MB \(limits\.max_memory_mb\), found \d+ MB at the peak; .*", memory
    )


def test_damaged_or_missing_goldens_are_a_finding(tmp_path: Path) -> None:
    service = service_of(linear(tmp_path / "m"))
    assert "goldens/m.json: No such file" in check_service(service, tmp_path / "goldens").problems[0]
    (tmp_path / "goldens").mkdir()
    (tmp_path / "goldens" / "m.json").write_text("{}")
    assert "goldens/m.json: damaged: " in check_service(service, tmp_path / "goldens").problems[0]


@pytest.mark.slow
def test_the_whole_pipeline_is_measured_handler_included(tmp_path: Path) -> None:
    service = with_handler(
        service_of(linear(tmp_path / "m")),
        tmp_path,
        "import time\ndef preprocess(body):\n    time.sleep(0.01)\n    return [1, 2, 3, 4]\n",
    )
    record(service, tmp_path / "goldens", given(tmp_path))
    report = check_service(service, tmp_path / "goldens", settings(slo=5))
    assert report.latency_p99_ms["m"] > 10
    assert "expected a p99 of at most 5 ms" in report.problems[0]


def test_a_given_input_that_the_handler_cannot_answer_is_refused_when_it_is_packed(tmp_path: Path) -> None:
    service = with_handler(
        service_of(linear(tmp_path / "m")), tmp_path, "def postprocess(y):\n    raise KeyError('label')\n"
    )
    payloads = given(tmp_path, '{"inputs": {"x": [1, 2, 3, 4]}}')
    with pytest.raises(UsageError) as caught:
        record(service, tmp_path / "goldens", payloads)
    assert "KeyError: 'label'" in caught.value.problems[0]


def test_made_up_tensors_that_mean_nothing_to_a_handler_measure_the_run_alone(tmp_path: Path) -> None:
    service = with_handler(
        service_of(linear(tmp_path / "m")), tmp_path, "def postprocess(y):\n    raise KeyError('label')\n"
    )
    record(service, tmp_path / "goldens")
    report = check_service(service, tmp_path / "goldens")
    assert report.ok
    assert report.latency_p99_ms["m"] > 0


def settings(slo: float = 1000, memory: float = 5000) -> Settings:
    return Schema().resolve({"slo": {"latency_p99_ms": slo}, "limits": {"max_memory_mb": memory}})


def with_handler(service: Service, folder: Path, code: str) -> Service:
    (folder / "handler.py").write_text(code)
    return replace(service, models=(replace(service.models[0], handler=folder / "handler.py"),))


def given(folder: Path, text: str = "{}") -> Path:
    (folder / "given").mkdir()
    (folder / "given" / "a.json").write_text(text)
    return folder / "given"
