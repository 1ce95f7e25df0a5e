"""ONNX models that must never be batched, and such as may be: `x` FP32 [batch, 6] -> `y` [batch, 3] unless said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

WIDTH = 6


def weights(*shape: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save(
    folder: Path,
    nodes: Sequence[NodeProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    x: Sequence[int | str] = ("batch", WIDTH),
    y: Sequence[int | str] = ("batch", 3),
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
) -> Path:
    """A model of these nodes, from `x` to `y`."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", kind, list(x))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(y))],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """Names separated by blanks."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def table(folder: Path) -> Path:
    """A plain little network: its rows are independent."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Relu", "a", "b"),
        node("MatMul", "b v", "c"),
        node("Softmax", "c", "y", axis=-1),
    ]
    return save(folder, nodes, {"w": weights(WIDTH, 16), "v": weights(16, 3, seed=4)})


def batch_mean(folder: Path) -> Path:
    """Takes the mean over the batch from each row."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("ReduceMean", "a", "m", axes=[0], keepdims=1),
        node("Sub", "a m", "y"),
    ]
    return save(folder, nodes, {"w": weights(WIDTH, 3)})


def softmax_over_rows(folder: Path) -> Path:
    """A softmax along the wrong axis."""
    return save(
        folder, [node("MatMul", "x w", "a"), node("Softmax", "a", "y", axis=0)], {"w": weights(WIDTH, 3)}
    )


def training_norm(folder: Path) -> Path:
    """Batch normalisation as it is computed while training, written out as some exporters do."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("ReduceMean", "a", "m", axes=[0], keepdims=1),
        node("Sub", "a m", "d"),
        node("Mul", "d d", "s"),
        node("ReduceMean", "s", "v", axes=[0], keepdims=1),
        node("Add", "v e", "ve"),
        node("Sqrt", "ve", "r"),
        node("Div", "d r", "n"),
        node("Add", "n d", "y"),
    ]
    return save(folder, nodes, {"w": weights(WIDTH, 3), "e": np.full(1, 1e-3, np.float32)})


def shifted(folder: Path) -> Path:
    """Each row gets what stands one row above it: a lag feature that was exported with the model."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Shape", "a", "shape"),
        node("Gather", "shape zero", "n", axis=0),
        node("Sub", "n one", "last"),
        node("Slice", "a zero last zero", "above"),
        node("Concat", "none above", "lag", axis=0),
        node("Add", "a lag", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": weights(WIDTH, 3),
        "zero": np.zeros(1, np.int64),
        "one": np.ones(1, np.int64),
        "none": np.zeros((1, 3), np.float32),
    }
    return save(folder, nodes, constants)


def poisoned(folder: Path) -> Path:
    """Poisoned by a neighbour that is no number, and by nothing else: the rows are added up, times zero."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("ReduceSum", "a", "all", keepdims=0),
        node("Mul", "all nought", "none"),
        node("Add", "a none", "y"),
    ]
    return save(folder, nodes, {"w": weights(WIDTH, 3), "nought": np.zeros((), np.float32)})


def coupled_from_the_sixth(folder: Path) -> Path:
    """Coupled only from the sixth row on: a window over the batch."""
    nodes = [
        node("MatMul", "x w", "a"),
        node("Slice", "a five end zero", "below"),
        # onnxruntime 1.16 gives the sum over no rows no rows either.
        node("Concat", "none below", "rest", axis=0),
        node("Abs", "rest", "positive"),
        node("ReduceSum", "positive zero", "all", keepdims=1),
        node("Add", "a all", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": weights(WIDTH, 3),
        "none": np.zeros((1, 3), np.float32),
        "zero": np.zeros(1, np.int64),
        "five": np.full(1, 5, np.int64),
        "end": np.full(1, 2**40, np.int64),
    }
    return save(folder, nodes, constants)


def fixed_batch(folder: Path) -> Path:
    """No batch axis at all: one row, always."""
    return save(folder, [node("MatMul", "x w", "y")], {"w": weights(WIDTH, 3)}, x=(1, WIDTH), y=(1, 3))


def dynamic_int8(folder: Path) -> Path:
    """`table`, quantised while it runs: the scale of a batch is that of its largest row."""
    plain = table(folder / "plain")
    path = folder / "model.onnx"
    quantize_dynamic(plain, path, weight_type=QuantType.QUInt8)
    return path


def word_ids(folder: Path, vocabulary: int = 7) -> Path:
    """`x` INT64 [batch, 6], words by number, each of which must be known -> the sum of their vectors."""
    nodes = [node("Gather", "w x", "a", axis=0), node("ReduceSum", "a one", "y", keepdims=0)]
    constants: dict[str, NDArray[Any]] = {"w": weights(vocabulary, 3), "one": np.ones(1, np.int64)}
    return save(folder, nodes, constants, kind=TensorProto.INT64)


def two_columns(folder: Path) -> Path:
    """`x` INT64 [batch, 2]: a number below 3 and one below 1000, each with a table of its own -> their sum."""
    nodes = [
        node("Split", "x", "a b", axis=1),
        node("Gather", "w a", "wa", axis=0),
        node("Gather", "v b", "vb", axis=0),
        node("Add", "wa vb", "s"),
        node("Squeeze", "s one", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": weights(3, 3),
        "v": weights(1000, 3, seed=4),
        "one": np.ones(1, np.int64),
    }
    return save(folder, nodes, constants, x=("batch", 2), kind=TensorProto.INT64)


def small_conv(folder: Path) -> Path:
    """`x` FP32 [batch, 3, 16, 16] -> chances [batch, 3]: a picture through two convolutions."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("Conv", "b v", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("GlobalAveragePool", "c", "d"),
        node("Flatten", "d", "e"),
        node("Softmax", "e", "y", axis=-1),
    ]
    constants = {"w": weights(8, 3, 3, 3), "v": weights(3, 8, 3, 3, seed=4)}
    return save(folder, nodes, constants, x=("batch", 3, 16, 16))
