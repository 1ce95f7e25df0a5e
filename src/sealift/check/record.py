"""Record golden inputs at pack time, inside the assembled release's own interpreter.

Outputs are taken on one thread; the tolerance comes from the spread over 1, 2 and 4 threads and batch
sizes 2 and 8 (fixed counts: packing on another number of cores must record the same).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.check.golden import (
    Golden,
    GoldenOutput,
    GoldenSet,
    encode_set,
    furthest,
    is_same,
    tensor_of,
    tolerance_for,
)
from sealift.check.payload import read_payload
from sealift.engine.choose import engine_for
from sealift.engine.protocol import Arrays, EngineOptions, Session
from sealift.errors import ModelFailed, RequestError, UsageError
from sealift.model.examples import example_candidates
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel, Service

THREADS: Final = (2, 4)
BATCHES: Final = (2, 8)
SEEDS: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The same model on one thread and on several."""

    one: Session
    several: tuple[Session, ...]


def record_service(service: Service, payloads: Path | None, destination: Path) -> tuple[str, ...]:
    """Write `destination/MODEL.json` for every model; returns sentences for people.

    Args:
        payloads: the project's golden inputs: files, or a folder per model when there are several.
    Raises: UsageError: a given golden input does not run; all of them are named.
    """
    notes: list[str] = []
    destination.mkdir(parents=True, exist_ok=True)
    for model in service.models:
        sessions = _sessions(model)
        if sessions.one.device not in model.device:
            wanted = ", ".join(model.device)
            notes.append(f"golden inputs of {model.name} were recorded on cpu: this machine has no {wanted}")
        recorded = _record_model(
            model, _payloads_of(model, payloads, len(service.models)), sessions, destination
        )
        (destination / f"{model.name}.json").write_bytes(encode_set(recorded))
        if not recorded.goldens:
            notes.append(f"model {model.name} is not golden-checked: {recorded.reason}")
        if recorded.batch_reason:
            notes.append(f"model {model.name} is not batched: {recorded.batch_reason}")
    return tuple(notes)


def _payloads_of(model: ServedModel, payloads: Path | None, models: int) -> tuple[Path, ...]:
    if payloads is None:
        return ()
    folder = payloads / model.name if models > 1 else payloads
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."))


def _record_model(
    model: ServedModel, payloads: Sequence[Path], sessions: _Sessions, destination: Path
) -> GoldenSet:
    if payloads:
        return _from_payloads(model, payloads, sessions, destination)
    return _from_signature(model, sessions)


def _sessions(model: ServedModel) -> _Sessions:
    return _Sessions(_load(model, 1), tuple(_load(model, threads) for threads in THREADS))


def _load(model: ServedModel, threads: int) -> Session:
    """On the model's own device, else on the processor: who packs for a box with a GPU need not have one."""
    devices = tuple(dict.fromkeys((*model.device, "cpu")))
    return engine_for(model.path).load(model.path, EngineOptions(threads=threads, device=devices))


def _from_payloads(
    model: ServedModel, payloads: Sequence[Path], sessions: _Sessions, destination: Path
) -> GoldenSet:
    pipeline = build_pipeline(model)
    goldens: list[Golden] = []
    problems: list[str] = []
    reasons: list[str] = []
    for path in payloads:
        try:
            golden, batch_reason = _from_payload(model, pipeline, path, sessions)
        except (RequestError, UsageError) as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        kept = destination / model.name / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())
        goldens.append(golden)
        reasons.append(batch_reason)
    if problems:
        raise UsageError(f"{len(problems)} golden input(s) of {model.name} do not run", problems=problems)
    return _set_of(model, goldens, reasons)


def _from_payload(
    model: ServedModel, pipeline: Pipeline, path: Path, sessions: _Sessions
) -> tuple[Golden, str]:
    prepared = pipeline.prepare(read_payload(path))
    pipeline.answer(sessions.one.run(prepared.inputs), prepared)
    outputs, batch_reason = _outputs(model, prepared.inputs, sessions)
    return Golden(name=path.name, payload=f"{model.name}/{path.name}", outputs=outputs), batch_reason


def _from_signature(model: ServedModel, sessions: _Sessions) -> GoldenSet:
    goldens: list[Golden] = []
    reasons: list[str] = []
    for seed in SEEDS:
        inputs, why_not = _first_that_runs(model, sessions.one, seed)
        if inputs is None:
            return GoldenSet(model=model.name, reason=why_not, batch_reason="no golden input runs")
        outputs, batch_reason = _outputs(model, inputs, sessions)
        tensors = tuple(tensor_of(name, array) for name, array in inputs.items())
        goldens.append(Golden(name=f"signature-{seed}", inputs=tensors, outputs=outputs))
        reasons.append(batch_reason)
    return _set_of(model, goldens, reasons)


def _set_of(model: ServedModel, goldens: Sequence[Golden], batch_reasons: Sequence[str]) -> GoldenSet:
    batch_reason = next((reason for reason in batch_reasons if reason), "")
    if any(golden.outputs for golden in goldens):
        return GoldenSet(model=model.name, goldens=tuple(goldens), batch_reason=batch_reason)
    reason = "no output is the same twice on the same input (random or order-dependent)"
    return GoldenSet(model=model.name, reason=reason, batch_reason=reason)


def _first_that_runs(model: ServedModel, session: Session, seed: int) -> tuple[Arrays | None, str]:
    failure = "no example input could be made from its signature"
    for inputs in example_candidates(model.signature, seed=seed):
        try:
            session.run(inputs)
        except ModelFailed as error:
            failure = f"inputs made from its signature do not run on it: {error.message.splitlines()[0]}"
        else:
            return inputs, ""
    return None, failure


def _outputs(model: ServedModel, inputs: Arrays, sessions: _Sessions) -> tuple[tuple[GoldenOutput, ...], str]:
    """The outputs worth comparing with their tolerances, and why rows may not share a run ('': they may)."""
    recorded = sessions.one.run(inputs)
    repeated = sessions.one.run(inputs)
    threaded = [session.run(inputs) for session in sessions.several]
    batched, batch_reason = _batched(model, inputs, recorded, sessions.one)
    kept = []
    for name, value in recorded.items():
        tolerance = tolerance_for(value, [run[name] for run in [*threaded, *batched]])
        if is_same(value, repeated[name]) and not math.isinf(tolerance):
            kept.append(GoldenOutput(tensor=tensor_of(name, value), tolerance=tolerance))
    return tuple(kept), batch_reason


def _batched(
    model: ServedModel, inputs: Arrays, recorded: Arrays, session: Session
) -> tuple[list[Arrays], str]:
    """First rows of runs in which other rows stand beside them; all must equal the row alone."""
    if model.signature.batch_axis is None:
        return [], "its inputs and outputs do not share a symbolic first axis"
    rows = next(iter(inputs.values())).shape[0]
    found: list[Arrays] = []
    for size in BATCHES:
        try:
            run = session.run({name: _among_others(array, size) for name, array in inputs.items()})
        except ModelFailed as error:
            return found, f"a batch of {size} does not run: {error.message.splitlines()[0]}"
        first = {name: value[:rows] for name, value in run.items()}
        if not all(_same_row(recorded[name], first[name]) for name in recorded):
            return found, f"a row among {size} differs from the row alone"
        found.append(first)
    return found, ""


def _among_others(array: NDArray[Any], size: int) -> NDArray[Any]:
    # Neighbours differ from the row: reversed along the last axis, so that a model whose rows see each
    # other (dynamic quantisation, batch statistics) cannot pass.
    others = array[..., ::-1] if array.ndim > 1 else array
    return np.ascontiguousarray(np.concatenate([array, *[others] * (size - 1)], axis=0))


def _same_row(alone: NDArray[Any], among: NDArray[Any]) -> bool:
    if alone.shape != among.shape:
        return False
    if alone.dtype.kind != "f":
        return bool(np.array_equal(alone, among))
    scale = float(np.max(np.abs(alone[np.isfinite(alone)].astype(np.float64)), initial=0.0))
    bound = scale * (2.0**-6 if alone.dtype == np.float16 else 2.0**-13)
    return furthest(alone, among) <= max(bound, 2.0**-30)
