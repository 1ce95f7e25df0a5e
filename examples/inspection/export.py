"""The network's weights -> an ONNX file, opset 17, with an open batch axis."""

from __future__ import annotations

import numpy as np
from network import BLOCKS, CLASSES, Parameters
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper


def to_onnx(parameters: Parameters, size_px: int) -> ModelProto:
    """`image`, FP32 [batch, 1, size_px, size_px] -> `logits`, FP32 [batch, CLASSES].

    ONNX keeps channels first, so the filters are turned, and the dense layer's rows are put in that order.
    """
    nodes, weights, flowing = [], [], "image"
    for number in range(1, BLOCKS + 1):
        name = f"conv{number}"
        weights += [
            _tensor(name, parameters[name].transpose(3, 2, 0, 1)),
            _tensor(f"{name}_bias", parameters[f"{name}_bias"]),
        ]
        nodes += _block(name, flowing)
        flowing = f"{name}_pooled"
    side, channels = size_px // 2**BLOCKS, parameters[f"conv{BLOCKS}"].shape[-1]
    dense = parameters["dense"].reshape(side, side, channels, CLASSES).transpose(2, 0, 1, 3)
    weights += [_tensor("dense", dense.reshape(-1, CLASSES)), _tensor("dense_bias", parameters["dense_bias"])]
    nodes.append(helper.make_node("Flatten", [flowing], ["features"], name="flatten"))
    nodes.append(helper.make_node("Gemm", ["features", "dense", "dense_bias"], ["logits"], name="dense"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, size_px, size_px])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "inspection", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def _block(name: str, source: str) -> list[NodeProto]:
    made, relu, pooled = f"{name}_made", f"{name}_relu", f"{name}_pooled"
    kernel = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return [
        helper.make_node("Conv", [source, name, f"{name}_bias"], [made], name=name, **kernel),
        helper.make_node("Relu", [made], [relu], name=relu),
        helper.make_node("MaxPool", [relu], [pooled], name=pooled, kernel_shape=[2, 2], strides=[2, 2]),
    ]


def _tensor(name: str, values: NDArray[np.float32]) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
