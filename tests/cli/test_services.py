"""What a worker serves: the release, with this box's threshold and devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.release_trees import release_document
from tests.serve.nets import mlp

from sealift.check.golden import GoldenSet, encode_set
from sealift.check.report import NEVER_HERE
from sealift.cli.serve import _as_checked
from sealift.cli.services import Chosen, predictor_options, project_service, release_service, release_settings
from sealift.cli.worker import _rows_of, _variant_of
from sealift.errors import BadSettings, ModelError, StoreError
from sealift.model.declaration import Output, ScoresOutput, TensorInput, TensorOutput
from sealift.model.schema import BATCHING, THRESHOLD, Schema
from sealift.model.service import PROVEN_AT_LOAD, UNPROVEN, Batching, ServedModel, Service, Variant
from sealift.model.service_json import dump_models, load_models
from sealift.model.settings import PLACE, encode_schema
from sealift.model.signature import Signature
from sealift.store.releases import InstalledRelease
from sealift.target.target import Target


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A release of two models, one of which answers with a score."""
    application = tmp_path / "tree" / "application"
    application.mkdir(parents=True)
    signature = Signature(inputs=(), outputs=())
    outputs: dict[str, Output] = {
        "desk": TensorOutput(),
        "fraud": ScoresOutput(positive="fraud", threshold=0.83),
    }
    models = [
        ServedModel(name, application / f"{name}.onnx", signature, TensorInput(), output, device=("cuda",))
        for name, output in outputs.items()
    ]
    (application / "service.json").write_bytes(dump_models(models, application))
    batching = [replace(each, name=f"models.{name}.{each.name}") for name in outputs for each in BATCHING]
    schema = Schema(
        {
            **Schema().settings,
            "threshold": THRESHOLD.with_default(0.83),
            **{each.name: each for each in batching},
        }
    )
    (application / "goldens").mkdir()
    for name, reason in {"desk": "its rows see each other", "fraud": ""}.items():
        recorded = GoldenSet(model=name, batch_reason=reason)
        (application / "goldens" / f"{name}.json").write_bytes(encode_set(recorded))
    (application.parent / PLACE).write_bytes(encode_schema(schema, {}, {}))
    target = Target(platform="linux-x86_64", python="3.11", glibc="2.31")
    (application.parent / "release.json").write_bytes(release_document("fraud", "1.0", target))
    return application.parent


def site(tree: Path, text: str) -> Path:
    path = tree.parent / "fraud.toml"
    path.write_text(text)
    return path


def thresholds(models: tuple[ServedModel, ...]) -> list[float | None]:
    return [model.output.threshold if isinstance(model.output, ScoresOutput) else None for model in models]


def test_without_a_site_file_the_release_serves_as_it_was_packed(tree: Path) -> None:
    for given in (None, tree.parent / "not there.toml"):
        service = release_service(tree, given)
        assert (service.name, service.version) == ("fraud", "1.0")
        assert thresholds(service.models) == [None, 0.83]
        assert [model.device for model in service.models] == [("cuda",)] * 2
        assert predictor_options(release_settings(tree, given)).threads == 0


def test_threshold_devices_and_threads_of_the_site_file_count(tree: Path) -> None:
    path = site(tree, 'threshold = 0.5\ndevice = ["cuda:1", "cpu"]\nthreads = 3\n')
    service = release_service(tree, path)
    assert thresholds(service.models) == [None, 0.5]
    assert [model.device for model in service.models] == [("cuda:1", "cpu")] * 2
    assert predictor_options(release_settings(tree, path)).threads == 3


def test_a_site_file_that_the_release_does_not_take_serves_nothing(tree: Path) -> None:
    with pytest.raises(BadSettings, match=r"fraud\.toml: 1 problem"):
        release_service(tree, site(tree, "treshold = 0.5\n"))


def batching(service: Service) -> dict[str, Batching]:
    return {model.name: model.batching for model in service.models}


def test_what_the_check_measured_is_served_where_the_proof_permits(tree: Path) -> None:
    found = batching(release_service(tree, None, Chosen({"desk": 1, "fraud": 16})))
    assert found == {
        "desk": Batching("its rows see each other", 1, 0.0),
        "fraud": Batching("", 16, 0.0),
    }
    assert batching(release_service(tree))["fraud"] == Batching("", 0, 0.0), "not measured"


def test_a_box_may_set_rows_and_wait_but_not_what_is_not_proven(tree: Path) -> None:
    text = "[models.fraud]\nbatch_max = 4\nbatch_wait_ms = 2\n[models.desk]\nbatch_max = 8\n"
    found = batching(release_service(tree, site(tree, text), Chosen({"desk": 1, "fraud": 16})))
    assert found["fraud"] == Batching("", 4, 0.002)
    assert found["desk"].reason == "its rows see each other"
    never = batching(release_service(tree, site(tree, text), Chosen({"fraud": NEVER_HERE})))["fraud"]
    assert never.reason == "on this box a row among others was not the row alone when it was checked"


def test_without_a_proof_nothing_is_batched_and_a_damaged_one_is_said(tree: Path) -> None:
    place = tree / "application" / "goldens" / "fraud.json"
    place.unlink()
    assert batching(release_service(tree, None, Chosen({"fraud": 16})))["fraud"].reason == UNPROVEN
    place.write_bytes(b"")
    with pytest.raises(StoreError, match=r"fraud\.json: damaged"):
        release_service(tree)


def test_what_was_measured_travels_on_the_workers_command_line(tree: Path) -> None:
    """Each release brings its own: after a rollback the old one's figures count again."""
    check: dict[str, Any] = {"max_rows": {"b.c": 16, "a": 0}, "variants": {"a": "int8-static"}}
    release = InstalledRelease("x", "1", "0" * 64, 1, tree, Path("/usr/bin/python3"), 1, 1, (), check)
    flags = _as_checked(release)
    assert flags == ["--max-rows=a=0", "--max-rows=b.c=16", "--variant=a=int8-static"]
    assert dict(_rows_of(flag.removeprefix("--max-rows=")) for flag in flags[:2]) == check["max_rows"]
    assert _variant_of("b.c=int8-static") == ("b.c", "int8-static")
    assert _as_checked(replace(release, check={})) == [], "an older sealift knows no such flag"


def test_the_variant_that_the_check_chose_answers_with_its_own_proof(tree: Path) -> None:
    application = tree / "application"
    models = load_models((application / "service.json").read_bytes(), application)
    other = application / "models" / "other.onnx"
    variants = (Variant("fp32", models[0].path), Variant("int8-static", other, precision="int8"))
    changed = (replace(models[0], variants=variants), *models[1:])
    (application / "service.json").write_bytes(dump_models(changed, application))
    goldens = application / "goldens" / f"{models[0].name}@int8-static.json"
    goldens.write_bytes(encode_set(GoldenSet(model=models[0].name, batch_reason="its rows see each other")))
    plain = release_service(tree).models[0]
    assert (plain.variant, plain.path) == ("fp32", models[0].path)
    chosen = release_service(tree, None, Chosen(variants={models[0].name: "int8-static"})).models[0]
    assert (chosen.variant, chosen.path, chosen.precision) == ("int8-static", other, "int8")
    assert chosen.batching.reason == "its rows see each other"
    with pytest.raises(ModelError, match="has no variant 'fp16'"):
        release_service(tree, None, Chosen(variants={models[0].name: "fp16"}))


def test_a_project_is_proven_when_it_is_loaded(tmp_path: Path) -> None:
    mlp(tmp_path / "model.onnx")
    (tmp_path / "sealift.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n[model]\npath = "model.onnx"\n'
    )
    service = project_service(tmp_path, tmp_path / "adapted")
    assert batching(service) == {"x": Batching(PROVEN_AT_LOAD)}
