"""Float16: half the size, the same edge, close answers; what it cannot hold is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.optimize.nets import Graph, answers, cosine, encoder, pictures, residual_net, sentences

from sealift.errors import ModelError
from sealift.model.onnx_graph import read_signature
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.half import convert_to_half
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static


def test_it_takes_half_the_room_and_answers_alike(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx", (16, 32))
    made = convert_to_half(model, tmp_path / "out" / "half.onnx")
    assert made.stat().st_size < 0.6 * model.stat().st_size
    assert read_signature(made) == read_signature(model)
    items = pictures(3)
    for plain, rounded in zip(answers(model, items), answers(made, items), strict=True):
        assert rounded.dtype == np.float32
        assert cosine(plain, rounded) > 0.9999


def test_a_transformer_with_its_mask_survives(tmp_path: Path) -> None:
    model, items = encoder(tmp_path / "net.onnx", layers=1), sentences(3)
    items[0][1]["attention_mask"][0, 4:] = 0
    made = convert_to_half(model, tmp_path / "half.onnx")
    for plain, rounded in zip(answers(model, items), answers(made, items), strict=True):
        assert cosine(plain, rounded) > 0.999


def test_the_same_model_gives_the_same_bytes_and_only_domains_that_it_uses(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx")
    files = [convert_to_half(model, tmp_path / name) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [entry.domain for entry in onnx.load(files[0]).opset_import] == [""]


def test_weights_beyond_float16_are_all_named(tmp_path: Path) -> None:
    graph = Graph()
    graph.node("MatMul", ["x", graph.constant("large", np.full((2, 2), 7e4, np.float32))], "h")
    graph.node("Add", ["h", graph.constant("small", np.ones(2, np.float32))], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["n", 2])}, {"y": ["n", 2]})
    with pytest.raises(ModelError, match="weights that float16 cannot hold") as caught:
        convert_to_half(model, tmp_path / "half.onnx")
    assert caught.value.problems == ("large: 7e+04",)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_what_is_not_in_float32_is_refused(small_net: Path, observed: Observed, tmp_path: Path) -> None:
    int8 = quantise_static(small_net, observed, StaticRecipe(), tmp_path / "int8.onnx")
    with pytest.raises(ModelError, match="is quantised already"):
        convert_to_half(int8, tmp_path / "half.onnx")
    graph = Graph()
    graph.node("Tanh", ["x"], "y")
    bare = graph.save(tmp_path / "bare.onnx", {"x": (int(TensorProto.FLOAT), ["n", 2])}, {"y": ["n", 2]})
    with pytest.raises(ModelError, match="holds no float32 weights"):
        convert_to_half(bare, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()
