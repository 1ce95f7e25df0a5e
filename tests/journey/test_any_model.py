"""Must show: a project with only name, version and model path works for models that nobody prepared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from numpy.typing import NDArray
from tests.journey.conftest import Server, make_keys, pack_and_install, sealift

from sealift.check.golden import decode_set
from sealift.cli.services import project_service, release_service
from sealift.engine.choose import engine_for
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelFailed
from sealift.model.examples import example_candidates
from sealift.model.service import ServedModel

pytestmark = pytest.mark.slow
Zoo = dict[str, Callable[[Path], Path]]


@dataclass(frozen=True)
class Menagerie:
    """All models of the zoo as one service."""

    folder: Path
    models: dict[str, ServedModel]
    server: Server

    def goldens(self, name: str) -> Path:
        return self.folder / "box" / "current" / "zoo" / "application" / "goldens" / f"{name}.json"


@pytest.fixture(scope="module")
def menagerie(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Menagerie]:
    folder = tmp_path_factory.mktemp("zoo")
    lines = ["[project]", 'name = "zoo"', 'version = "1"']
    for name, build in zoo.items():
        (folder / "project" / name).mkdir(parents=True)
        path = build(folder / "project" / name)
        lines += [f"[models.{name}]", f'path = "{path.relative_to(folder / "project")}"']
    (folder / "project" / "sealift.toml").write_text("\n".join(lines))
    make_keys(folder)
    pack_and_install(folder, "project")
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "zoo", "--port", "0"], folder)
    service = release_service((folder / "box" / "current" / "zoo").resolve())
    yield Menagerie(folder, {model.name: model for model in service.models}, server)
    assert server.stop() == 0
    server.log.close()


def in_process(model: ServedModel, seed: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Inputs that run, and what onnxruntime gives for them in this process."""
    session = engine_for(model.path).load(model.path, EngineOptions(threads=1))
    for inputs in example_candidates(model.signature, seed=seed):
        with suppress(ModelFailed):
            return inputs, session.run(inputs)
    raise AssertionError(f"{model.name}: no example input runs")


def infer(menagerie: Menagerie, model: ServedModel, inputs: dict[str, NDArray[Any]], binary: bool) -> Any:
    client = triton.InferenceServerClient(menagerie.server.address)
    tensors = []
    for spec in model.signature.inputs:
        tensor = triton.InferInput(spec.name, list(inputs[spec.name].shape), spec.datatype)
        tensor.set_data_from_numpy(inputs[spec.name], binary_data=binary)
        tensors.append(tensor)
    wanted = [triton.InferRequestedOutput(spec.name, binary_data=binary) for spec in model.signature.outputs]
    try:
        return client.infer(model.name, tensors, outputs=wanted)
    finally:
        client.close()


def assert_close(got: NDArray[Any], expected: NDArray[Any]) -> None:
    assert got.shape == expected.shape
    if expected.dtype.kind == "O":
        shown = [item.decode() if isinstance(item, bytes) else item for item in got.ravel()]
        assert shown == [str(item) for item in expected.ravel()]
    elif expected.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_triton_client_gets_what_onnxruntime_gives(
    binary: bool, menagerie: Menagerie, zoo_name: str
) -> None:
    model = menagerie.models[zoo_name]
    inputs, expected = in_process(model, seed=11)
    if not inputs:  # tritonclient itself refuses a request without tensors
        url = f"{menagerie.server.url}/v2/models/{zoo_name}/infer"
        outputs = requests.post(url, json={"inputs": []}, timeout=30).json()["outputs"]
        assert {output["name"] for output in outputs} == set(expected)
        return
    if not binary and any(
        spec.datatype == "FP16" for spec in (*model.signature.inputs, *model.signature.outputs)
    ):
        binary = True  # tritonclient itself refuses FP16 as JSON
    result = infer(menagerie, model, inputs, binary)
    for spec in model.signature.outputs:
        assert_close(result.as_numpy(spec.name), expected[spec.name])


def test_people_can_send_plain_lists(menagerie: Menagerie, zoo_name: str) -> None:
    model = menagerie.models[zoo_name]
    inputs, expected = in_process(model, seed=12)
    body = {"inputs": {name: array.tolist() for name, array in inputs.items()}}
    answer = requests.post(f"{menagerie.server.url}/predict/{zoo_name}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    prediction = answer.json()["prediction"]
    outputs = prediction if len(expected) > 1 else {next(iter(expected)): prediction}
    for name, value in expected.items():
        got = np.array(outputs[name], dtype=value.dtype if value.dtype.kind != "O" else object)
        assert_close(got, value)


def test_its_goldens_were_recorded_from_the_signature(menagerie: Menagerie, zoo_name: str) -> None:
    recorded = decode_set(menagerie.goldens(zoo_name).read_bytes())
    assert len(recorded.goldens) == 3, recorded.reason


def test_a_batch_is_allowed_only_where_every_edge_has_the_axis(menagerie: Menagerie, zoo_name: str) -> None:
    recorded = decode_set(menagerie.goldens(zoo_name).read_bytes())
    if menagerie.models[zoo_name].signature.batch_axis is None:
        assert recorded.batch_reason


def test_inspect_lists_every_model(menagerie: Menagerie) -> None:
    facts = json.loads(sealift("inspect", "bundle", "--json", cwd=menagerie.folder))
    assert {model["name"] for model in facts["models"]} == set(menagerie.models)
    assert len(facts["models"]) >= 10


def test_the_smallest_project_file_is_enough(zoo: Zoo, zoo_name: str, tmp_path: Path) -> None:
    path = zoo[zoo_name](tmp_path)
    relative = path.relative_to(tmp_path)
    (tmp_path / "sealift.toml").write_text(
        f'[project]\nname = "one"\nversion = "1"\n[model]\npath = "{relative}"\n'
    )
    service = project_service(tmp_path, tmp_path / "adapted")
    inputs, outputs = in_process(service.models[0], seed=13)
    assert set(inputs) == {spec.name for spec in service.models[0].signature.inputs}
    assert set(outputs) == {spec.name for spec in service.models[0].signature.outputs}
