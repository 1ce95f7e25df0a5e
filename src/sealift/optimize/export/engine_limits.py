"""The onnxruntime of this process -> the newest ONNX that it reads, by asking it.

Of another release: `model.engine_limits`.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from sealift.errors import ModelError
from sealift.model.engine_limits import ML, EngineLimits

_FOREIGN = (Exception,)
"""onnxruntime raises classes of its own, all of them plain exceptions."""

_BEYOND: Final = 1_000_000


@functools.cache
def installed_limits() -> EngineLimits:
    """Of the onnxruntime of this process: it says them where it refuses."""
    import onnxruntime

    opset = re.search(r"till opset (\d+)", refusal_of(_tiny(_BEYOND, 4)))
    ir = re.search(r"max supported IR version: (\d+)", refusal_of(_tiny(13, _BEYOND)))
    ml = re.search(r"till opset (\d+)", refusal_of(_tiny(13, 4, ml=_BEYOND)))
    return EngineLimits(
        f"onnxruntime {onnxruntime.__version__}",
        *(int(found.group(1)) if found else 0 for found in (opset, ir, ml)),
    )


def refusal_of(model: Any) -> str:
    """Why onnxruntime does not load a small onnx.ModelProto, in its own words; empty: it loads it.

    Raises: ModelError: the model does not fit into one message.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        data = model.SerializeToString()
    except _FOREIGN as error:
        raise ModelError(f"the model cannot be written: {error}") from error
    try:
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _FOREIGN as error:
        return str(error)
    return ""


def _tiny(opset: int, ir: int, ml: int = 1) -> Any:
    from onnx import TensorProto, helper

    edge = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", edge[:1], edge[1:])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)
