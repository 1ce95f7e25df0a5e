"""Overflow without VNNI: what the multiplier really does, and that every layer it could hit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.optimize.nets import Graph, answers, cosine, encoder, mlp, pictures

from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.calibrate import CalibrationWish, Observed, calibrate
from sealift.optimize.quantise.dynamic_int8 import DynamicRecipe, quantise_dynamic
from sealift.optimize.quantise.overflow import overflow_risk
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static
from sealift.optimize.quantise.weight_scales import weight_overrides, worst_pairs


def vpmaddubsw(unsigned: NDArray[np.uint8], signed: NDArray[np.int8]) -> NDArray[np.int16]:
    """Pairs of products, added in 16 bits with saturation (Intel SDM vol. 2, PMADDUBSW)."""
    products = unsigned.astype(np.int32) * signed.astype(np.int32)
    sums = products[0::2] + products[1::2]
    return np.asarray(np.clip(sums, -(2**15), 2**15 - 1), np.int16)


def without_vnni(unsigned: NDArray[np.uint8], signed: NDArray[np.int8]) -> int:
    return int(vpmaddubsw(unsigned, signed).astype(np.int32).sum())


def exact(unsigned: NDArray[np.uint8], signed: NDArray[np.int8]) -> int:
    return int(unsigned.astype(np.int64) @ signed.astype(np.int64))


def qdq_product(path: Path, weight: NDArray[np.int8], kind: str = "MatMul", **attributes: Any) -> Path:
    """A graph with nothing but dequantised bytes as its weight."""
    graph = Graph()
    graph.constant("bytes", weight)
    graph.constant("scale", np.float32(0.01))
    graph.node("DequantizeLinear", ["bytes", "scale"], "weight")
    graph.node(kind, ["x", "weight"], "y", **attributes)
    shape: dict[str, tuple[list[int | str], list[int | str]]] = {
        "MatMul": (["n", weight.shape[0]], ["n", weight.shape[-1]]),
        "Gemm": (["n", weight.shape[-1]], ["n", weight.shape[0]]),
        "Conv": (["n", weight.shape[1] * attributes.get("group", 1), 4, 4], ["n", weight.shape[0], "h", "w"]),
    }
    given_, made = shape[kind]
    return graph.save(path, {"x": (int(TensorProto.FLOAT), given_)}, {"y": made})


def test_a_pair_that_is_named_gives_a_wrong_sum_and_with_seven_bits_a_right_one(tmp_path: Path) -> None:
    weight = np.array([[127], [127], [-3], [5]], np.int8)
    bright = np.full(4, 255, np.uint8)
    assert without_vnni(bright, weight[:, 0]) != exact(bright, weight[:, 0])
    risk = overflow_risk(qdq_product(tmp_path / "full.onnx", weight))
    assert not risk.safe
    assert [node.node for node in risk.unsafe] == ["y/MatMul"]
    assert risk.in_words() == "1 of 1 layers can pass 16 bits, y/MatMul with 64,770 of 32,767"

    halved = np.round(weight / 127 * 64).astype(np.int8)
    assert without_vnni(bright, halved[:, 0]) == exact(bright, halved[:, 0])
    risk = overflow_risk(qdq_product(tmp_path / "half.onnx", halved))
    assert risk.safe
    assert risk.in_words() == ""


@given(some.arrays(np.int8, (6, 3), elements=st.integers(-127, 127)), st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_called_safe_is_exact_for_every_input(
    tmp_path_factory: pytest.TempPathFactory, weight: NDArray[np.int8], data: st.DataObject
) -> None:
    [node] = overflow_risk(qdq_product(tmp_path_factory.getbasetemp() / "any.onnx", weight)).nodes
    inputs = data.draw(some.arrays(np.uint8, 6))
    extremes = [np.full(6, 255, np.uint8), *(np.where(column > 0, 255, 0).astype(np.uint8) for column in weight.T),
                *(np.where(column < 0, 255, 0).astype(np.uint8) for column in weight.T)]  # fmt: skip
    wrong = [
        (unsigned, column)
        for column in weight.T
        for unsigned in (inputs, *extremes)
        for order in (column, np.roll(column, 1)[1:5])
        for taken in (unsigned[: len(order)],)
        if without_vnni(taken, order) != exact(taken, order)
    ]
    assert not (node.safe and wrong)


@pytest.mark.parametrize(
    ("pair", "safe"), [((64, 64), True), ((127, 1), True), ((127, 2), False), ((-64, -64), True), ((-127, -2), False),
                       ((127, -127), True)],
)  # fmt: skip
def test_only_weights_of_one_sign_add_up(tmp_path: Path, pair: tuple[int, int], safe: bool) -> None:
    weight = np.array([[pair[0]], [pair[1]]], np.int8)
    assert overflow_risk(qdq_product(tmp_path / "net.onnx", weight)).safe is safe


def test_a_gemm_is_judged_along_what_it_sums_over(tmp_path: Path) -> None:
    rows = np.array([[127, 0, 127], [0, 0, 0]], np.int8)  # 127s never meet along a row
    assert overflow_risk(qdq_product(tmp_path / "net.onnx", rows, "Gemm", transB=1)).safe
    assert overflow_risk(qdq_product(tmp_path / "net.onnx", rows.T)).safe
    columns = np.array([[127, 0], [127, 0], [0, 0]], np.int8)
    assert not overflow_risk(qdq_product(tmp_path / "net.onnx", columns.T, "Gemm", transB=1)).safe


def test_a_convolution_is_judged_in_both_layouts(tmp_path: Path) -> None:
    weight = np.zeros((1, 2, 2, 2), np.int8)
    weight[0, 0, 0, 0] = weight[0, 1, 0, 0] = (
        127  # neighbours where channels are last, not where they are first
    )
    assert not overflow_risk(qdq_product(tmp_path / "net.onnx", weight, "Conv")).safe
    weight[0, 1, 0, 0], weight[0, 0, 0, 1] = 0, 127  # and the other way round
    assert not overflow_risk(qdq_product(tmp_path / "net.onnx", weight, "Conv")).safe


def test_a_depthwise_convolution_multiplies_in_32_bits(tmp_path: Path) -> None:
    weight = np.full((3, 1, 2, 2), 127, np.int8)
    assert overflow_risk(qdq_product(tmp_path / "net.onnx", weight, "Conv", group=3)).safe


def test_reduce_range_makes_a_network_safe(small_net: Path, observed: Observed, tmp_path: Path) -> None:
    full = overflow_risk(quantise_static(small_net, observed, StaticRecipe(), tmp_path / "full.onnx"))
    less = overflow_risk(
        quantise_static(small_net, observed, StaticRecipe(reduce_range=True), tmp_path / "less.onnx")
    )
    assert len(full.nodes) == len(less.nodes) == 7
    assert full.unsafe
    assert less.safe


def test_dynamic_int8_is_judged_too(tmp_path: Path) -> None:
    model = encoder(tmp_path / "net.onnx")
    full = overflow_risk(quantise_dynamic(model, DynamicRecipe(), tmp_path / "full.onnx"))
    less = overflow_risk(quantise_dynamic(model, DynamicRecipe(reduce_range=True), tmp_path / "less.onnx"))
    assert (len(full.nodes), len(full.unsafe), len(less.nodes)) == (13, 13, 13)
    assert less.safe


def test_a_model_in_floating_point_has_nothing_to_overflow(tmp_path: Path) -> None:
    risk = overflow_risk(mlp(tmp_path / "mlp.onnx"))
    assert risk.safe
    assert risk.nodes == ()


def test_unsigned_weights_take_another_multiplier(tmp_path: Path) -> None:
    graph = Graph()
    graph.constant("bytes", np.full((4, 2), 255, np.uint8))
    graph.constant("scale", np.float32(0.01))
    graph.node("DequantizeLinear", ["bytes", "scale"], "weight")
    graph.node("MatMul", ["x", "weight"], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["n", 4])}, {"y": ["n", 2]})
    assert overflow_risk(model).nodes == ()


def test_calibrated_ranges_do_not_matter_to_the_risk(small_net: Path, tmp_path: Path) -> None:
    """It is of the weights alone: any input may come."""
    dark = [("dark", {"image": np.zeros((1, 3, 12, 12), np.float32)})]
    seen = calibrate(small_net, dark, CalibrationWish(), tmp_path / "state", Silent())
    risk = overflow_risk(quantise_static(small_net, seen, StaticRecipe(), tmp_path / "int8.onnx"))
    assert risk.unsafe


def test_safe_weights_cannot_overflow_and_are_finer_than_seven_bits(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    steps = []
    for recipe in (StaticRecipe(overflow_safe=True), StaticRecipe(reduce_range=True)):
        made = quantise_static(small_net, observed, recipe, tmp_path / "int8.onnx")
        assert overflow_risk(made).safe
        held = onnx.load(made).graph.initializer
        scales = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in held if "weight_scale" in tensor.name
        }
        steps.append(np.concatenate([scales[name] for name in sorted(scales) if scales[name].ndim]))
    finer, coarser = steps
    assert len(finer) == len(coarser) == 46
    assert (finer <= coarser * 64 / 63.5).all()
    assert finer.mean() < 0.95 * coarser.mean()
    items = pictures(4, 12, seed=7)
    made = quantise_static(small_net, observed, StaticRecipe(overflow_safe=True), tmp_path / "int8.onnx")
    for plain, rounded in zip(answers(small_net, items), answers(made, items), strict=True):
        assert cosine(plain, rounded) > 0.97


@given(some.arrays(np.float32, (4, 3, 2, 2), elements=st.floats(-8, 8, width=32)))
@settings(max_examples=80, deadline=None)
def test_rounding_never_lifts_a_pair_above_what_is_safe(weight: NDArray[np.float32]) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    known = {"w": numpy_helper.from_array(weight, "w")}
    entries = weight_overrides([node], known, overflow_safe=True)["w"]
    scales = np.array([entry["scale"] for entry in entries], np.float32).reshape(-1, 1, 1, 1)
    rounded = np.round(weight / scales)
    assert np.abs(rounded).max() <= 127
    assert worst_pairs(node, rounded).max() * 255 <= 2**15 - 1


def test_one_scale_for_all_channels_is_safe_in_seven_bits(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    recipe = StaticRecipe(overflow_safe=True, per_channel=False)
    assert overflow_risk(quantise_static(small_net, observed, recipe, tmp_path / "int8.onnx")).safe


def test_a_depthwise_convolution_gives_up_nothing() -> None:
    weight = np.ones((3, 1, 2, 2), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=3)
    entries = weight_overrides([node], {"w": numpy_helper.from_array(weight, "w")}, overflow_safe=True)["w"]
    assert [float(entry["scale"]) for entry in entries] == pytest.approx([1 / 127] * 3)


def test_weights_that_are_shared_or_stacked_are_safe_too(tmp_path: Path) -> None:
    graph = Graph()
    graph.weight("shared", 4, 4)
    graph.weight("stack", 2, 4, 3)
    graph.node("MatMul", [graph.node("MatMul", ["x", "shared"], "a"), "shared"], "b")
    graph.node("MatMul", ["b", "stack"], "y")
    model = graph.save(
        tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), [2, "n", 4])}, {"y": [2, "n", 3]}
    )
    x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    items: list[tuple[str, Arrays]] = [("x", {"x": x})]
    seen = calibrate(model, items, CalibrationWish(), tmp_path / "state", Silent())
    made = quantise_static(model, seen, StaticRecipe(overflow_safe=True), tmp_path / "int8.onnx")
    risk = overflow_risk(made)
    assert risk.safe
    assert len(risk.nodes) == 3
    [plain], [rounded] = answers(model, items), answers(made, items)
    assert cosine(plain, rounded) > 0.99
