"""The monthly change is a real one: trained, and still right about every photo."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.demo.test_lite0 import Weights, photo_tensor

from sealift.demo.finetune import LABELS, fine_tune
from sealift.demo.lite0 import build_lite0
from sealift.demo.material import Material
from sealift.errors import ModelError


def model_without_a_head() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    encoded: bytes = helper.make_model(graph).SerializeToString()
    return encoded


def test_photos_without_a_label_teach_nothing() -> None:
    with pytest.raises(ModelError, match="none of the photos has a label") as caught:
        fine_tune(b"", {"mine.jpg": b""})
    assert caught.value.problems == ("mine.jpg",)


def test_a_model_that_is_not_lite0_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no classifier.weight and classifier.bias"):
        fine_tune(model_without_a_head(), {"chelsea.png": b""})


@pytest.mark.slow
def test_the_head_moves_and_nothing_else_and_the_photos_keep_their_classes(
    weights: Weights, material: Material
) -> None:
    model = build_lite0(weights)
    tuned = fine_tune(model, material.photos)
    assert fine_tune(model, material.photos) == tuned
    assert tuned.loss_after < tuned.loss_before
    old, new = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(m).graph.initializer}
        for m in (model, tuned.model)
    )
    moved = {name: int((old[name] != new[name]).sum()) for name in old}
    assert {name for name, count in moved.items() if count} == {"classifier.weight", "classifier.bias"}
    assert moved["classifier.weight"] > 0.9999 * 1_280_000
    assert sum(moved.values()) == tuned.moved
    photos = np.concatenate([photo_tensor(material.photos[name]) for name in LABELS])
    before, after = (
        onnxruntime.InferenceSession(m).run(None, {"input": photos})[0] for m in (model, tuned.model)
    )
    assert before.argmax(axis=1).tolist() == after.argmax(axis=1).tolist() == list(LABELS.values())
    assert (np.abs(before - after).max(axis=1) > 1e-3).all()
