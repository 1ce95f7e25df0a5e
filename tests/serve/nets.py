"""Tiny ONNX models for the tests of serving, and the services around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    ImageInput,
    Input,
    NumericColumn,
    Output,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
)
from sealift.model.onnx_graph import read_signature
from sealift.model.service import ServedModel, Service

ELEMENT = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}  # fmt: skip


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> Path:
    graph = helper.make_graph(list(nodes), "net", list(inputs), list(outputs), initializer=list(constants))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def info(name: str, datatype: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT[datatype], list(shape))


def echo(path: Path) -> Path:
    """Every datatype in and out unchanged, shape [n, 2]."""
    return save(
        path,
        [helper.make_node("Identity", [name.lower()], [f"{name.lower()}_out"]) for name in ELEMENT],
        [info(name.lower(), name, ["n", 2]) for name in ELEMENT],
        [info(f"{name.lower()}_out", name, ["n", 2]) for name in ELEMENT],
    )


def one_echo(path: Path, datatype: str, shape: Sequence[int | str]) -> Path:
    """One tensor `x` to `y`, unchanged."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(path, [node], [info("x", datatype, shape)], [info("y", datatype, shape)])


def mlp(path: Path, inputs: int = 3, hidden: int = 8, outputs: int = 1) -> Path:
    """`x` FP32 [batch, inputs] -> `score` = sigmoid(relu(x w1) w2), deterministic weights."""
    draw = np.random.default_rng(7)
    constants = [
        numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w1", (inputs, hidden)), ("w2", (hidden, outputs)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["score"]),
    ]
    x, y = info("x", "FP32", ["batch", inputs]), info("score", "FP32", ["batch", outputs])
    return save(path, nodes, [x], [y], constants)


def brightness(path: Path) -> Path:
    """`image` FP32 [batch, 3, 8, 8] -> `logits` [batch, 3]: the mean of each colour."""
    node = helper.make_node("GlobalAveragePool", ["image"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["logits"])
    return save(
        path,
        [node, flat],
        [info("image", "FP32", ["batch", 3, 8, 8])],
        [info("logits", "FP32", ["batch", 3])],
    )


def served(
    name: str,
    path: Path,
    declared: Input | None = None,
    output: Output | None = None,
    handler: Path | None = None,
) -> ServedModel:
    return ServedModel(
        name, path, read_signature(path), declared or TensorInput(), output or TensorOutput(), handler
    )


def fraud(folder: Path) -> ServedModel:
    """A table of three fields: amount, age and country (one column, an index)."""
    columns = (
        NumericColumn(name="amount", mean=100.0, std=50.0),
        NumericColumn(name="age", missing=40.0),
        CategoricalColumn(name="country", vocabulary=("DE", "FR")),
    )
    output = ScoresOutput(positive="fraud", negative="ok", threshold=0.5)
    return served("fraud", mlp(folder / "fraud.onnx"), TabularInput(columns=columns), output)


def colours(folder: Path) -> ServedModel:
    """A photo to red, green or blue."""
    image = ImageInput(size=(8, 8), std=(255.0,))
    output = ClassesOutput(labels=("red", "green", "blue"), top=2)
    return served("colours", brightness(folder / "colours.onnx"), image, output)


def service(*models: ServedModel) -> Service:
    return Service(models[0].name, "1.2.0", models, "sha256:0123")
