"""A model that tells eight colours apart, and photos of them: real accuracy, with weights that are written down."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from sealift.engine.choose import engine_of
from sealift.engine.protocol import EngineOptions, Session
from sealift.model.declaration import ClassesOutput, ImageInput, Input, Output
from sealift.model.service import ServedModel
from sealift.model.signature import Signature, TensorSpec

NAMES = ("red", "brown", "olive", "green", "teal", "blue", "grey", "white")
SHADES = np.array(
    [
        [200, 60, 60],
        [120, 60, 50],
        [120, 120, 40],
        [60, 160, 70],
        [50, 130, 130],
        [60, 70, 190],
        [120, 120, 120],
        [210, 210, 210],
    ],
    np.float64,
)
"""Red, green, blue of each, from 0 to 255."""
MEAN, STD = 127.0, 128.0
RIGHT = ImageInput(size=(8, 8), mean=(MEAN,), std=(STD,))


def colour_model(
    folder: Path, declared: Input = RIGHT, output: Output | None = None, *, trained: bool = True
) -> ServedModel:
    """Nearest shade to the photo's mean, for values (x - 127) / 128; untrained, weights from a seed."""
    shades = (SHADES - MEAN) / STD
    weights, bias = 2 * shades, -(shades**2).sum(axis=1)
    if not trained:
        weights = np.random.default_rng(7).normal(size=shades.shape)
    path = folder / "model.onnx"
    path.write_bytes(_graph(weights.astype(np.float32), bias.astype(np.float32)))
    signature = Signature(
        inputs=(TensorSpec(name="photo", datatype="FP32", shape=("batch", 3, 8, 8)),),
        outputs=(TensorSpec(name="logits", datatype="FP32", shape=("batch", 8)),),
        batch_axis="batch",
    )
    kind = output or ClassesOutput(labels=NAMES)
    return ServedModel(name="colours", path=path, signature=signature, input=declared, output=kind)


def _graph(weights: NDArray[np.float32], bias: NDArray[np.float32]) -> bytes:
    nodes = [
        helper.make_node("GlobalAveragePool", ["photo"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def loaded(model: ServedModel) -> Session:
    return engine_of(model).load(model.path, EngineOptions(threads=1))


def colour_photos(folder: Path, each: int, labels: Sequence[str] = NAMES) -> Path:
    """`each` noisy photos of every shade as PNG, in folders named by `labels`."""
    random = np.random.default_rng(11)
    for label, shade in zip(labels, SHADES, strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(shade + random.normal(0, 12, 3) + random.normal(0, 20, (10, 12, 3)), 0, 255)
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
            (folder / label / f"{number:02}.png").write_bytes(buffer.getvalue())
    return folder
