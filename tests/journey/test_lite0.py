"""Must show: a real model all the way through, with every face giving onnxruntime's own scores."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import requests
import tritonclient.http as triton
from numpy.typing import NDArray
from PIL import Image
from tests.journey.conftest import Lite0, sealift

pytestmark = pytest.mark.slow
CATS = {281, 282, 285}
ESPRESSO = 967
CLOSE = 1e-5


def reference_input(photo: bytes) -> NDArray[np.float32]:
    """The model's pre-processing, written here once more: shorter side 256, bicubic, centre 224, (x-127)/128."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    scale = 256 / min(image.size)
    width, height = (int(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1)[None], np.float32)


@pytest.fixture(scope="module")
def in_process(lite0: Lite0) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(lite0.model, options)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(powers / powers.sum(), np.float64)


def posted(lite0: Lite0, way: str, photo: bytes) -> dict[str, Any]:
    url = f"{lite0.server.url}/predict"
    if way == "base64":
        answer = requests.post(url, json={"image": base64.b64encode(photo).decode()}, timeout=30)
    elif way == "raw":
        answer = requests.post(url, data=photo, headers={"Content-Type": "image/png"}, timeout=30)
    else:
        answer = requests.post(url, files={"image": ("photo.png", photo, "image/png")}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Sealift-Release"] == "lite0@1.0.0"
    assert answer.headers["X-Request-Id"]
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("way", ["base64", "raw", "multipart"])
@pytest.mark.parametrize(("name", "expected"), [("chelsea.png", CATS), ("coffee.png", {ESPRESSO})])
def test_predict_gives_the_class_and_onnxruntimes_own_probability(
    way: str, name: str, expected: set[int], lite0: Lite0, in_process: onnxruntime.InferenceSession
) -> None:
    photo = lite0.material.photos[name]
    answer = posted(lite0, way, photo)
    assert answer["prediction"] in expected
    assert answer["release"] == "lite0@1.0.0"
    probabilities = softmax(in_process.run(None, {"input": reference_input(photo)})[0][0])
    for entry in answer["probabilities"]:
        assert abs(entry["probability"] - probabilities[entry["class"]]) <= CLOSE
    assert [entry["class"] for entry in answer["probabilities"]] == np.argsort(-probabilities)[:5].tolist()


def test_the_guides_own_client_works_unchanged(lite0: Lite0, tmp_path: Path) -> None:
    photo = tmp_path / "test.png"
    photo.write_bytes(lite0.material.photos["chelsea.png"])
    with open(photo, "rb") as f:  # noqa: PTH123 - as the guide writes it
        img = base64.b64encode(f.read()).decode()
    r = requests.post(f"{lite0.server.url}/predict", json={"image": img}, timeout=30)
    assert r.json()["prediction"] in CATS


@pytest.mark.parametrize("binary", [True, False])
def test_an_unmodified_triton_client_gets_onnxruntimes_scores(
    binary: bool, lite0: Lite0, in_process: onnxruntime.InferenceSession
) -> None:
    client = triton.InferenceServerClient(lite0.server.address)
    assert client.is_server_ready()
    assert client.is_model_ready("lite0")
    for name, expected in (("chelsea.png", CATS), ("coffee.png", {ESPRESSO})):
        array = reference_input(lite0.material.photos[name])
        tensor = triton.InferInput("input", list(array.shape), "FP32")
        tensor.set_data_from_numpy(array, binary_data=binary)
        wanted = triton.InferRequestedOutput("logits", binary_data=binary)
        logits = client.infer("lite0", [tensor], outputs=[wanted]).as_numpy("logits")
        assert np.abs(logits - in_process.run(None, {"input": array})[0]).max() <= CLOSE
        assert int(logits.argmax()) in expected
    client.close()


def test_the_labelled_photos_of_foolbox_come_out_as_measured(lite0: Lite0) -> None:
    """18 of 20: ImageNet's mean and std in place of (127, 128) would give 15."""
    folder = Path(str(distribution("foolbox").locate_file("foolbox/data")))
    photos = sorted(folder.glob("imagenet_*.*"), key=lambda path: int(path.stem.split("_")[1]))
    assert len(photos) == 20
    right = 0
    for path in photos:
        buffer = io.BytesIO()
        Image.open(path).convert("RGB").save(buffer, "PNG")
        right += posted(lite0, "raw", buffer.getvalue())["prediction"] == int(path.stem.split("_")[2])
    assert right == 18


def test_a_refused_photo_gets_a_clear_error_and_the_service_goes_on(lite0: Lite0) -> None:
    url = f"{lite0.server.url}/predict"
    bad = requests.post(url, data=b"GIF89a nonsense", headers={"Content-Type": "image/gif"}, timeout=30)
    assert bad.status_code == 400
    assert bad.json()["code"] == "invalid_image"
    assert bad.json()["error"].startswith("image: ")
    assert posted(lite0, "raw", lite0.material.photos["coffee.png"])["prediction"] == ESPRESSO


def test_health_metrics_and_openapi_answer(lite0: Lite0) -> None:
    health = requests.get(f"{lite0.server.url}/healthz", timeout=30)
    assert health.status_code == 200
    assert "sealift_requests_total" in requests.get(f"{lite0.server.url}/metrics", timeout=30).text
    described = requests.get(f"{lite0.server.url}/openapi.json", timeout=30).json()
    assert described["openapi"].startswith("3.1")
    assert "/predict" in described["paths"]


def test_status_and_predict_find_the_service_by_its_prefix(lite0: Lite0) -> None:
    status = json.loads(sealift("status", "--prefix", "box", "--json", cwd=lite0.folder))
    service = status["services"][0]
    assert (service["name"], service["state"]) == ("lite0", "SERVING")
    assert service["identity"] == lite0.packed["identity"]
    photo = lite0.folder / "lite0" / "data" / "golden" / "coffee.png"
    answer = json.loads(sealift("predict", photo, "--prefix", "box", "--json", cwd=lite0.folder))
    assert answer["prediction"] == ESPRESSO


def test_inspect_names_layers_packages_model_and_signer(lite0: Lite0) -> None:
    page = sealift("inspect", "bundle", "--trust", "keys/root.json", cwd=lite0.folder)
    lines = page.splitlines()
    assert lines[0] == f"VERIFIED  lite0 1.0.0  sha256:{lite0.packed['identity']}"
    assert any(line.split()[:2] == ["onnxruntime", "1.32.0"] and "MIT" in line for line in lines)
    assert "  input   input  FP32  [batch, 3, 224, 224]" in lines
    assert "  output  logits  FP32  [batch, 1000]" in lines
    for word in ("runtime", "dependencies", "application", "signed by sha256:", "golden_checked: yes"):
        assert word in page
    assert sealift("inspect", "bundle", cwd=lite0.folder).startswith("NOT VERIFIED  lite0 1.0.0")


def test_the_prefix_serves_by_its_own_command(lite0: Lite0) -> None:
    done = subprocess.run(
        [lite0.folder / "box" / "bin" / "sealift", "status"], capture_output=True, text=True, check=True
    )
    assert "lite0  SERVING  1.0.0" in done.stdout
