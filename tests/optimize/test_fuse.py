"""Fusing: fewer operators, the same answers, nothing of this machine; else the model as it came, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.optimize.nets import Graph, answers, encoder, mlp, pictures, residual_net, sentences

from sealift.errors import ModelError
from sealift.model.onnx_graph import read_signature
from sealift.optimize.quantise import fuse as room
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.fuse import FuseWish, fuse
from sealift.optimize.quantise.half import convert_to_half
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static

ALL = FuseWish(transformer=True, attention=True)


def kinds(model: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(model).graph.node)


def test_batch_norm_goes_into_the_convolution_before_it(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx")
    made = fuse(model, tmp_path / "out" / "fused.onnx")
    assert made.path == tmp_path / "out" / "fused.onnx"
    assert made.notes == ("Fusing left 16 of 22 operators.",)
    assert kinds(model)["BatchNormalization"] == 6
    assert kinds(made.path)["BatchNormalization"] == 0
    assert read_signature(made.path) == read_signature(model)
    items = pictures(3)
    for plain, fused in zip(answers(model, items), answers(made.path, items), strict=True):
        assert np.allclose(plain, fused, atol=1e-4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fused.onnx"]


def test_the_file_holds_standard_operators_and_is_the_same_each_time(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx")
    files = [fuse(model, tmp_path / name).path for name in ("a.onnx", "b.onnx")]
    assert files[0].read_bytes() == files[1].read_bytes()
    made = onnx.load(files[0])
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 14)]
    assert (made.ir_version, made.producer_name) == (8, "sealift tests")
    onnx.checker.check_model(made, full_check=True)


def test_constants_are_folded(tmp_path: Path) -> None:
    graph = Graph()
    graph.node("Exp", [graph.constant("a", np.ones((4, 2), np.float32))], "weight")
    graph.node("MatMul", ["x", "weight"], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["n", 4])}, {"y": ["n", 2]})
    assert kinds(fuse(model, tmp_path / "fused.onnx").path) == {"MatMul": 1}


def test_a_transformer_is_fused_for_the_asking(tmp_path: Path) -> None:
    model, items = encoder(tmp_path / "net.onnx"), sentences(4)
    plain, made = fuse(model, tmp_path / "plain.onnx"), fuse(model, tmp_path / "fused.onnx", ALL)
    assert not kinds(plain.path).keys() & {"SkipLayerNormalization", "Attention"}
    found = kinds(made.path)
    assert (found["Attention"], found["BiasGelu"], found["SkipLayerNormalization"]) == (2, 2, 4)
    assert read_signature(made.path) == read_signature(model)
    for before, after in zip(answers(model, items), answers(made.path, items), strict=True):
        assert np.allclose(before, after, atol=1e-4)
    again = fuse(model, tmp_path / "again.onnx", ALL)
    assert again.path.read_bytes() == made.path.read_bytes()


def test_what_is_quantised_is_left_alone(small_net: Path, observed: Observed, tmp_path: Path) -> None:
    model = quantise_static(small_net, observed, StaticRecipe(), tmp_path / "int8.onnx")
    made = fuse(model, tmp_path / "out" / "fused.onnx")
    assert made.path == model
    assert made.notes == ("It is quantised already and used as it came.",)
    assert not (tmp_path / "out").exists()


def test_other_answers_are_noticed_and_the_model_used_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TOLERANCE", 0.0)
    model = residual_net(tmp_path / "net.onnx")
    made = fuse(model, tmp_path / "fused.onnx")
    assert made.path == model
    assert made.notes == ("It was not fused: its answers would differ. It is used as it came.",)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_model_that_no_made_up_input_suits_is_compared_on_given_ones(tmp_path: Path) -> None:
    graph = Graph()
    graph.constant("table", np.ones((50, 2), np.float32))
    graph.node("Reshape", ["x", graph.constant("shape", np.array([-1, 7]))], "rows")
    graph.node("MatMul", ["rows", graph.weight("w", 7, 2)], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["length"])}, {"y": ["n", 2]})
    made = fuse(model, tmp_path / "fused.onnx")
    assert made.path == model
    assert "no example input was found" in made.notes[0]
    wish = FuseWish(examples=({"x": np.ones(21, np.float32)},))
    assert fuse(model, tmp_path / "fused.onnx", wish).path == tmp_path / "fused.onnx"


def test_constants_that_would_swell_the_file_are_not_folded(tmp_path: Path) -> None:
    graph = Graph()
    graph.node("Expand", [graph.weight("row", 1, 500), graph.constant("shape", np.array([200, 500]))], "rows")
    graph.node("MatMul", ["x", "rows"], "y")
    model = graph.save(tmp_path / "net.onnx", {"x": (int(TensorProto.FLOAT), ["n", 200])}, {"y": ["n", 500]})
    made = fuse(model, tmp_path / "fused.onnx")
    assert made.path == model
    assert "it would grow from 2," in made.notes[0]


def test_what_this_processor_casts_is_no_part_of_the_file(tmp_path: Path) -> None:
    model = convert_to_half(mlp(tmp_path / "mlp.onnx"), tmp_path / "half.onnx")
    made = fuse(model, tmp_path / "fused.onnx")
    assert made.path == model
    assert made.notes == ("It was not fused: it would grow from 5 to 8 operators. It is used as it came.",)


def test_external_data_comes_inside(tmp_path: Path) -> None:
    onnx.save(
        onnx.load(mlp(tmp_path / "plain.onnx")),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    made = fuse(tmp_path / "net.onnx", tmp_path / "out" / "fused.onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fused.onnx"]
    x = np.ones((2, 16), np.float32)
    [before], [after] = (answers(path, [("x", {"x": x})]) for path in (tmp_path / "net.onnx", made.path))
    assert np.allclose(before, after, atol=1e-5)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ModelError):
        fuse(tmp_path / "net.onnx", tmp_path / "out" / "fused.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
