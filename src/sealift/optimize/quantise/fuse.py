"""Model -> the same answers from fewer operators: constants folded, batch norm in the convolution before it.

Fusions for transformers are there for the asking: written into the file, onnxruntime's SkipLayerNormalization was
measured 7 to 27 % slower (three encoders, 1.32) than what it fuses by itself whenever it loads a model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto

from sealift.model.arrays import Arrays
from sealift.model.examples import example_candidates
from sealift.model.graph_signature import signature_of
from sealift.model.onnx_graph import model_size
from sealift.optimize.quantise.graph import (
    is_quantised,
    opset_of,
    prune_initialisers,
    read_graph,
    stored_bytes,
    write_graph,
)
from sealift.optimize.quantise.onnxruntime_tool import quiet

TOLERANCE: Final = 1e-4
"""Of the largest magnitude of an output: some thousand roundings of float32."""

_OWN_DOMAIN: Final = "com.microsoft"
_MAY_GROW: Final = 1.05
_SEED: Final = 6
_EXTERNAL_FROM_BYTES: Final = 1_500_000_000
_FOREIGN = (Exception,)
"""onnxruntime's exceptions share no base of their own: the edge wraps whatever it raises."""


@dataclass(frozen=True, slots=True)
class FuseWish:
    """`transformer`: LayerNormalization, Gelu and SkipLayerNormalization as onnxruntime's own operators; with
    `attention` whole attention too. `examples`: inputs to compare the answers on; without them some are made up."""

    transformer: bool = False
    attention: bool = False
    examples: tuple[Arrays, ...] = ()


@dataclass(frozen=True, slots=True)
class Fused:
    """`path` is the fused file, or the model itself where a note says why. `notes`: sentences for the report."""

    path: Path
    notes: tuple[str, ...]


class _Unfit(Exception):
    """What came out is no use; the text ends the sentence "It is used as it came: "."""


def fuse(model: Path, destination: Path, wish: FuseWish | None = None) -> Fused:
    """Write the fused model, if it gives the same answers, takes and gives the same and is no larger.

    Nothing in it depends on this machine, and the same model gives the same bytes.

    Args:
        destination: a file; its folder is made.
    Raises: ModelError: the model itself cannot be read, or the disk refuses.
    """
    asked = wish or FuseWish()
    if is_quantised(model):
        return Fused(model, ("It is quantised already and used as it came.",))
    destination.parent.mkdir(parents=True, exist_ok=True)
    before = read_graph(model)
    nodes = len(before.graph.node)
    work = Path(tempfile.mkdtemp(prefix=".fusing-", dir=destination.parent))
    try:
        after = _folded(before, work)
        if asked.transformer:
            after = _transformed(after, work, asked.attention)
        if len(after.graph.node) > nodes:  # float16: casts to what this processor has kernels for
            raise _Unfit(f"it would grow from {nodes} to {len(after.graph.node)} operators")
        made = write_graph(after, work / "made" / destination.name)
        _check(model, made, asked.examples)
        for path in made.parent.iterdir():
            path.replace(destination.with_name(path.name))
    except _Unfit as reason:
        return Fused(model, (f"It was not fused: {reason}. It is used as it came.",))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Fused(destination, (f"Fusing left {len(after.graph.node)} of {nodes} operators.",))


def _folded(graph: ModelProto, work: Path) -> ModelProto:
    """What onnxruntime's basic level makes of it, which knows no hardware."""
    path = write_graph(graph, work / "given.onnx")
    settings = _settings(ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    settings.optimized_model_filepath = str(work / "folded.onnx")
    if stored_bytes(graph) > _EXTERNAL_FROM_BYTES:
        settings.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "folded.data"
        )
    _open(path, settings)
    return cleaned(read_graph(work / "folded.onnx"), graph)


def _transformed(graph: ModelProto, work: Path, attention: bool) -> ModelProto:
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    options.enable_attention = attention
    options.enable_embed_layer_norm = False
    path = write_graph(graph, work / "plain.onnx")
    try:
        with quiet():
            found = optimizer.optimize_model(str(path), "bert", optimization_options=options, opt_level=0)
            found.topological_sort()
    except _FOREIGN as error:
        raise _Unfit(f"onnxruntime.transformers failed: {error}") from error
    if not any(entry.domain == _OWN_DOMAIN for entry in found.model.opset_import):
        found.model.opset_import.add(domain=_OWN_DOMAIN, version=1)
    write_graph(found.model, work / "transformed.onnx")
    return cleaned(read_graph(work / "transformed.onnx"), graph)


def cleaned(made: ModelProto, given: ModelProto) -> ModelProto:
    """Without what onnxruntime adds to every file: domains that no node is of, a producer, its own IR version."""
    prune_initialisers(made.graph)
    used = set(_domains(made.graph)) | {"ai.onnx"}
    kept = [entry for entry in made.opset_import if not entry.domain or entry.domain in used]
    del made.opset_import[:]
    made.opset_import.extend(sorted(kept, key=lambda entry: entry.domain))
    made.ir_version = given.ir_version
    made.producer_name, made.producer_version = given.producer_name, given.producer_version
    return made


def _domains(graph: GraphProto) -> list[str]:
    found = []
    for node in graph.node:
        found.append(node.domain)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += _domains(inner)
    return found


def _check(model: Path, made: Path, examples: Sequence[Arrays]) -> None:
    """Raises: _Unfit."""
    before, after = read_graph(model, weights=False), read_graph(made, weights=False)
    signature = signature_of(before)
    if signature_of(after) != signature:
        raise _Unfit("inputs or outputs would change")
    sizes = model_size(model), sum(path.stat().st_size for path in made.parent.iterdir())
    if sizes[1] > _MAY_GROW * sizes[0] + 65536 and opset_of(before) == opset_of(after):
        raise _Unfit(f"it would grow from {sizes[0]:,} to {sizes[1]:,} bytes")
    plain = _settings(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    old, new = _open(model, plain), _open(made, plain)
    if examples:
        _compare(old, new, examples)
        return
    for inputs in example_candidates(signature, seed=_SEED, rows=2):
        try:
            _answers(old, inputs)
        except _FOREIGN:
            continue
        _compare(old, new, [inputs])
        return
    raise _Unfit("no example input was found to compare the answers on")


def _compare(old: ort.InferenceSession, new: ort.InferenceSession, examples: Sequence[Arrays]) -> None:
    for inputs in examples:
        try:
            pairs = list(zip(_answers(old, inputs), _answers(new, inputs), strict=True))
        except _FOREIGN as error:
            raise _Unfit(f"it does not run: {error}") from error
        if not all(_alike(first, second) for first, second in pairs):
            raise _Unfit("its answers would differ")


def _answers(session: ort.InferenceSession, inputs: Arrays) -> list[NDArray[np.generic]]:
    found: list[NDArray[np.generic]] = session.run(None, inputs)
    return found


def _alike(old: NDArray[np.generic], new: NDArray[np.generic]) -> bool:
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    if old.dtype.kind != "f":
        return bool(np.array_equal(old, new))
    largest = float(np.max(np.abs(old), initial=0.0, where=np.isfinite(old)))
    return bool(np.allclose(old, new, rtol=0.0, atol=TOLERANCE * max(largest, 1e-6), equal_nan=True))


def _settings(level: ort.GraphOptimizationLevel) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = level
    return settings


def _open(path: Path, settings: ort.SessionOptions) -> ort.InferenceSession:
    """Raises: _Unfit."""
    try:
        return ort.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _FOREIGN as error:
        raise _Unfit(f"onnxruntime cannot load it: {error}") from error
