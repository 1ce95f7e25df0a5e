"""Model + ranges + a few items -> what quantising each layer alone does to the answers.

One graph serves all layers: each stands in it twice, as it is and quantised, and an input says which one is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from sealift.errors import ModelError
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.activations import WEIGHTED, kinds_for, quantised_nodes
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.graph import constants, read_graph, stored_bytes
from sealift.optimize.quantise.static_int8 import StaticRecipe, all_ranges
from sealift.optimize.quantise.switched import SWITCH, Switched
from sealift.optimize.report import Layer

BUDGET: Final = 400
"""Runs: layers times items."""

_ALSO: Final = frozenset({"Add", "Mul", "Concat", "GlobalAveragePool", "AveragePool", "Sigmoid", "LeakyRelu"})
_NONE: Final = -1
_LARGEST_BYTES: Final = 900_000_000
"""The graph holds the weights twice, and protobuf reads no more than 2 GiB."""

_FOREIGN = (Exception,)
"""onnxruntime's exceptions share no base of their own: the edge wraps whatever it raises."""


def layer_effects(
    model: Path, observed: Observed, recipe: StaticRecipe, items: Sequence[Arrays], budget: int = BUDGET
) -> tuple[Layer, ...]:
    """The effect of each layer in graph order: 1 - cosine between the answers with and without it quantised.

    Args:
        items: inputs; as many of the first ones are used as the budget permits, at least one.
        budget: runs. Where not even one item per layer fits in, layers at even distances are measured.
    Returns: empty for a model that is too large to hold its weights twice (900 MB).
    Raises: ModelError: the model cannot be read or run.
    """
    graph = read_graph(model)
    if stored_bytes(graph) > _LARGEST_BYTES or not items:
        return ()
    kinds = recipe.kinds or kinds_for(graph.graph)
    nodes = [node for node in quantised_nodes(graph.graph, kinds) if node.op_type in WEIGHTED | _ALSO]
    chosen = _spread(nodes, budget)
    used = items[: max(1, budget // max(len(chosen), 1))]
    ranges = all_ranges(model, graph.graph, observed, recipe)
    session = _open(model, Switched(graph, ranges, replace(recipe, kinds=kinds)).build(chosen))
    answers = [_run(model, session, inputs, _NONE) for inputs in used]
    shares = _shares(graph.graph, nodes)
    return tuple(
        Layer(
            node=node.name,
            kind=node.op_type,
            effect=_effect(answers, [_run(model, session, inputs, index) for inputs in used]),
            share=shares[node.name],
        )
        for index, node in enumerate(chosen)
    )


def exclusion_order(layers: Iterable[Layer]) -> tuple[str, ...]:
    """Names, the layer whose quantising costs most first; equal ones as they stand."""
    return tuple(layer.node for layer in sorted(layers, key=lambda layer: -layer.effect))


def _spread(nodes: Sequence[NodeProto], budget: int) -> list[NodeProto]:
    most = max(budget, 1)
    if len(nodes) <= most:
        return list(nodes)
    return [nodes[index * len(nodes) // most] for index in range(most)]


def _shares(graph: GraphProto, nodes: Iterable[NodeProto]) -> dict[str, float]:
    known = constants(graph)
    sizes = {
        node.name: math.prod(known[node.input[1]].dims) if node.op_type in WEIGHTED else 0 for node in nodes
    }
    total = sum(sizes.values())
    return {name: size / total if total else 0.0 for name, size in sizes.items()}


def _effect(before: Sequence[NDArray[np.float64]], after: Sequence[NDArray[np.float64]]) -> float:
    """The mean over the items; 0 at the least, for rounding."""
    distances = [1.0 - _cosine(old, new) for old, new in zip(before, after, strict=True)]
    return max(0.0, sum(distances) / len(distances))


def _cosine(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    lengths = float(np.linalg.norm(old)) * float(np.linalg.norm(new))
    return float(old @ new) / lengths if lengths > 0 else float(np.array_equal(old, new))


def _open(model: Path, graph: ModelProto) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    # Whatever the memory of one item's pattern, the next run takes another branch.
    settings.enable_mem_pattern = False
    try:
        return ort.InferenceSession(
            graph.SerializeToString(), settings, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: its layers cannot be measured one by one: {error}") from error


def _run(model: Path, session: ort.InferenceSession, inputs: Arrays, index: int) -> NDArray[np.float64]:
    """All floating-point answers as one vector."""
    try:
        answers = session.run(None, {**inputs, SWITCH: np.array(index, np.int64)})
    except _FOREIGN as error:
        raise ModelError(f"{model.name}: its layers cannot be measured one by one: {error}") from error
    floats = [np.ravel(answer).astype(np.float64) for answer in answers if answer.dtype.kind == "f"]
    return np.concatenate(floats) if floats else np.zeros(0)
