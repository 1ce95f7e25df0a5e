"""A model as a worker would run it, held against what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.check.golden import Golden, GoldenSet, differences, golden_file, read_set
from sealift.check.latency import Latency, measure
from sealift.engine.choose import engine_of
from sealift.engine.protocol import QUICK_RUN_S, Arrays, EngineOptions, Loaded
from sealift.errors import RequestError
from sealift.model.arrays import Prepared
from sealift.model.payload import read_payload
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel
from sealift.model.settings import Settings


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as a worker would run it, and what was recorded of it."""

    model: ServedModel
    session: Loaded
    pipeline: Pipeline
    recorded: GoldenSet
    folder: Path


def load_model(model: ServedModel, goldens: Path, settings: Settings) -> LoadedModel:
    """Load a model with as many threads as the box gives a run.

    Args:
        goldens: the folder of recorded inputs.
    Raises: ModelError: it does not load here. StoreError: what was recorded is missing or damaged.
    """
    session = _session(model, settings.threads)
    recorded = read_set(golden_file(goldens, model))
    return LoadedModel(model, session, build_pipeline(model), recorded, goldens)


def _session(model: ServedModel, threads: int) -> Loaded:
    return engine_of(model).load(model.path, EngineOptions(threads=threads, device=model.device))


def as_served(loaded: LoadedModel, settings: Settings) -> tuple[LoadedModel, Latency]:
    """With as many threads as a worker gives it, and how long its answers take."""
    latency = measure(answering(loaded))
    if settings.threads == 1 or latency.median_ms >= QUICK_RUN_S * 1000:
        return loaded, latency
    alone = replace(loaded, session=_session(loaded.model, 1))
    return alone, measure(answering(alone))


def compare(loaded: LoadedModel) -> list[str]:
    """What is not as recorded, a sentence each."""
    problems: list[str] = []
    for golden in loaded.recorded.goldens:
        try:
            inputs = golden_inputs(golden, loaded.pipeline, loaded.folder)
            problems += differences(golden, loaded.session.run(inputs))
        except RequestError as error:
            problems.append(f"golden input {golden.name}: {error.message}")
    return problems


def golden_inputs(golden: Golden, pipeline: Pipeline, folder: Path) -> Arrays:
    """The tensors of a golden input: through pre-processing when it is a payload, else as recorded."""
    if golden.payload is not None:
        return pipeline.prepare(read_payload(folder / golden.payload)).inputs
    return golden.tensors()


def answering(loaded: LoadedModel) -> Callable[[int], object]:
    """One answer a call, the golden inputs in turn: from the payload, where one was recorded, to the JSON."""
    steps = [_step(golden, loaded) for golden in loaded.recorded.goldens]
    return lambda number: steps[number % len(steps)]()


def _step(golden: Golden, loaded: LoadedModel) -> Callable[[], object]:
    session, pipeline = loaded.session, loaded.pipeline
    if golden.payload is not None:
        payload = read_payload(loaded.folder / golden.payload)

        def answer() -> object:
            prepared = pipeline.prepare(payload)
            return pipeline.answer(session.run(prepared.inputs), prepared)

        return answer
    prepared = Prepared(golden_inputs(golden, pipeline, loaded.folder))
    try:
        pipeline.answer(session.run(prepared.inputs), prepared)
    except RequestError:
        # Made-up tensors need not mean anything to a handler: then the run alone is measured.
        return lambda: session.run(prepared.inputs)
    return lambda: pipeline.answer(session.run(prepared.inputs), prepared)
