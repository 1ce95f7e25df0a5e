"""The check itself, inside the release's interpreter: load, device, golden inputs, latency, memory."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sealift.check.golden import Golden, GoldenSet, decode_set, differences
from sealift.check.payload import read_payload
from sealift.check.report import CheckReport, Finding
from sealift.engine.choose import engine_for
from sealift.engine.protocol import Arrays, EngineOptions, Session
from sealift.errors import SealiftError
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel, Service

TIMED_RUNS: Final = 20


def check_service(service: Service, goldens: Path) -> CheckReport:
    """Check every model of a staged service; `goldens` is its folder of recorded inputs.

    Everything is tried, so that one report names all that does not hold.
    """
    findings: list[Finding] = []
    latency: dict[str, float] = {}
    checked: list[bool] = []
    for model in service.models:
        name = f"model {model.name}"
        try:
            session, pipeline = _load(model)
            findings.append(Finding(name, True, f"loads, runs on {session.device}"))
            recorded = decode_set((goldens / f"{model.name}.json").read_bytes())
            checked.append(bool(recorded.goldens))
            findings += _compare(recorded, session, pipeline, goldens, latency)
        except SealiftError as error:
            findings.append(Finding(name, False, error.message))
            checked.append(False)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return CheckReport(tuple(findings), all(checked), latency, peak_mb)


def _load(model: ServedModel) -> tuple[Session, Pipeline]:
    session = engine_for(model.path).load(model.path, EngineOptions(threads=1, device=model.device))
    return session, build_pipeline(model)


def _compare(
    recorded: GoldenSet, session: Session, pipeline: Pipeline, folder: Path, latency: dict[str, float]
) -> Iterator[Finding]:
    name = f"golden inputs of {recorded.model}"
    if not recorded.goldens:
        yield Finding(name, True, f"not golden-checked: {recorded.reason}")
        return
    problems: list[str] = []
    times_ms: list[float] = []
    for golden in recorded.goldens:
        inputs = golden_inputs(golden, pipeline, folder)
        problems += differences(golden, session.run(inputs))
        times_ms += _timed(session, inputs, max(1, TIMED_RUNS // len(recorded.goldens)))
    latency[recorded.model] = statistics.median(times_ms)
    if problems:
        yield Finding(name, False, "; ".join(problems))
        return
    yield Finding(name, True, f"{len(recorded.goldens)} as recorded, {latency[recorded.model]:.2f} ms each")


def golden_inputs(golden: Golden, pipeline: Pipeline, folder: Path) -> Arrays:
    """The tensors of a golden input: through pre-processing when it is a payload, else as recorded."""
    if golden.payload is not None:
        return pipeline.prepare(read_payload(folder / golden.payload)).inputs
    return {tensor.name: tensor.array() for tensor in golden.inputs}


def _timed(session: Session, inputs: Arrays, runs: int) -> Iterator[float]:
    for _ in range(runs):
        began = time.perf_counter()
        session.run(inputs)
        yield (time.perf_counter() - began) * 1000
