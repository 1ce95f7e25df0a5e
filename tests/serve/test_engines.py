"""A project folder with a model of any engine -> answers over HTTP; and what a fall-back tells everybody."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.engine.made_models import photos, write_exported, write_ir, write_onnx, write_script
from tests.serve.running import Serving

from sealift.engine.choose import engine_for
from sealift.engine.protocol import EngineOptions
from sealift.errors import ProjectError
from sealift.model.service import Service
from sealift.model.service_json import dump_models, load_models
from sealift.project.file import load_project
from sealift.project.scaffold import init_project
from sealift.project.served import prepare_models

pytestmark = pytest.mark.slow

HEAD = '[project]\nname = "photos"\nversion = "1.0.0"\n[model]\n'
PHOTO = """
[model.input]
kind = "image"
size = [32, 32]
mean = [127, 127, 127]
std = [128, 128, 128]
[model.output]
kind = "classes"
labels = ["a", "b", "c", "d", "e"]
"""


def service(folder: Path, declared: str) -> Service:
    """The folder's models as a release carries them, read back from its service.json."""
    (folder / "sealift.toml").write_text(HEAD + declared)
    out = folder.parent / "release"
    models = prepare_models(load_project(folder), out).models
    return Service("photos", "1.0.0", load_models(dump_models(models, out), out))


def photo() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (40, 50, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What onnxruntime answers to the photo."""
    folder = tmp_path_factory.mktemp("onnx") / "project"
    folder.mkdir()
    write_onnx(folder / "model.onnx")
    return asked(Serving(service(folder, 'path = "model.onnx"\n' + PHOTO)))[0]


def asked(serving: Serving) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer to the photo, and the model's metadata."""
    try:
        answer = serving.ask("POST", "/predict", photo(), {"Content-Type": "image/png"})
        assert answer.status == 200, answer.body
        return answer.json(), serving.ask("GET", "/v2/models/photos").json()
    finally:
        assert serving.stop() == 0


@pytest.mark.parametrize(
    ("write", "declared", "platform"),
    [
        (write_script, 'path = "model.pt"', "pytorch_libtorch"),
        (write_exported, 'path = "model.pt2"', "pytorch_libtorch"),
        (write_ir, 'path = "model.xml"', "openvino"),
        (write_onnx, 'path = "model.onnx"\nengine = "openvino"', "openvino"),
    ],
    ids=["torchscript", "exported", "ir", "onnx on openvino"],
)
def test_a_folder_with_a_model_of_any_engine_serves(
    tmp_path: Path, expected: dict[str, Any], write: Callable[[Path], Path], declared: str, platform: str
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder / declared.split('"')[1])
    answer, metadata = asked(Serving(service(folder, declared + "\n" + PHOTO)))
    assert answer["label"] == expected["label"]
    pairs = zip(answer["probabilities"], expected["probabilities"], strict=True)
    for found, wanted in pairs:
        assert found["label"] == wanted["label"]
        assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-5)
    assert sum(entry["probability"] for entry in answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert metadata["platform"] == platform
    assert [(spec["name"], spec["shape"]) for spec in metadata["inputs"]] == [("image", [-1, 3, 32, 32])]


def test_a_torchscript_file_without_shapes_is_refused_with_the_tables_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    write_script(folder / "model.pt")
    with pytest.raises(ProjectError) as refused:
        service(folder, 'path = "model.pt"\n')
    (problem,) = refused.value.problems
    assert problem.startswith("model photos: model.pt takes 1 tensors (image), none declared")
    assert '[[model.inputs]] name = "image" datatype = "FP32"' in problem


def test_declared_tensors_serve_over_the_open_inference_protocol(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = write_script(folder / "model.pt")
    tables = '[[model.inputs]]\nname = "photo"\ndatatype = "FP32"\nshape = ["n", 3, 32, 32]\n'
    tables += '[[model.outputs]]\nname = "chances"\ndatatype = "FP32"\nshape = ["n", 5]\n'
    serving = Serving(service(folder, f'path = "model.pt"\n{tables}'))
    try:
        x = photos(2)
        tensor = {"name": "photo", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
        answer = serving.post("/v2/models/photos/infer", {"inputs": [tensor]}).json()
    finally:
        assert serving.stop() == 0
    (found,) = answer["outputs"]
    wanted = engine_for(path).load(path, EngineOptions()).run({"image": x})["output"]
    assert (found["name"], found["shape"]) == ("chances", [2, 5])
    np.testing.assert_allclose(np.reshape(found["data"], (2, 5)), wanted, atol=1e-6)


@pytest.mark.parametrize("write", [write_onnx, write_script], ids=["onnxruntime", "torch"])
def test_a_worker_on_a_fall_back_says_so_in_beat_header_and_metric(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    name = "model.onnx" if write is write_onnx else "model.pt"
    write(folder / name)
    whole = service(folder, f'path = "{name}"\ndevice = ["cuda:1", "cpu"]\n{PHOTO}')
    serving = Serving(whole)
    try:
        degraded = serving.thread.call(serving.worker.beat).degraded
        answer = serving.ask("POST", "/predict", photo(), {"Content-Type": "image/png"})
        missed = serving.ask("GET", "/nowhere")
        metrics = serving.ask("GET", "/metrics").body.decode()
    finally:
        assert serving.stop() == 0
    assert (answer.status, answer.headers["x-sealift-degraded"]) == (200, "cuda:1->cpu")
    assert (missed.status, missed.headers["x-sealift-degraded"]) == (404, "cuda:1->cpu")
    assert 'sealift_degraded{model="photos",device="cpu",wanted="cuda:1"} 1' in metrics
    assert degraded.startswith("photos runs on cpu: cuda:1 cannot be used: the installed ")
    fine = Serving(replace(whole, models=tuple(replace(model, device=("cpu",)) for model in whole.models)))
    try:
        assert fine.thread.call(fine.worker.beat).degraded == ""
        assert "x-sealift-degraded" not in fine.ask("GET", "/healthz").headers
    finally:
        assert fine.stop() == 0


def test_init_writes_the_tables_of_a_torchscript_file_and_the_folder_loads(tmp_path: Path) -> None:
    made = init_project(tmp_path / "photos", model=write_script(tmp_path / "net.pt"))
    text = made[0].read_text()
    assert "# TorchScript tells no shapes. CHECK datatype and shape" in text
    (entry,) = load_project(tmp_path / "photos").models
    assert [(spec.name, spec.shape) for spec in entry.inputs] == [("image", ("batch", 1))]
    made = init_project(tmp_path / "ir", model=write_ir(tmp_path / "net.xml"))
    assert {path.name for path in made} == {"sealift.toml", "net.xml", "net.bin"}
    assert 'kind = "image"' in made[0].read_text(), "the file tells that it takes photos"


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.xml"])
def test_preparing_a_model_of_another_format_needs_no_onnx(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    {"model.pt": write_script, "model.pt2": write_exported, "model.xml": write_ir}[name](folder / name)
    (folder / "sealift.toml").write_text(f'{HEAD}path = "{name}"\n{PHOTO}')
    code = (
        "import sys, pathlib; sys.modules['onnx'] = None; sys.modules['onnxruntime'] = None\n"
        "from sealift.project.file import load_project\n"
        "from sealift.project.served import prepare_models\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "print(prepare_models(load_project(folder), folder.parent / 'out').models[0].path.name)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == name


def test_the_grpc_face_says_it_too(tmp_path: Path) -> None:
    import grpc
    from tests.serve.grpc_running import GrpcServing

    folder = tmp_path / "project"
    folder.mkdir()
    write_onnx(folder / "model.onnx")
    serving = GrpcServing(service(folder, f'path = "model.onnx"\n{PHOTO}'))
    try:
        serving.thread.call(lambda: serving.server.connections.tell_degraded("cuda->cpu"))
        with grpc.insecure_channel(serving.host) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            _, call = live.with_call(b"", timeout=10)
        assert dict(call.initial_metadata())["x-sealift-degraded"] == "cuda->cpu"
    finally:
        serving.stop()
