"""The effect of each layer alone: as if a model had been built for each, from one graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.optimize.nets import Graph, answers, cosine, encoder, pictures, sentences

from sealift.errors import ModelError
from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.calibrate import CalibrationWish, Observed, calibrate
from sealift.optimize.quantise.sensitivity import exclusion_order, layer_effects
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static
from sealift.optimize.report import Layer


def inputs_of(items: list[tuple[str, Arrays]]) -> list[Arrays]:
    return [inputs for _, inputs in items]


def test_every_layer_has_its_effect_and_its_share(small_net: Path, observed: Observed) -> None:
    layers = layer_effects(small_net, observed, StaticRecipe(), inputs_of(pictures(3, 12)))
    assert [layer.kind for layer in layers].count("Conv") == 6
    assert [layer.kind for layer in layers].count("Add") == 2
    assert layers[-1].kind == "Gemm"
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert layers[-1].share == pytest.approx(80 / 1372)
    assert all(0 < layer.effect < 0.01 for layer in layers)
    assert not any(layer.excluded for layer in layers)


def test_it_is_the_same_each_time(small_net: Path, observed: Observed) -> None:
    items = inputs_of(pictures(2, 12))
    assert layer_effects(small_net, observed, StaticRecipe(), items) == layer_effects(
        small_net, observed, StaticRecipe(), items
    )


def test_the_effect_is_that_of_a_model_built_for_the_layer_alone(
    small_net: Path, observed: Observed, tmp_path: Path
) -> None:
    items = pictures(3, 12)
    layers = layer_effects(small_net, observed, StaticRecipe(), inputs_of(items))
    weighted = [layer.node for layer in layers if layer.kind in ("Conv", "Gemm")]
    plain = answers(small_net, items)
    for layer in layers:
        if layer.kind != "Conv":
            continue
        others = [
            node.name
            for node in onnx.load(small_net).graph.node
            if node.name not in _with_relu(small_net, layer.node)
        ]
        recipe = StaticRecipe(exclude=tuple(others))
        made = quantise_static(small_net, observed, recipe, tmp_path / "int8.onnx")
        pairs = zip(plain, answers(made, items, plain=True), strict=True)
        alone = np.mean([1 - cosine(first, second) for first, second in pairs])
        assert layer.effect == pytest.approx(alone, rel=0.2, abs=2e-6)
    assert len(weighted) == 7


def _with_relu(model: Path, name: str) -> set[str]:
    graph = onnx.load(model).graph
    made = next(node.output[0] for node in graph.node if node.name == name)
    return {name, *(node.name for node in graph.node if node.op_type == "Relu" and node.input[0] == made)}


def test_a_layer_that_hurts_comes_first_and_excluding_it_helps(tmp_path: Path) -> None:
    """One channel thirty times the others: eight bits for all activations hold little of those."""
    graph = Graph(seed=4)
    for name, width in (("first", 8), ("second", 8), ("third", 4)):
        graph.weight(f"{name}.weight", 8, width)
    graph.constants["first.weight"][:, 0] *= 30
    graph.constants["second.weight"][0, :] /= 30
    graph.node("Gemm", ["x", "first.weight"], "a")
    graph.node("Gemm", [graph.node("Relu", ["a"], "a.relu"), "second.weight"], "b")
    graph.node("Gemm", [graph.node("Relu", ["b"], "b.relu"), "third.weight"], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["n", 8])}, {"y": ["n", 4]})
    x = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    items: list[tuple[str, Arrays]] = [("x", {"x": x})]
    kinds = ("Gemm", "Relu")
    seen = calibrate(model, items, CalibrationWish(kinds=kinds), tmp_path / "state", Silent())
    recipe = StaticRecipe(kinds=kinds)
    order = exclusion_order(layer_effects(model, seen, recipe, inputs_of(items)))
    assert order[-1] == "y/Gemm"
    made = [
        quantise_static(
            model, seen, StaticRecipe(kinds=kinds, exclude=order[:count]), tmp_path / f"{count}.onnx"
        )
        for count in (0, 2)
    ]
    plain = answers(model, items)[0]
    whole, spared = (cosine(plain, answers(path, items)[0]) for path in made)
    assert spared > 0.999 > whole


def test_a_transformer_can_be_measured(tmp_path: Path) -> None:
    model, items = encoder(tmp_path / "net.onnx", layers=1), sentences(2)
    seen = calibrate(model, items, CalibrationWish(), tmp_path / "state", Silent())
    layers = layer_effects(model, seen, StaticRecipe(), inputs_of(items))
    assert [layer.kind for layer in layers] == ["MatMul"] * 6 + ["Gemm"]
    assert all(layer.effect > 0 for layer in layers)


def test_the_budget_takes_items_first_and_layers_then(small_net: Path, observed: Observed) -> None:
    items = inputs_of(pictures(4, 12))
    whole = layer_effects(small_net, observed, StaticRecipe(), items)
    one = layer_effects(small_net, observed, StaticRecipe(), items[:1])
    assert layer_effects(small_net, observed, StaticRecipe(), items, budget=len(whole)) == one
    some = layer_effects(small_net, observed, StaticRecipe(), items, budget=4)
    assert [layer.node for layer in some] == [one[index * len(one) // 4].node for index in range(4)]
    assert layer_effects(small_net, observed, StaticRecipe(), []) == ()


def test_equal_effects_stay_in_the_order_of_the_graph() -> None:
    layers = [
        Layer(node=name, kind="Conv", effect=effect) for name, effect in (("a", 0.1), ("b", 0.2), ("c", 0.1))
    ]
    assert exclusion_order(layers) == ("b", "a", "c")


def test_an_item_that_the_model_refuses_is_an_error(small_net: Path, observed: Observed) -> None:
    with pytest.raises(ModelError, match="cannot be measured one by one"):
        layer_effects(small_net, observed, StaticRecipe(), [{"image": np.zeros((1, 2, 2, 2), np.float32)}])
