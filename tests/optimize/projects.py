"""Whole projects to optimise: a convolutional net that knows the real digits, and nets of other shapes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from tests.optimize.nets import encoder

from sealift.optimize.speed import Effort

SIDE = 32
HURRIED = Effort(rounds=8, runs=6, budget_s=3.0, throughput_s=0.1)
"""Verdicts of these tests are far from their bounds."""


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 digits as [n, 32, 32] bytes, and their labels."""
    found = load_digits()
    small = (found.images * (255 / 16)).astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for each in small
    ]
    return np.stack(resized), found.target.astype(np.int64)


def write_model(
    path: Path, nodes: Sequence[NodeProto], weights: dict[str, NDArray[Any]], x: list[Any], y: list[Any]
) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)]
    initializers = [
        numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()
    ]
    graph = helper.make_graph(list(nodes), "net", inputs, outputs, initializers)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def digit_net(path: Path, *, trained: bool = True, width: int = 64, outlier: float = 0.0) -> Path:
    """Two convolutions with fixed filters, and a linear layer that was fitted to the first 1,000 digits.

    Takes `(pixels - 127) / 128` of [batch, 1, 32, 32]; knows about 97 % of the other digits. `outlier` is the value
    of one channel between the two, in which eight bits of the others are lost.
    """
    rng = np.random.default_rng(5)
    weights: dict[str, NDArray[Any]] = {
        "w1": rng.standard_normal((width, 1, 5, 5)) * 0.3,
        "b1": rng.standard_normal(width) * 0.1,
        "w2": rng.standard_normal((width, width, 3, 3)) * (0.5 / width**0.5),
        "b2": rng.standard_normal(width) * 0.1,
    }
    if outlier:
        weights["w1"][0], weights["b1"][0] = 0, outlier
        weights["w2"][:, 0] = rng.standard_normal((width, 3, 3)) / outlier
    body = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("MaxPool", ["r2"], ["p"], name="pool", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
    ]
    features = width * (SIDE // 8) ** 2
    head = rng.standard_normal((features + 1, 10)) * 0.02
    if trained:
        head = _fitted(write_model(path, body, weights, ["batch", 1, SIDE, SIDE], ["batch", features]))
    weights |= {"w3": head[:-1], "b3": head[-1]}
    nodes = [*body, helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="head")]
    nodes[-2].output[0] = "f"
    return write_model(path, nodes, weights, ["batch", 1, SIDE, SIDE], ["batch", 10])


def _fitted(body: Path) -> NDArray[np.float64]:
    """Ridge regression on one-hot targets."""
    import onnxruntime

    proto = onnx.load(body)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    pictures, labels = digits()
    inputs = ((pictures[:1000, None].astype(np.float32)) - 127) / 128
    found = session.run(None, {"x": inputs})[0].astype(np.float64)
    found = np.hstack([found, np.ones((len(found), 1))])
    targets = np.eye(10)[labels[:1000]] * 2 - 1
    return np.linalg.solve(found.T @ found + 3.0 * np.eye(found.shape[1]), found.T @ targets)


def write_digits(folder: Path, numbers: range, *, labelled: bool = True, shift: int = 0) -> None:
    """PNG files; labelled ones in a folder a class, whose name is `shift` more than the class."""
    pictures, labels = digits()
    for number in numbers:
        place = folder / str((labels[number] + shift) % 10) if labelled else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[number]).save(place / f"{number:04}.png")


def digit_project(folder: Path, optimize: str = "", *, more: str = "", mean: float = 127) -> Path:
    """`sealift.toml` beside `net.onnx`, for what `digit_net` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sealift.toml").write_text(
        f'[project]\nname = "digits"\nversion = "1.0"\n[model]\npath = "net.onnx"\n'
        f'[model.input]\nkind = "image"\nsize = [{SIDE}, {SIDE}]\nchannels = "GRAY"\ndecode = "exact"\n'
        f"mean = {mean}\nstd = 128\n".replace("mean = 127", "mean = [127]").replace(
            "std = 128", "std = [128]"
        )
        + f'[model.output]\nkind = "classes"\n{more}\n[optimize]\n{optimize}\n'
    )
    return folder


def linear_net(path: Path, sizes: Sequence[int], seed: int = 3) -> Path:
    """`x` [batch, sizes[0]] through linear layers and Relu to `y`."""
    rng = np.random.default_rng(seed)
    nodes, weights, value = [], {}, "x"
    for number, (wide, out) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{number}"] = rng.standard_normal((wide, out)) / wide**0.5
        weights[f"b{number}"] = np.zeros(out)
        last = number == len(sizes) - 2
        nodes.append(
            helper.make_node(
                "Gemm",
                [value, f"w{number}", f"b{number}"],
                ["y" if last else f"g{number}"],
                name=f"linear{number}",
            )
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{number}"], [f"r{number}"], name=f"relu{number}"))
        value = f"r{number}"
    return write_model(path, nodes, weights, ["batch", sizes[0]], ["batch", sizes[-1]])


def linear_project(folder: Path, sizes: Sequence[int], optimize: str, *, rows: int = 60) -> Path:
    """A net of linear layers with tensors as data: calibration.npz and evaluation.npz, without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    linear_net(folder / "net.onnx", sizes)
    rng = np.random.default_rng(8)
    for name in ("calibration", "evaluation"):
        np.savez(folder / f"{name}.npz", x=rng.standard_normal((rows, sizes[0])).astype(np.float32))
    (folder / "sealift.toml").write_text(
        '[project]\nname = "linear"\nversion = "1.0"\n[model]\npath = "net.onnx"\n[optimize]\n'
        f'calibration = "calibration.npz"\nevaluation = "evaluation.npz"\n{optimize}\n'
    )
    return folder


def encoder_project(folder: Path, optimize: str = "", *, texts: int = 48) -> Path:
    """A BERT-like encoder: two int64 inputs of dynamic length, `kind = "embedding"`, texts of 5 to 40 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder(folder / "net.onnx", layers=3, hidden=192, heads=6, vocabulary=300)
    rng = np.random.default_rng(21)
    for name in ("calibration", "evaluation"):
        lines = []
        for _ in range(texts):
            ids = rng.integers(1, 300, int(rng.integers(5, 40))).tolist()
            lines.append(json.dumps({"inputs": {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "sealift.toml").write_text(
        '[project]\nname = "encoder"\nversion = "1.0"\n[model]\npath = "net.onnx"\n'
        '[model.output]\nkind = "embedding"\n[optimize]\n'
        f'calibration = "calibration.jsonl"\nevaluation = "evaluation.jsonl"\n{optimize}\n'
    )
    return folder
