"""ModelProto -> the files that hold its weights. Pack side only; no weight is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import onnx
from onnx import TensorProto

from sealift.errors import ModelError

_BITS_OF: Final[dict[int, int]] = {
    TensorProto.FLOAT: 32, TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16,
    TensorProto.INT16: 16, TensorProto.INT32: 32, TensorProto.INT64: 64, TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64, TensorProto.UINT32: 32, TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128, TensorProto.BFLOAT16: 16,
    TensorProto.FLOAT8E4M3FN: 8, TensorProto.FLOAT8E4M3FNUZ: 8, TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8, TensorProto.UINT4: 4, TensorProto.INT4: 4,
}  # fmt: skip
"""Element type -> bits. Newer types are missing on purpose: the floor of onnx is 1.17, their length is
then only checked where the model states it."""


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the model: initialisers, sparse ones, attributes, subgraphs, functions, training."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
        for attribute in function.attribute_proto:
            yield from _attribute_tensors(attribute)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: object) -> Iterator[TensorProto]:
    for node in nodes:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for entry in (*sparse, *attribute.sparse_tensors):
        yield entry.values
        yield entry.indices
    graphs = [attribute.g] if attribute.HasField("g") else []
    for graph in (*graphs, *attribute.graphs):
        yield from _graph_tensors(graph)


def external_files(path: Path, model: onnx.ModelProto) -> tuple[str, ...]:
    """Locations relative to the model's folder, POSIX form, sorted, each once.

    Raises: ModelError: with every location that is absolute, has `..`, leaves the folder (symlinks
        resolved), is missing, is no regular file or is shorter than the model says.
    """
    needed: dict[str, int] = {}
    problems: list[str] = []
    for tensor in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            location = _clean_location(entries.get("location", ""))
            needed[location] = max(needed.get(location, 0), _last_byte(tensor, entries))
        except ValueError as error:
            problems.append(f"tensor {tensor.name!r}: {error}")
    problems += [why for location, size in needed.items() if (why := _file_problem(path, location, size))]
    if problems:
        raise ModelError(
            f"{path}: external data cannot be taken along.",
            problems=tuple(dict.fromkeys(problems)),
            next_step="copy the model with its data files into one folder (cp -rL resolves symlinks)",
        )
    return tuple(sorted(needed))


def _clean_location(location: str) -> str:
    """The same location without `.` parts. Raises: ValueError: it cannot be relative to the folder."""
    pure = PurePosixPath(location)
    if not location or "\0" in location or not pure.parts:
        raise ValueError("external data without a location")
    if pure.is_absolute() or "\\" in location or location[1:2] == ":":
        raise ValueError(f"external data at {location!r}: expected a path relative to the model's folder")
    if ".." in pure.parts:
        raise ValueError(f"external data at {location!r} leaves the model's folder")
    return str(pure)


def _last_byte(tensor: TensorProto, entries: dict[str, str]) -> int:
    """The file size this tensor needs. Raises: ValueError: offset or length make no sense."""
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise ValueError("offset and length of external data must be whole numbers") from None
    if offset < 0 or (length is not None and length < 0):
        raise ValueError("offset and length of external data must not be negative")
    bits = _BITS_OF.get(tensor.data_type)
    content = None if bits is None else (math.prod(tensor.dims) * bits + 7) // 8
    if length is not None and content is not None and length < content:
        raise ValueError(f"external data of {length} bytes, its shape {list(tensor.dims)} needs {content}")
    return offset + (length if length is not None else content or 0)


def _file_problem(path: Path, location: str, size: int) -> str | None:
    folder = path.parent.resolve()
    file = folder / location
    if not file.resolve().is_relative_to(folder):
        return f"{location}: a symbolic link leads out of the model's folder, to {file.resolve()}"
    if not file.exists():
        return f"{location}: missing beside the model"
    if not file.is_file():
        return f"{location}: not a regular file"
    found = file.stat().st_size
    return f"{location}: {found:,} bytes, the model needs {size:,}" if found < size else None
