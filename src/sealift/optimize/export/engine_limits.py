"""An onnxruntime -> the newest ONNX that it reads, by asking it or by its version."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Final

from sealift.errors import ModelError

_FOREIGN = (Exception,)
"""onnxruntime raises classes of its own, all of them plain exceptions."""

_BEYOND: Final = 1_000_000
_RELEASED: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (1, 16): (19, 9),
    (1, 17): (20, 9),
    (1, 18): (21, 10),
    (1, 19): (21, 10),
    (1, 20): (21, 10),
    (1, 26): (26, 13),
}
"""onnxruntime's release -> opset and IR version. Source: the ONNX release that each pins (its compatibility page)
with ONNX's own version table; onnxruntime issues 20559 and 23602, pull request 27601. Others are not known for sure."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The highest opset of the default domain, and IR version, that an engine reads; 0: it does not tell."""

    engine: str
    opset: int
    ir: int


def limits_of(version: str) -> EngineLimits | None:
    """Of a release of onnxruntime such as `1.20.1`; None: neither installed here nor known."""
    import onnxruntime

    if version == onnxruntime.__version__:
        return installed_limits()
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    known = _RELEASED.get((numbers[0], numbers[1])) if len(numbers) > 1 else None
    return EngineLimits(f"onnxruntime {version}", *known) if known else None


@functools.cache
def installed_limits() -> EngineLimits:
    """Of the onnxruntime of this process: it says them where it refuses."""
    import onnxruntime

    opset = re.search(r"till opset (\d+)", refusal_of(_tiny(_BEYOND, 4)))
    ir = re.search(r"max supported IR version: (\d+)", refusal_of(_tiny(13, _BEYOND)))
    return EngineLimits(
        f"onnxruntime {onnxruntime.__version__}",
        int(opset.group(1)) if opset else 0,
        int(ir.group(1)) if ir else 0,
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


def _tiny(opset: int, ir: int) -> Any:
    from onnx import TensorProto, helper

    edge = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", edge[:1], edge[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
