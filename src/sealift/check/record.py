"""Record golden inputs at pack time, inside the assembled release's own interpreter.

Outputs are taken on one thread; the tolerance comes from the spread over 1, 2 and 4 threads (fixed counts: packing on
another number of cores must record the same). Rows among others need none: the proof holds them to less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.check.golden import (
    Golden,
    GoldenOutput,
    GoldenSet,
    encode_set,
    golden_file,
    is_same,
    tensor_of,
    tolerance_for,
)
from sealift.engine.choose import engine_of
from sealift.engine.proof import why_not_batched
from sealift.engine.protocol import Arrays, EngineOptions, Session
from sealift.errors import ModelFailed, RequestError, UsageError
from sealift.model.examples import example_candidates
from sealift.model.payload import read_payload
from sealift.model.pipeline import build_pipeline
from sealift.model.service import ServedModel, Service

THREADS: Final = (2, 4)
SEEDS: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The same model on one thread and on several."""

    one: Session
    several: tuple[Session, ...]
    precision: str = ""


@dataclass(frozen=True, slots=True)
class _Given:
    """An input that the model runs on: its name, its file among the goldens, its tensors."""

    name: str
    payload: str | None
    inputs: Arrays


def record_service(service: Service, payloads: Path | None, destination: Path) -> tuple[str, ...]:
    """Write `destination/MODEL.json` for every model; returns sentences for people.

    Args:
        payloads: the project's golden inputs: files, or a folder per model when there are several.
    Raises: UsageError: a given golden input does not run; all of them are named.
    """
    notes: list[str] = []
    destination.mkdir(parents=True, exist_ok=True)
    for model in _all_variants(service):
        sessions = _sessions(model)
        if sessions.one.device not in model.device:
            wanted = ", ".join(model.device)
            notes.append(f"golden inputs of {model.name} were recorded on cpu: this machine has no {wanted}")
        recorded = _record_model(
            model, _payloads_of(model, payloads, len(service.models)), sessions, destination
        )
        golden_file(destination, model).write_bytes(encode_set(recorded))
        as_variant = f" as {model.variant}" if len(model.variants) > 1 else ""
        if not recorded.goldens:
            notes.append(f"model {model.name}{as_variant} is not golden-checked: {recorded.reason}")
        if recorded.batch_reason:
            notes.append(f"model {model.name}{as_variant} is not batched: {recorded.batch_reason}")
    return tuple(notes)


def _all_variants(service: Service) -> Iterator[ServedModel]:
    for model in service.models:
        yield model
        yield from (model.running_as(variant.name) for variant in model.variants[1:])


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
    several = tuple(_load(model, threads) for threads in THREADS)
    return _Sessions(_load(model, 1), several, model.precision)


def _load(model: ServedModel, threads: int) -> Session:
    """On the model's own device, else on the processor: who packs for a box with a GPU need not have one."""
    devices = tuple(dict.fromkeys((*model.device, "cpu")))
    return engine_of(model).load(model.path, EngineOptions(threads=threads, device=devices))


def _from_payloads(
    model: ServedModel, payloads: Sequence[Path], sessions: _Sessions, destination: Path
) -> GoldenSet:
    pipeline = build_pipeline(model)
    given: list[_Given] = []
    problems: list[str] = []
    for path in payloads:
        try:
            prepared = pipeline.prepare(read_payload(path))
            pipeline.answer(sessions.one.run(prepared.inputs), prepared)
        except (RequestError, UsageError) as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        kept = destination / model.name / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())
        given.append(_Given(path.name, f"{model.name}/{path.name}", prepared.inputs))
    if problems:
        raise UsageError(f"{len(problems)} golden input(s) of {model.name} do not run", problems=problems)
    return _set_of(model, given, sessions)


def _from_signature(model: ServedModel, sessions: _Sessions) -> GoldenSet:
    given: list[_Given] = []
    for seed in SEEDS:
        inputs, why_not = _first_that_runs(model, sessions.one, seed)
        if inputs is None:
            return GoldenSet(model=model.name, reason=why_not, batch_reason="no golden input runs")
        given.append(_Given(f"signature-{seed}", None, inputs))
    return _set_of(model, given, sessions)


def _set_of(model: ServedModel, given: Sequence[_Given], sessions: _Sessions) -> GoldenSet:
    batch_reason = why_not_batched(sessions.one, model.signature, [each.inputs for each in given])
    goldens = tuple(_golden(each, sessions) for each in given)
    if any(golden.outputs for golden in goldens):
        return GoldenSet(model=model.name, goldens=goldens, batch_reason=batch_reason)
    reason = "no output is the same twice on the same input (random or order-dependent)"
    return GoldenSet(model=model.name, reason=reason, batch_reason=reason)


def _golden(given: _Given, sessions: _Sessions) -> Golden:
    inputs = () if given.payload else tuple(tensor_of(*item) for item in given.inputs.items())
    outputs = _outputs(given.inputs, sessions)
    return Golden(name=given.name, payload=given.payload, inputs=inputs, outputs=outputs)


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


def _outputs(inputs: Arrays, sessions: _Sessions) -> tuple[GoldenOutput, ...]:
    """The outputs that are worth comparing, with their tolerances."""
    recorded = sessions.one.run(inputs)
    repeated = sessions.one.run(inputs)
    variants = [session.run(inputs) for session in sessions.several]
    kept = []
    for name, value in recorded.items():
        tolerance = tolerance_for(value, [run[name] for run in variants], sessions.precision)
        if is_same(value, repeated[name]) and not math.isinf(tolerance):
            kept.append(GoldenOutput(tensor=tensor_of(name, value), tolerance=tolerance))
    return tuple(kept)
