"""A model that travels in several variants: each is recorded, and the box runs the quickest that holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sealift.check.canary import load_canary
from sealift.check.golden import golden_file, read_set
from sealift.check.record import record_service
from sealift.check.report import CheckReport, decode_report
from sealift.check.run import check_service
from sealift.check.variants import quickest
from sealift.errors import ModelError
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.onnx_graph import read_signature
from sealift.model.service import ServedModel, Service, Variant

WIDE = 512


def net(folder: Path, layers: int, shift: float = 0.0) -> Path:
    """x [batch, 512] -> y [batch, 512] through `layers` products: more layers, more time."""
    weight = np.eye(WIDE, dtype=np.float32) + np.float32(shift)
    nodes: list[NodeProto] = []
    value = "x"
    for number in range(layers):
        out = "y" if number == layers - 1 else f"h{number}"
        nodes.append(helper.make_node("MatMul", [value, "w"], [out]))
        value = out
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDE])
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(weight, "w")])
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def service_of(*variants: Variant) -> Service:
    signature = read_signature(variants[0].path)
    model = ServedModel("m", variants[0].path, signature, TensorInput(), TensorOutput(), variants=variants)
    return Service("x", "1", (model.running_as(variants[0].name),))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    slow, quick = net(tmp_path / "slow", 40), net(tmp_path / "quick", 1)
    return service_of(Variant("slow", slow), Variant("quick", quick, precision="int8"))


def test_every_variant_has_golden_inputs_of_its_own(service: Service, tmp_path: Path) -> None:
    assert record_service(service, None, tmp_path / "goldens") == ()
    assert sorted(path.name for path in (tmp_path / "goldens").iterdir()) == ["m.json", "m@quick.json"]
    first, second = (read_set(tmp_path / "goldens" / name) for name in ("m.json", "m@quick.json"))
    tolerances = [each.goldens[0].outputs[0].tolerance for each in (first, second)]
    assert tolerances[1] > 64 * tolerances[0], "INT8 may fall on either side of a step"


@pytest.mark.slow
def test_the_box_runs_the_quickest_and_says_so(service: Service, tmp_path: Path) -> None:
    record_service(service, None, tmp_path / "goldens")
    report = check_service(service, tmp_path / "goldens")
    assert report.ok, report.problems
    assert report.variants == {"m": "quick"}
    assert report.summary()["variants"] == {"m": "quick"}
    assert decode_report(report.encode()).variants == {"m": "quick"}
    found = next(finding for finding in report.findings if finding.name == "variants of m")
    assert found.detail.startswith("quick answers here: ")
    assert "; slow " in found.detail


@pytest.mark.slow
def test_a_variant_that_answers_otherwise_is_left_out_and_the_release_stands(
    service: Service, tmp_path: Path
) -> None:
    record_service(service, None, tmp_path / "goldens")
    model = service.models[0]
    damaged = replace(model.variants[1], path=net(tmp_path / "damaged", 1, shift=0.5))
    other = replace(service, models=(replace(model, variants=(model.variants[0], damaged)),))
    report = check_service(other, tmp_path / "goldens")
    assert report.ok
    assert report.variants == {"m": "slow"}
    assert "quick left out: golden input signature-1: output y: differs by" in report.findings[0].detail


@pytest.mark.slow
def test_where_no_variant_holds_the_first_says_what_is_wrong(service: Service, tmp_path: Path) -> None:
    record_service(service, None, tmp_path / "goldens")
    wrong = net(tmp_path / "wrong", 1, shift=0.5)
    model = service.models[0]
    variants = tuple(replace(variant, path=wrong) for variant in model.variants)
    other = replace(model, variants=variants).running_as("slow")
    report = check_service(replace(service, models=(other,)), tmp_path / "goldens")
    assert not report.ok
    assert report.problems[0].startswith("golden inputs of m: golden input signature-1: output y: differs")


def test_a_canary_holds_a_worker_against_its_own_variant(service: Service, tmp_path: Path) -> None:
    record_service(service, None, tmp_path / "goldens")
    running = replace(service, models=(service.models[0].running_as("quick"),))
    assert golden_file(tmp_path, running.models[0]).name == "m@quick.json"
    canary = load_canary(running, tmp_path / "goldens")
    assert canary is not None
    recorded = read_set(tmp_path / "goldens" / "m@quick.json").goldens
    assert [golden for _, golden in canary.turns] == list(recorded)


def test_a_variant_that_did_not_travel_is_refused_by_name(service: Service) -> None:
    with pytest.raises(ModelError, match=r"model m has no variant 'fp16' \(those that travel: slow, quick\)"):
        service.models[0].running_as("fp16")


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"a": 2.0, "b": 1.0}, "b"),
        ({"a": 1.0, "b": 2.0}, "a"),
        ({"a": 1.04, "b": 1.0}, "a"),
        ({"a": 1.06, "b": 1.0}, "b"),
        ({"a": 2.0}, "a"),
        ({}, "a"),
    ],
)
def test_another_than_the_first_has_to_be_clearly_quicker(times: dict[str, float], chosen: str) -> None:
    assert quickest(["a", "b"], times) == chosen


def test_a_report_of_an_older_sealift_chose_nothing() -> None:
    old = '{"findings": [], "golden_checked": true, "latency_ms": {}, "memory_mb": 1.0}'
    assert decode_report(old) == CheckReport((), True, {}, 1.0)
