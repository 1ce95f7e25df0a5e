"""What a worker serves: the release, with this box's threshold and devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release_trees import release_document

from sealift.cli.services import predictor_options, release_service, release_settings
from sealift.errors import BadSettings
from sealift.model.declaration import Output, ScoresOutput, TensorInput, TensorOutput
from sealift.model.schema import THRESHOLD, Schema
from sealift.model.service import ServedModel
from sealift.model.service_json import dump_models
from sealift.model.settings import PLACE, encode_schema
from sealift.model.signature import Signature
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
    schema = Schema({**Schema().settings, "threshold": THRESHOLD.with_default(0.83)})
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
