"""Static INT8: hand-computed values, whole integer graphs, the same bytes, and what was excluded stays float."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from PIL import Image
from tests.optimize.nets import (
    Graph,
    answers,
    cosine,
    encoder,
    mlp,
    pictures,
    residual_net,
    sentences,
    session,
)

from sealift.errors import ModelError, UsageError
from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.model.onnx_graph import read_signature
from sealift.optimize.quantise import graph as graph_file
from sealift.optimize.quantise.calibrate import CalibrationWish, Observed, calibrate
from sealift.optimize.quantise.graph import is_quantised
from sealift.optimize.quantise.overflow import overflow_risk
from sealift.optimize.quantise.ranges import METHODS
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static


def kinds(model: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(model).graph.node)


def running_kinds(model: Path, folder: Path) -> Counter[str]:
    """The operators that onnxruntime really runs."""
    session(model, optimised=folder / "running.onnx")
    return kinds(folder / "running.onnx")


def test_a_convolution_gives_what_is_computed_by_hand(tmp_path: Path) -> None:
    """Scales are powers of two or exact fractions, so that every rounding can be written down."""
    graph = Graph()
    weight = np.array([[[[1.0]], [[-0.5]]], [[[0.25]], [[2.0]]]], np.float32)
    inputs = [graph.constant("w", weight), graph.constant("b", np.array([0.1, -0.2], np.float32))]
    graph.node("Conv", ["x", *inputs], "y")
    edge: list[int | str] = ["batch", 2, 1, 3]
    model = graph.save(tmp_path / "conv.onnx", {"x": (TensorProto.FLOAT, edge)}, {"y": edge})
    x = np.array([0.0, 25.5, 10.0, -25.5, 3.0, 0.14], np.float32).reshape(1, 2, 1, 3)
    observed = calibrate(model, [("x", {"x": x})], CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(model, observed, StaticRecipe(), tmp_path / "int8.onnx")

    scale_x, zero_x = 51 / 255, 128  # x spans -25.5 to 25.5; zero is 127.5, rounded to the even 128
    steps = np.round(x / np.float32(scale_x)).clip(-zero_x, 255 - zero_x)
    scale_w = np.abs(weight).max(axis=(1, 2, 3)) / 127
    rounded = np.round(weight[:, :, 0, 0] / scale_w[:, None])
    bias = np.round(np.array([0.1, -0.2]) / (scale_x * scale_w))
    sums = (rounded @ steps[0, :, 0, :] + bias[:, None]) * (scale_x * scale_w)[:, None]
    low, high = observed.ranges("minmax")["y"]
    scale_y = (high - low) / 255
    zero_y = round(-low / scale_y)
    expected = (np.round(sums / scale_y).clip(-zero_y, 255 - zero_y)) * scale_y

    found = session(made).run(None, {"x": x})[0]
    assert np.allclose(found[0, :, 0, :], expected, atol=1e-5)


def test_every_layer_runs_on_bytes_and_the_answer_is_float(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    made = quantise_static(small_net, observed, StaticRecipe(), tmp_path / "int8.onnx")
    running = running_kinds(made, tmp_path)
    assert not running.keys() & {"Conv", "FusedConv", "Relu", "Add", "GlobalAveragePool", "Gemm"}
    assert (running["QLinearConv"], running["QLinearAdd"], running["QGemm"]) == (6, 2, 1)
    assert (running["QuantizeLinear"], running["DequantizeLinear"]) == (1, 0)


@pytest.mark.parametrize("method", METHODS)
def test_answers_stay_close_by_every_method(
    small_net: Path, observed: Observed, tmp_path: Path, method: str
) -> None:
    made = quantise_static(small_net, observed, StaticRecipe(method=method), tmp_path / "int8.onnx")
    items = pictures(6, 12, seed=9)
    pairs = zip(answers(small_net, items), answers(made, items), strict=True)
    assert min(cosine(plain, rounded) for plain, rounded in pairs) > 0.99


def test_the_signature_stays_and_rows_run_together(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    made = quantise_static(small_net, observed, StaticRecipe(), tmp_path / "int8.onnx")
    assert read_signature(made) == read_signature(small_net)
    assert is_quantised(made)
    assert not is_quantised(small_net)
    items = pictures(3, 12)
    together = session(made).run(None, {"image": np.concatenate([item["image"] for _, item in items])})[0]
    assert np.array_equal(together, np.concatenate(answers(made, items)))


def test_weights_are_symmetric_bytes_per_channel(small_net: Path, observed: Observed, tmp_path: Path) -> None:
    def stored(recipe: StaticRecipe) -> dict[str, NDArray[Any]]:
        made = onnx.load(quantise_static(small_net, observed, recipe, tmp_path / "int8.onnx"))
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}

    plain, reduced = stored(StaticRecipe()), stored(StaticRecipe(reduce_range=True))
    [name] = [name for name in plain if "stage1.0.a" in name and plain[name].ndim == 4]
    scale = next(value for key, value in plain.items() if key.endswith("stage1.0.a.weight_scale"))
    assert plain[name].dtype == np.int8
    assert np.array_equal(np.abs(plain[name]).max(axis=(1, 2, 3)), np.full(8, 127))
    assert scale.shape == (8,)
    assert np.abs(reduced[name]).max() == 64
    single = stored(StaticRecipe(per_channel=False))
    assert (np.abs(single[name]).max(axis=(1, 2, 3)) == 127).sum() < 8


def test_what_is_excluded_stays_float_when_it_runs(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    """onnxruntime would quantise it by itself, with one scale for all channels."""
    name = next(
        node.name
        for node in onnx.load(small_net).graph.node
        if node.op_type == "Conv" and node.input[0] != "image"
    )
    made = quantise_static(small_net, observed, StaticRecipe(exclude=(name,)), tmp_path / "int8.onnx")
    running = running_kinds(made, tmp_path)
    assert running["QLinearConv"] == 5
    assert running["Conv"] + running["FusedConv"] == 1
    items = pictures(4, 12)
    for fast, slow in zip(answers(made, items), answers(made, items, plain=True), strict=True):
        assert cosine(fast, slow) > 0.9999


def test_excluding_an_activation_excludes_what_it_folds_into(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    graph = onnx.load(small_net).graph
    conv = next(node for node in graph.node if node.op_type == "Conv")
    relu = next(node for node in graph.node if node.op_type == "Relu" and node.input[0] == conv.output[0])
    by_conv, by_relu = (
        quantise_static(
            small_net, observed, StaticRecipe(exclude=(node.name,)), tmp_path / "int8.onnx"
        ).read_bytes()
        for node in (conv, relu)
    )
    assert by_conv == by_relu


PROGRAM = """
import hashlib, sys
from pathlib import Path
from tests.optimize.nets import pictures
from sealift.events import Silent
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static
model, folder = Path(sys.argv[1]), Path(sys.argv[2])
observed = calibrate(model, pictures(3, 12), CalibrationWish(), folder / "state", Silent())
print(hashlib.sha256(quantise_static(model, observed, StaticRecipe(), folder / "a.onnx").read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_same_model_and_items_give_the_same_bytes_in_any_process(small_net: Path, tmp_path: Path) -> None:
    digests = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(small_net), str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_a_transformer_keeps_its_sums_in_float(tmp_path: Path) -> None:
    model, items = encoder(tmp_path / "net.onnx"), sentences(6)
    observed = calibrate(model, items, CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(model, observed, StaticRecipe(), tmp_path / "int8.onnx")
    running = running_kinds(made, tmp_path)
    assert running["MatMulIntegerToFloat"] == 12
    assert running["QLinearMatMul"] == 0
    assert made.stat().st_size < 0.45 * model.stat().st_size
    new = sentences(4, seed=5)
    pairs = zip(answers(model, new), answers(made, new), strict=True)
    assert min(cosine(plain, rounded) for plain, rounded in pairs) > 0.99


def test_an_old_opset_and_constants_in_nodes_are_no_hindrance(tmp_path: Path) -> None:
    graph = Graph()
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    graph.node("Constant", [], "w", value=weight)
    graph.node("MatMul", ["x", "w"], "y")
    edge: tuple[int, list[int | str]] = (int(TensorProto.FLOAT), ["n", 4])
    model = graph.save(tmp_path / "old.onnx", {"x": edge}, {"y": ["n", 3]}, opset=9)
    x = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
    observed = calibrate(model, [("x", {"x": x})], CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(model, observed, StaticRecipe(), tmp_path / "int8.onnx")
    plain, rounded = (session(path).run(None, {"x": x})[0] for path in (model, made))
    assert cosine(plain, rounded) > 0.999
    assert read_signature(made) == read_signature(model)


def test_biases_that_are_rows_are_no_hindrance(tmp_path: Path) -> None:
    """skl2onnx writes [1, n]; fused with their product they become a Gemm's bias of two axes."""
    model = onnx.load(mlp(tmp_path / "mlp.onnx", (16, 32, 4)))
    rows = 0
    for tensor in model.graph.initializer:
        if tensor.name.startswith("b"):
            tensor.dims.insert(0, 1)
            rows += 1
    assert rows == 2
    onnx.save(model, tmp_path / "rows.onnx")
    items = [
        (str(seed), {"x": np.random.default_rng(seed).standard_normal((1, 16)).astype(np.float32)})
        for seed in range(8)
    ]
    seen = calibrate(tmp_path / "rows.onnx", items, CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(
        tmp_path / "rows.onnx", seen, StaticRecipe(overflow_safe=True), tmp_path / "int8.onnx"
    )
    assert is_quantised(made)
    old, new = (answers(path, items)[0] for path in (tmp_path / "rows.onnx", made))
    assert cosine(old, new) > 0.99


def test_external_data_is_read_and_ends_inside(tmp_path: Path) -> None:
    plain = mlp(tmp_path / "plain.onnx")
    onnx.save(
        onnx.load(plain),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    items = [("x", {"x": np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)})]
    made = []
    for path in (plain, tmp_path / "net.onnx"):
        observed = calibrate(path, items, CalibrationWish(), tmp_path / "state", Silent())
        made.append(quantise_static(path, observed, StaticRecipe(), tmp_path / "int8.onnx").read_bytes())
    assert made[0] == made[1]


def test_what_protobuf_cannot_hold_keeps_its_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, items = residual_net(tmp_path / "net.onnx", side=12), pictures(2, 12)
    observed = calibrate(model, items, CalibrationWish(), tmp_path / "state", Silent())
    plain = quantise_static(model, observed, StaticRecipe(), tmp_path / "plain.onnx")
    monkeypatch.setattr(graph_file, "PROTOBUF_LIMIT", 1000)
    made = quantise_static(model, observed, StaticRecipe(), tmp_path / "out" / "model.onnx")
    assert sorted(path.name for path in made.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert np.array_equal(answers(made, items), answers(plain, items))


def test_ranges_of_another_model_and_excluding_all_are_refused(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    other = mlp(tmp_path / "mlp.onnx")
    with pytest.raises(
        ModelError, match=r"calibration did not observe 3 of its tensors, 'x' for one"
    ) as caught:
        quantise_static(other, observed, StaticRecipe(), tmp_path / "int8.onnx")
    assert caught.value.next_step == "calibrate this very file"
    names = tuple(node.name for node in onnx.load(small_net).graph.node)
    with pytest.raises(ModelError, match="no layer with weights is left"):
        quantise_static(small_net, observed, StaticRecipe(exclude=names), tmp_path / "int8.onnx")
    with pytest.raises(UsageError, match="no calibration method 'kl'"):
        quantise_static(small_net, observed, StaticRecipe(method="kl"), tmp_path / "int8.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["mlp.onnx"]


def views(photo: Path, count: int, seed: int) -> Iterable[tuple[str, Arrays]]:
    """Squares of half its side or more, as the network wants them: `(x - 127) / 128`, 224 px."""
    random = np.random.default_rng(seed)
    image = Image.open(photo).convert("RGB")
    for index in range(count):
        side = min(image.size) * random.uniform(0.5, 1)
        left, top = (random.uniform(0, length - side) for length in image.size)
        box = (int(left), int(top), int(left + side), int(top + side))
        pixels = np.asarray(image.crop(box).resize((224, 224), Image.Resampling.BICUBIC), np.float32)
        yield f"{photo.name} {index}", {"input": ((pixels - 127) / 128).transpose(2, 0, 1)[None].copy()}


@pytest.mark.slow
def test_lite0_is_a_third_of_its_size_all_integer_and_agrees(lite0_model: Path, tmp_path: Path) -> None:
    found = importlib.util.find_spec("foolbox")  # importing it warns of its dependencies
    assert found is not None
    assert found.origin is not None
    photos = sorted((Path(found.origin).parent / "data").glob("imagenet_*"))
    items = [item for number, photo in enumerate(photos) for item in views(photo, 3, 1000 + number)]
    observed = calibrate(lite0_model, items, CalibrationWish(), tmp_path / "state", Silent())
    new = [item for number, photo in enumerate(photos) for item in views(photo, 5, number)]
    plain = [answer.argmax() for answer in answers(lite0_model, new)]
    for recipe in (StaticRecipe("percentile 99.99"), StaticRecipe("percentile 99.99", overflow_safe=True)):
        made = quantise_static(lite0_model, observed, recipe, tmp_path / "int8.onnx")
        assert made.stat().st_size <= 0.28 * lite0_model.stat().st_size
        assert running_kinds(made, tmp_path).keys() == {
            "QuantizeLinear", "Transpose", "QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "Flatten", "QGemm",
        }  # fmt: skip
        assert np.mean(np.equal(plain, [answer.argmax() for answer in answers(made, new)])) >= 0.95
    assert overflow_risk(made).safe


@pytest.mark.slow
def test_a_resnet18_comes_to_a_quarter_of_its_size(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx", (64, 128, 256, 512), 2, 64, 1000)
    observed = calibrate(model, pictures(2, 64), CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(model, observed, StaticRecipe(), tmp_path / "int8.onnx")
    assert made.stat().st_size <= 0.26 * model.stat().st_size
