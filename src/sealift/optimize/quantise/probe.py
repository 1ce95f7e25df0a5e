"""Graph + item -> its activations, no more at a time than fit a bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.graph import element_types

_FOREIGN = (Exception,)
"""onnxruntime's pybind exceptions share no base of their own: the edge wraps whatever it raises."""


@dataclass(frozen=True, slots=True)
class Activation:
    """`values` of the tensor `name` for the item at `position`; `last` of this item."""

    position: int
    name: str
    values: NDArray[Any]
    last: bool


class Probe:
    """A model with its inner tensors as outputs.

    Where one item's tensors pass `memory_bytes` the model runs several times, for a part of them each; only one of
    these parts is loaded at a time.
    """

    def __init__(
        self, graph: ModelProto, folder: Path, names: Sequence[str], memory_bytes: int, threads: int = 0
    ) -> None:
        self._graph = graph
        self._folder = folder
        self._names = tuple(names)
        self._bound = memory_bytes
        self._threads = threads
        self._largest = -1
        self._groups: tuple[tuple[str, ...], ...] = ()
        self._loaded: tuple[tuple[str, ...], ort.InferenceSession] | None = None

    def run(self, items: Sequence[tuple[str, Arrays]]) -> Iterator[Activation]:
        """Every tensor of every item, once; each may be forgotten before the next is asked for.

        Raises: ModelError: the model cannot be loaded, or refuses an item (named).
        """
        self._divide(items)
        for group in self._groups:
            session = self._session(group)
            for position, (item, inputs) in enumerate(items):
                values = dict(zip(group, _run(session, group, item, inputs), strict=True))
                for name in group:
                    yield Activation(position, name, values.pop(name), name == self._names[-1])

    def _divide(self, items: Sequence[tuple[str, Arrays]]) -> None:
        """Look anew how much there is whenever an item is larger than all before."""
        item, inputs = max(items, key=lambda entry: _elements(entry[1]))
        if _elements(inputs) <= self._largest:
            return
        self._largest = _elements(inputs)
        groups = tuple(grouped(self._sizes(item, inputs), self._bound))
        if groups != self._groups:
            self._groups, self._loaded = groups, None

    def _sizes(self, item: str, inputs: Arrays) -> dict[str, int]:
        """Bytes of each tensor, from a run that keeps none of them."""
        with_shapes = _with_outputs(self._graph, ())
        shapes = [f"{name}__shape_to_observe" for name in self._names]
        for name, shape in zip(self._names, shapes, strict=True):
            with_shapes.graph.node.append(helper.make_node("Shape", [name], [shape]))
            with_shapes.graph.output.append(helper.make_tensor_value_info(shape, TensorProto.INT64, None))
        found = _run(self._open(with_shapes), shapes, item, inputs)
        return {name: 4 * math.prod(shape.tolist()) for name, shape in zip(self._names, found, strict=True)}

    def _session(self, group: tuple[str, ...]) -> ort.InferenceSession:
        if self._loaded is None or self._loaded[0] != group:
            self._loaded = None
            self._loaded = group, self._open(_with_outputs(self._graph, group))
        return self._loaded[1]

    def _open(self, model: ModelProto) -> ort.InferenceSession:
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = self._threads
        settings.enable_mem_pattern = False
        # Which operators are fused depends on which tensors are asked for: no value may depend on that.
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self._folder.resolve())
        )
        try:
            return ort.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except _FOREIGN as error:
            raise ModelError(f"onnxruntime cannot load the model to look inside: {error}") from error


def _with_outputs(graph: ModelProto, names: Sequence[str]) -> ModelProto:
    """A copy that gives these tensors, and of its own outputs only those among them."""
    model = ModelProto()
    model.CopyFrom(graph)
    types = element_types(graph.graph)
    wanted = [helper.make_tensor_value_info(name, types[name], None) for name in names]
    del model.graph.output[:]
    model.graph.output.extend(wanted)
    return model


def _run(
    session: ort.InferenceSession, names: Sequence[str], item: str, inputs: Arrays
) -> list[NDArray[Any]]:
    try:
        found: list[NDArray[Any]] = session.run(list(names), inputs)
    except _FOREIGN as error:
        raise ModelError(f"calibration item {item}: the model refused it: {error}") from error
    return found


def _elements(inputs: Arrays) -> int:
    return sum(array.size for array in inputs.values())


def grouped(sizes: Mapping[str, int], bound: int) -> Iterator[tuple[str, ...]]:
    """Names in order, as many at a time as stay within `bound` together; one alone may pass it."""
    group: list[str] = []
    total = 0
    for name, size in sizes.items():
        if group and total + size > bound:
            yield tuple(group)
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield tuple(group)
