"""Networks that the candidate builders work on, written node by node with weights from a seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sealift.model.arrays import Arrays


class Graph:
    """Nodes and weights as they come; a tensor is named by whoever makes it."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def weight(self, name: str, *shape: int, scale: float = 1.0) -> str:
        return self.constant(name, (self.random.standard_normal(shape) * scale).astype(np.float32))

    def node(self, kind: str, inputs: Sequence[str], made: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [made], name=f"{made}/{kind}", **attributes))
        return made

    def save(
        self,
        path: Path,
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, Sequence[int | str]],
        opset: int = 14,
    ) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, *edge) for name, edge in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, edge) for name, edge in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="sealift tests")
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path


def residual_net(
    path: Path, widths: Sequence[int] = (8, 16), blocks: int = 1, side: int = 24, classes: int = 10
) -> Path:
    """Convolutions with batch norm, sums, a pool and a classifier: ResNet18 is (64, 128, 256, 512), 2, 224, 1000."""
    graph = Graph()
    value = _convolve(graph, "image", "stem", (3, widths[0], 3, 2), relu=True)
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            name, entry = f"stage{stage}.{block}", value
            value = _convolve(graph, entry, f"{name}.a", (channels, width, 3, stride), relu=True)
            value = _convolve(graph, value, f"{name}.b", (width, width, 3, 1), relu=False)
            if channels != width or stride != 1:
                entry = _convolve(graph, entry, f"{name}.short", (channels, width, 1, stride), relu=False)
            value = graph.node("Relu", [graph.node("Add", [value, entry], f"{name}.sum")], f"{name}.sum.relu")
            channels = width
    flat = graph.node("Flatten", [graph.node("GlobalAveragePool", [value], "pool")], "flat")
    weight = graph.weight("fc.weight", classes, channels, scale=1 / math.sqrt(channels))
    graph.node("Gemm", [flat, weight, graph.weight("fc.bias", classes)], "logits", transB=1)
    edge: list[int | str] = ["batch", 3, side, side]
    return graph.save(path, {"image": (TensorProto.FLOAT, edge)}, {"logits": ["batch", classes]})


def _convolve(graph: Graph, value: str, name: str, shape: tuple[int, int, int, int], *, relu: bool) -> str:
    """`shape`: channels in, out, kernel, stride."""
    given, made, kernel, stride = shape
    weight = graph.weight(
        f"{name}.weight", made, given, kernel, kernel, scale=1 / math.sqrt(given * kernel**2)
    )
    value = graph.node("Conv", [value, weight], name, strides=[stride] * 2, pads=[kernel // 2] * 4)
    norm = [graph.constant(f"{name}.gain", graph.random.uniform(0.5, 1.5, made).astype(np.float32))]
    norm += [graph.weight(f"{name}.{part}", made, scale=0.1) for part in ("offset", "mean")]
    norm += [graph.constant(f"{name}.variance", graph.random.uniform(0.5, 1.5, made).astype(np.float32))]
    value = graph.node("BatchNormalization", [value, *norm], f"{name}.norm")
    return graph.node("Relu", [value], f"{name}.relu") if relu else value


def mlp(path: Path, widths: Sequence[int] = (16, 32, 4)) -> Path:
    """`x` [batch, first width] -> `y` [batch, last width], Gemm and Relu in turn."""
    graph, value = Graph(), "x"
    for index, (given, made) in enumerate(itertools.pairwise(widths)):
        weight = graph.weight(f"w{index}", given, made, scale=1 / math.sqrt(given))
        last = index == len(widths) - 2
        value = graph.node(
            "Gemm", [value, weight, graph.weight(f"b{index}", made)], "y" if last else f"h{index}"
        )
        value = value if last else graph.node("Relu", [value], f"h{index}.relu")
    return graph.save(path, {"x": (TensorProto.FLOAT, ["batch", widths[0]])}, {"y": ["batch", widths[-1]]})


def encoder(path: Path, layers: int = 2, hidden: int = 64, heads: int = 4, vocabulary: int = 100) -> Path:
    """A BERT encoder as torch.onnx.export writes one: two int64 inputs of dynamic length -> [batch, hidden]."""
    graph = Graph()
    words = graph.node("Gather", [graph.weight("word", vocabulary, hidden), "input_ids"], "words")
    value = _norm(
        graph, graph.node("Add", [words, _positions(graph, hidden)], "embedded"), hidden, "embedding"
    )
    mask = _mask(graph)
    for layer in range(layers):
        value = _layer(graph, value, mask, (hidden, heads), f"layer{layer}")
    first = graph.node("Gather", [value, graph.constant("zero", np.int64(0))], "first", axis=1)
    weight = graph.weight("pool.weight", hidden, hidden, scale=1 / math.sqrt(hidden))
    pooled = graph.node(
        "Gemm", [first, weight, graph.weight("pool.bias", hidden, scale=0.05)], "pooled", transB=1
    )
    graph.node("Tanh", [pooled], "embedding")
    tokens: list[int | str] = ["batch", "sequence"]
    inputs = {name: (int(TensorProto.INT64), tokens) for name in ("input_ids", "attention_mask")}
    return graph.save(path, inputs, {"embedding": ["batch", hidden]})


def _positions(graph: Graph, hidden: int) -> str:
    shape = graph.node("Shape", ["input_ids"], "ids.shape")
    length = graph.node("Gather", [shape, graph.constant("one", np.int64(1))], "ids.length", axis=0)
    end = graph.node("Unsqueeze", [length, graph.constant("axis0", np.array([0]))], "ids.end")
    graph.constant("numbers", np.arange(128)[None])
    ends = [graph.constant("start", np.array([0])), end, graph.constant("axis1", np.array([1]))]
    taken = graph.node("Slice", ["numbers", *ends], "numbers.taken")
    return graph.node("Gather", [graph.weight("position", 128, hidden), taken], "positions")


def _mask(graph: Graph) -> str:
    """0 where attended, -10000 elsewhere: [batch, 1, 1, sequence]."""
    for axis, name, given in ((1, "mask.3", "attention_mask"), (2, "mask.4", "mask.3")):
        graph.node("Unsqueeze", [given, graph.constant(f"{name}.axis", np.array([axis]))], name)
    plain = graph.node("Cast", ["mask.4"], "mask.float", to=TensorProto.FLOAT)
    left = graph.node("Sub", [graph.constant("whole", np.float32(1)), plain], "mask.left")
    return graph.node("Mul", [left, graph.constant("far", np.float32(-10000))], "mask")


def _layer(graph: Graph, value: str, mask: str, sizes: tuple[int, int], name: str) -> str:
    hidden, heads = sizes
    shape = graph.constant("split", np.array([0, 0, heads, hidden // heads]))
    parts = []
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        made = _linear(graph, value, hidden, hidden, f"{name}.{part}")
        made = graph.node("Reshape", [made, shape], f"{name}.{part}.heads")
        parts.append(graph.node("Transpose", [made], f"{name}.{part}.turned", perm=order))
    scores = graph.node("MatMul", parts[:2], f"{name}.scores")
    root = graph.constant("root", np.float32(math.sqrt(hidden // heads)))
    scores = graph.node("Div", [scores, root], f"{name}.scaled")
    shares = graph.node(
        "Softmax", [graph.node("Add", [scores, mask], f"{name}.masked")], f"{name}.shares", axis=-1
    )
    mixed = graph.node("MatMul", [shares, parts[2]], f"{name}.mixed")
    mixed = graph.node("Transpose", [mixed], f"{name}.mixed.turned", perm=[0, 2, 1, 3])
    flat = graph.constant("joined", np.array([0, 0, hidden]))
    mixed = _linear(graph, graph.node("Reshape", [mixed, flat], f"{name}.flat"), hidden, hidden, f"{name}.o")
    value = _norm(graph, graph.node("Add", [mixed, value], f"{name}.sum1"), hidden, f"{name}.norm1")
    wide = _gelu(graph, _linear(graph, value, hidden, 4 * hidden, f"{name}.up"), f"{name}.gelu")
    narrow = _linear(graph, wide, 4 * hidden, hidden, f"{name}.down")
    return _norm(graph, graph.node("Add", [narrow, value], f"{name}.sum2"), hidden, f"{name}.norm2")


def _linear(graph: Graph, value: str, given: int, made: int, name: str) -> str:
    weight = graph.weight(f"{name}.weight", given, made, scale=1 / math.sqrt(given))
    product = graph.node("MatMul", [value, weight], f"{name}.product")
    return graph.node("Add", [graph.weight(f"{name}.bias", made, scale=0.05), product], name)


def _norm(graph: Graph, value: str, width: int, name: str) -> str:
    mean = graph.node("ReduceMean", [value], f"{name}.mean", axes=[-1], keepdims=1)
    centred = graph.node("Sub", [value, mean], f"{name}.centred")
    squared = graph.node("Pow", [centred, graph.constant("two", np.float32(2))], f"{name}.squared")
    variance = graph.node("ReduceMean", [squared], f"{name}.variance", axes=[-1], keepdims=1)
    padded = graph.node("Add", [variance, graph.constant("tiny", np.float32(1e-12))], f"{name}.padded")
    scaled = graph.node("Div", [centred, graph.node("Sqrt", [padded], f"{name}.root")], f"{name}.scaled")
    gain = graph.constant(f"{name}.gain", graph.random.uniform(0.8, 1.2, width).astype(np.float32))
    scaled = graph.node("Mul", [scaled, gain], f"{name}.gained")
    return graph.node("Add", [scaled, graph.weight(f"{name}.offset", width, scale=0.05)], f"{name}.normed")


def _gelu(graph: Graph, value: str, name: str) -> str:
    scaled = graph.node("Div", [value, graph.constant("sqrt2", np.float32(math.sqrt(2)))], f"{name}.scaled")
    step = graph.node("Erf", [scaled], f"{name}.erf")
    step = graph.node("Add", [step, graph.constant("unit", np.float32(1))], f"{name}.step")
    doubled = graph.node("Mul", [value, step], f"{name}.doubled")
    return graph.node("Mul", [doubled, graph.constant("half", np.float32(0.5))], name)


def pictures(count: int, side: int = 24, seed: int = 1) -> list[tuple[str, Arrays]]:
    """Smooth noise of various brightness: `image` [1, 3, side, side]."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        noise = random.standard_normal((1, 3, side, side)) * random.uniform(0.5, 1.5) + random.uniform(
            -0.5, 0.5
        )
        made.append((f"picture {index}", {"image": noise.astype(np.float32)}))
    return made


def sentences(count: int, vocabulary: int = 100, seed: int = 1) -> list[tuple[str, Arrays]]:
    """Words of a sentence, 8 to 40 of them, none masked."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        words = random.integers(0, vocabulary, (1, int(random.integers(8, 41))))
        made.append((f"sentence {index}", {"input_ids": words, "attention_mask": np.ones_like(words)}))
    return made


def answers(model: Path, items: Sequence[tuple[str, Arrays]], **levels: Any) -> list[NDArray[np.float32]]:
    """The first output for each item, on one thread."""
    opened = session(model, **levels)
    return [np.asarray(opened.run(None, inputs)[0]) for _, inputs in items]


def session(model: Path, *, optimised: Path | None = None, plain: bool = False) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    if plain:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimised is not None:
        settings.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])


def cosine(first: NDArray[Any], second: NDArray[Any]) -> float:
    one, other = np.ravel(first).astype(np.float64), np.ravel(second).astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
