"""The graph that is written by hand is the model that its authors published."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from sealift.demo.lite0 import build_lite0
from sealift.demo.material import WEIGHTS_WHEEL, Material
from sealift.errors import ModelError

Weights = dict[str, NDArray[Any]]


def photo_tensor(photo: bytes) -> NDArray[np.float32]:
    """Resize to 256, crop to 224, bicubic, `(x - 127) / 128`: float32 [1, 3, 224, 224]."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.asarray(((pixels - 127) / 128).transpose(2, 0, 1)[None], np.float32)


def test_every_missing_weight_is_named() -> None:
    with pytest.raises(ModelError, match="not the weights of EfficientNet-Lite0") as caught:
        build_lite0({})
    assert len(caught.value.problems) == 49 * 5 + 2
    assert "_conv_stem.weight: missing" in caught.value.problems
    assert "_blocks.15._bn2.running_var: missing" in caught.value.problems


@pytest.mark.slow
def test_wrong_left_over_and_broken_weights_are_all_named(weights: Weights) -> None:
    broken = np.full((1000,), np.nan, np.float32)
    wrong = {**weights, "_fc.weight": weights["_fc.weight"].T, "_fc.bias": broken, "se.weight": broken}
    with pytest.raises(ModelError) as caught:
        build_lite0(wrong)
    assert caught.value.problems == (
        "_fc.weight: float32 (1280, 1000), expected float32 (1000, 1280)",
        "_fc.bias: holds values that are not finite",
        "se.weight: not a part of EfficientNet-Lite0",
    )


@pytest.mark.slow
def test_the_graph_is_valid_conservative_and_says_what_it_takes(weights: Weights) -> None:
    model = onnx.load_model_from_string(build_lite0(weights))
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    session = onnxruntime.InferenceSession(model.SerializeToString())
    [given], [made] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("input", "tensor(float)", ["batch", 3, 224, 224])
    assert (made.name, made.type, made.shape) == ("logits", "tensor(float)", ["batch", 1000])


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_in_any_process(weights: Weights, wheels: Path) -> None:
    program = (
        "import hashlib, sys; from pathlib import Path; from sealift.demo import material, project;"
        "print(hashlib.sha256(project.build_model(material.read_material(Path(sys.argv[1])))).hexdigest())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program, str(wheels)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == hashlib.sha256(build_lite0(weights)).hexdigest()


@pytest.mark.slow
def test_photos_get_their_classes_and_rows_do_not_depend_on_each_other(
    weights: Weights, material: Material
) -> None:
    session = onnxruntime.InferenceSession(build_lite0(weights))
    names = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle.png", "china.jpg", "flower.jpg")
    batch = np.concatenate([photo_tensor(material.photos[name]) for name in names])
    logits = session.run(None, {"input": batch})[0]
    assert logits.argmax(axis=1).tolist() == [282, 967, 657, 665, 698, 985]
    alone = np.concatenate([session.run(None, {"input": row[None]})[0] for row in batch])
    np.testing.assert_allclose(logits, alone, atol=1e-4)


@pytest.mark.slow
def test_logits_are_those_of_the_torch_model(weights: Weights, material: Material, tmp_path: Path) -> None:
    """Random input and a photo, against the authors' own module: at most 1e-4 apart, same top five."""
    torch = pytest.importorskip("torch", reason="torch is not installed: no reference to compare with")
    reference = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed: no reference"
    )
    path = tmp_path / WEIGHTS_WHEEL.filename
    path.write_bytes(material.weights)
    model = reference.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    session = onnxruntime.InferenceSession(build_lite0(weights))
    noise = np.random.default_rng(7).normal(size=(2, 3, 224, 224)).astype(np.float32)
    batch = np.concatenate([noise, photo_tensor(material.photos["chelsea.png"])])
    with torch.no_grad():
        expected = model(torch.from_numpy(batch)).numpy()
    found = session.run(None, {"input": batch})[0]
    assert np.abs(found - expected).max() <= 1e-4
    np.testing.assert_array_equal(np.argsort(-found)[:, :5], np.argsort(-expected)[:, :5])
