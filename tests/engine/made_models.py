"""The same small photo classifier for every engine: weights are drawn here, each format is written from them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sealift.model.signature import TensorSpec

IMAGE = TensorSpec(name="image", datatype="FP32", shape=("batch", 3, 32, 32))

Weights = dict[str, NDArray[np.float32]]


def photos(rows: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, 3, 32, 32)).astype(np.float32)


def weights() -> Weights:
    rng = np.random.default_rng(5)
    shapes = {"c.weight": (8, 3, 3, 3), "c.bias": (8,), "f.weight": (5, 8), "f.bias": (5,)}
    return {
        name: rng.standard_normal(shape).astype(np.float32) / np.float32(2) for name, shape in shapes.items()
    }


def write_onnx(path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "c.weight", "c.bias"], ["a"], strides=[2, 2]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("ReduceMean", ["b"], ["c"], axes=[2, 3], keepdims=0),
            helper.make_node("Gemm", ["c", "f.weight", "f.bias"], ["d"], transB=1),
            helper.make_node("Softmax", ["d"], ["output"], axis=-1),
        ],
        "photos",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(values, name) for name, values in weights().items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def module() -> Any:
    """The same as a PyTorch module in evaluation mode."""
    import torch

    class Photos(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = torch.nn.Conv2d(3, 8, 3, stride=2)
            self.f = torch.nn.Linear(8, 5)

        def forward(self, image: Any) -> Any:
            return torch.softmax(self.f(torch.relu(self.c(image)).mean((2, 3))), -1)

    made = Photos().eval()
    made.load_state_dict({name: torch.from_numpy(values) for name, values in weights().items()})
    return made


def trace(module_: Any, *example: Any, strict: bool = True) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module_, example, strict=strict)  # type: ignore[no-untyped-call]


def write_script(path: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace(module(), torch.from_numpy(photos(2))).save(str(path))
    return path


def write_exported(path: Path, module_: Any = None, *example: Any, open_axes: Any = None) -> Path:
    import torch

    shapes = open_axes or ({0: torch.export.Dim("batch")},)
    given = example or (torch.from_numpy(photos(2)),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module_ or module(), given, dynamic_shapes=shapes)
        torch.export.save(program, str(path))
    return path


def write_ir(path: Path) -> Path:
    """`path` and the `.bin` beside it."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openvino.tools.ovc import convert_model

        model = convert_model(write_onnx(path.with_name("source.onnx")))
        openvino.save_model(model, path, compress_to_fp16=False)
    path.with_name("source.onnx").unlink()
    return path
