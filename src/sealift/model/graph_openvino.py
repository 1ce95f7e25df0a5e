"""An OpenVINO IR -> its signature. Connected side only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sealift.errors import ModelError
from sealift.model.openvino_file import port_names, read_ir
from sealift.model.signature import Axis, Signature, TensorSpec, batch_axis_of

_DATATYPES: Final = {
    "boolean": "BOOL", "u8": "UINT8", "u16": "UINT16", "u32": "UINT32", "u64": "UINT64", "i8": "INT8",
    "i16": "INT16", "i32": "INT32", "i64": "INT64", "f16": "FP16", "f32": "FP32", "f64": "FP64",
}  # fmt: skip
"""openvino.Type -> the protocol's name."""


def ir_signature(path: Path) -> Signature:
    """The names, datatypes and shapes that the file holds; an open first axis is taken for the batch.

    Raises: ModelError: OpenVINO cannot read it, or a tensor has a type that no request can carry.
    """
    model = read_ir(path)
    problems: list[str] = []
    inputs = _specs(model.inputs, "input", problems)
    outputs = _specs(model.outputs, "output", problems)
    if problems:
        raise ModelError(f"{path.name} has inputs or outputs that no release can carry", problems=problems)
    return Signature(
        inputs=inputs,
        outputs=outputs,
        batch_axis=batch_axis_of((*inputs, *outputs)),
        probabilities=tuple(
            spec.name
            for spec, port in zip(outputs, model.outputs, strict=True)
            if _ends_in_probabilities(port)
        ),
    )


def _ends_in_probabilities(port: Any) -> bool:
    return port.get_node().input_value(0).get_node().get_type_name().lower() in ("softmax", "sigmoid")


def _specs(ports: Any, word: str, problems: list[str]) -> tuple[TensorSpec, ...]:
    found = []
    for name, port in zip(port_names(ports, word), ports, strict=True):
        kind = port.get_element_type().get_type_name()
        if kind not in _DATATYPES:
            problems.append(f"{name} is {kind}; convert it at the edge of the model")
            continue
        found.append(TensorSpec(name=name, datatype=_DATATYPES[kind], shape=_shape(port.get_partial_shape())))
    return tuple(found)


def _shape(shape: Any) -> tuple[Axis, ...] | None:
    if shape.rank.is_dynamic:
        return None
    return tuple(_axis(number, axis) for number, axis in enumerate(shape))


def _axis(number: int, axis: Any) -> Axis:
    if axis.is_static:
        return int(axis.get_length())
    return "batch" if number == 0 else "?"
