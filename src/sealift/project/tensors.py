"""`[[model.inputs]]`, `[[model.outputs]]`, `[model] engine` -> what a model file does not tell itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import CategoricalColumn, ImageInput, Input, TabularInput
from sealift.model.engines import ENGINES, SCRIPT_SUFFIXES, WEIGHTS_SUFFIXES, default_engine
from sealift.model.signature import Axis, TensorSpec
from sealift.model.tabular import width
from sealift.model.words import listed, quoted, shown
from sealift.project.keys import TENSOR_KEYS
from sealift.project.section import Section

_DATATYPES: Final = tuple(name for name in NUMPY_OF if name != "BYTES")
_LONGEST: Final = 2**31 - 1

UNTOLD_SUFFIXES: Final = (*SCRIPT_SUFFIXES, *WEIGHTS_SUFFIXES)
"""Files that do not tell what their model takes."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """As declared, in the order of the model's arguments and results; empty: nothing is declared."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


def read_engine(section: Section, path: Path | None) -> str:
    """The engine that the project names; empty: that of the file's suffix.

    An engine that does not load such files is noted; what is no model at all shows by its contents. Weights
    become ONNX, so they may name whatever loads that.
    """
    engine = section.choice("engine", None, tuple(ENGINES))
    if path is None or engine is None:
        return engine or ""
    if path.suffix in WEIGHTS_SUFFIXES:
        path = path.with_suffix(".onnx")
    if path.suffix not in ENGINES[engine]:
        section.refuse("engine", f"{engine} loads {listed(ENGINES[engine])}, path is {quoted(path.name)}")
        return ""
    return "" if engine == default_engine(path) else engine


def read_tensors(section: Section, path: Path | None) -> Tensors:
    """What `[[model.inputs]]` and `[[model.outputs]]` say; only TorchScript and weights need it."""
    if path is not None and path.suffix not in UNTOLD_SUFFIXES:
        for key in ("inputs", "outputs"):
            if key in section:
                text = (
                    f"{path.name} tells its tensors itself; only TorchScript (.pt, .ts) and weights "
                    f"({', '.join(WEIGHTS_SUFFIXES)}) need them declared"
                )
                section.refuse(key, text)
        return Tensors()
    return Tensors(_specs(section, "inputs"), _specs(section, "outputs"))


def implied_inputs(declared: Input) -> tuple[TensorSpec, ...]:
    """What the kind of input alone says of the model's only tensor: a photo's size, a table's width."""
    if isinstance(declared, ImageInput):
        channels = 1 if declared.channels == "GRAY" else 3
        image = (channels, *declared.size) if declared.layout == "NCHW" else (*declared.size, channels)
        return (TensorSpec(name="image", datatype="FP32", shape=("batch", *image)),)
    if isinstance(declared, TabularInput) and not any(_is_apart(column) for column in declared.columns):
        columns = sum(map(width, declared.columns))
        return (TensorSpec(name="columns", datatype="FP32", shape=("batch", columns)),)
    return ()


def _is_apart(column: object) -> bool:
    words = isinstance(column, CategoricalColumn) and column.encoding == "string"
    return words or getattr(column, "input", None) is not None


def _specs(section: Section, key: str) -> tuple[TensorSpec, ...]:
    found: list[TensorSpec] = []
    names: list[str | None] = []
    for table in section.children(key):
        table.allow_only(TENSOR_KEYS)
        name = table.text("name", None) if table.require("name") else None
        if name and name in names:
            table.refuse("name", f"{quoted(name)} stands twice")
        names.append(name)
        datatype = table.choice("datatype", None, _DATATYPES) if table.require("datatype") else None
        shape = _shape(table) if table.require("shape") else None
        if name and datatype and shape is not None:
            found.append(TensorSpec(name=name, datatype=datatype, shape=shape))
    return tuple(found)


def _shape(table: Section) -> tuple[Axis, ...] | None:
    value = table.table["shape"]
    if not isinstance(value, list):
        table.refuse("shape", f'expected an array such as ["batch", 3], got {shown(value)}')
        return None
    wrong = [number for number, axis in enumerate(value) if not _is_axis(axis)]
    for number in wrong:
        text = (
            f'expected a size above 0 or the name of an open axis such as "batch", got {shown(value[number])}'
        )
        table.refuse("shape", text, number)
    return None if wrong else tuple(value)


def _is_axis(axis: object) -> bool:
    if isinstance(axis, str):
        return axis.isidentifier()
    return isinstance(axis, int) and not isinstance(axis, bool) and 0 < axis <= _LONGEST
