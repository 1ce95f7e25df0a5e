"""Dynamic INT8: what it is apt for, that answers stay there, and that others can have it for the asking."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.optimize.nets import answers, cosine, encoder, mlp, pictures, residual_net, sentences, session

from sealift.errors import ModelError
from sealift.model.onnx_graph import read_signature
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.dynamic_int8 import (
    CONVOLUTIONAL,
    DynamicRecipe,
    is_apt_for_dynamic,
    is_apt_for_static,
    quantise_dynamic,
)
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static


def running_kinds(model: Path, folder: Path) -> Counter[str]:
    session(model, optimised=folder / "running.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "running.onnx").graph.node)


def test_a_transformer_keeps_its_answers_and_every_product_takes_bytes(tmp_path: Path) -> None:
    model, items = encoder(tmp_path / "net.onnx"), sentences(5)
    made = quantise_dynamic(model, DynamicRecipe(), tmp_path / "int8.onnx")
    running = running_kinds(made, tmp_path)
    assert running["DynamicQuantizeMatMul"] + running["MatMulIntegerToFloat"] == 13
    pairs = zip(answers(model, items), answers(made, items), strict=True)
    assert min(cosine(plain, rounded) for plain, rounded in pairs) > 0.995
    assert made.stat().st_size < 0.45 * model.stat().st_size
    assert read_signature(made) == read_signature(model)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = encoder(tmp_path / "net.onnx", layers=1)
    files = [quantise_dynamic(model, DynamicRecipe(), tmp_path / name) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_row_depends_on_the_rows_beside_it(tmp_path: Path) -> None:
    """Why such a variant has to pass the gate of batch independence."""
    made = quantise_dynamic(mlp(tmp_path / "mlp.onnx"), DynamicRecipe(), tmp_path / "int8.onnx")
    row = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)
    loud = np.concatenate([row, 50 * row])

    def first(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session(made).run(None, {"x": x})[0][0])

    assert not np.allclose(first(row), first(loud), atol=1e-3)


def test_convolutions_are_quantised_for_the_asking(small_net: Path, tmp_path: Path) -> None:
    made = quantise_dynamic(small_net, DynamicRecipe(kinds=CONVOLUTIONAL), tmp_path / "int8.onnx")
    assert running_kinds(made, tmp_path)["ConvInteger"] == 6
    items = pictures(3, 12)
    pairs = zip(answers(small_net, items), answers(made, items), strict=True)
    assert min(cosine(plain, rounded) for plain, rounded in pairs) > 0.99


def test_excluded_nodes_and_other_kinds_stay_as_they_are(tmp_path: Path) -> None:
    model = encoder(tmp_path / "net.onnx", layers=1)
    recipe = DynamicRecipe(exclude=("pooled/Gemm", "layer0.q.product/MatMul"))
    running = running_kinds(quantise_dynamic(model, recipe, tmp_path / "int8.onnx"), tmp_path)
    assert running["DynamicQuantizeMatMul"] + running["MatMulIntegerToFloat"] == 5
    products = quantise_dynamic(model, DynamicRecipe(kinds=("MatMul",)), tmp_path / "products.onnx")
    assert running_kinds(products, tmp_path)["Gemm"] + running_kinds(products, tmp_path)["FusedGemm"] == 1


def test_nothing_to_quantise_is_refused(small_net: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fused\.onnx: no MatMul with constant weights"):
        quantise_dynamic(small_net, DynamicRecipe(kinds=("MatMul",)), tmp_path / "int8.onnx")
    assert list(tmp_path.iterdir()) == []


def test_aptness_is_said_with_figures(small_net: Path, observed: Observed, tmp_path: Path) -> None:
    large = encoder(tmp_path / "large.onnx", layers=1, hidden=128, heads=4)
    assert is_apt_for_dynamic(large) == (
        True, "100% of its weights are in linear layers, the largest with 65,536",
    )  # fmt: skip
    assert is_apt_for_dynamic(mlp(tmp_path / "mlp.onnx")) == (
        False, "its largest linear layer has 512 weights, too few to gain",
    )  # fmt: skip
    apt, why = is_apt_for_dynamic(small_net)
    assert not apt
    assert why == "only 6% of its weights are in linear layers; convolutions get slower"
    assert is_apt_for_static(small_net) == (True, "7 layers with 1,372 weights")
    made = quantise_static(small_net, observed, StaticRecipe(), tmp_path / "int8.onnx")
    for judge in (is_apt_for_dynamic, is_apt_for_static):
        assert judge(made) == (False, "its weights are quantised already")


def test_aptness_reads_no_external_data(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "plain.onnx")
    onnx.save(
        onnx.load(model),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    (tmp_path / "w.bin").write_bytes(bytes((tmp_path / "w.bin").stat().st_size))
    assert is_apt_for_static(tmp_path / "net.onnx") == is_apt_for_static(model)
