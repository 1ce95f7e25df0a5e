"""The check itself, inside the release's interpreter: load, device, golden inputs, latency, memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealift.check.latency import Latency, measure
from sealift.check.loaded import LoadedModel, answering, as_served, compare, golden_inputs, load_model
from sealift.check.report import NEVER_HERE, CheckReport, Finding
from sealift.check.variants import Choice, choose_variant
from sealift.engine.proof import NO_ROWS, Effort, why_not_batched
from sealift.engine.protocol import Arrays, Session
from sealift.engine.stored import give_back_free_memory
from sealift.engine.tuning import LONGEST_RUN_S, Bounds, Measured, forget_peak, peak_resident_bytes
from sealift.engine.tuning import measure as measure_batches
from sealift.errors import ModelError, SealiftError
from sealift.model.service import ServedModel, Service
from sealift.model.settings import Schema, Settings

SHOWN_PROBLEMS: Final = 4
BATCHES_S: Final = 1.0
"""For all batch sizes of a model."""
PROVING_S: Final = 0.5


def check_service(service: Service, goldens: Path, settings: Settings | None = None) -> CheckReport:
    """Check every model of a staged service; `goldens` is its folder of recorded inputs.

    Everything is tried, so that one report names all that does not hold.

    Args:
        settings: what the box demands and how it serves (threads); None: sealift's defaults.
    """
    settings = settings or Schema().resolve({})
    findings: list[Finding] = []
    measured = _Measured()
    checked: list[bool] = []
    for model in service.models:
        try:
            if len(model.variants) > 1:
                model = _chosen(model, goldens, settings, measured)
                findings.append(measured.choices[model.name].finding)
            loaded = load_model(model, goldens, settings)
            checked.append(bool(loaded.recorded.goldens))
            findings += _findings(loaded, settings, measured)
        except SealiftError as error:
            findings.append(Finding(f"model {model.name}", False, _sentence(error)))
            checked.append(False)
        except MemoryError:
            findings.append(Finding(f"model {model.name}", False, "this box has not enough memory for it"))
            checked.append(False)
    peak_mb = measured.memory.peak_mb()
    findings += _memory(peak_mb, settings.limits.max_memory_mb)
    return CheckReport(
        findings=tuple(findings),
        golden_checked=all(checked),
        latency_ms={name: latency.median_ms for name, latency in measured.latencies.items()},
        memory_mb=peak_mb,
        latency_p99_ms={name: latency.tail_ms for name, latency in measured.latencies.items()},
        max_rows=measured.max_rows,
        trials_mb=measured.memory.trials_bytes / 1e6,
        variants={name: choice.model.variant for name, choice in measured.choices.items()},
    )


@dataclass(slots=True)
class _Memory:
    """The most that this process has held, without what it held only to try something out."""

    peak_bytes: int = 0
    trials_bytes: int = 0

    def peak_mb(self) -> float:
        """Until now, in 10^6 bytes."""
        self.peak_bytes = max(self.peak_bytes, peak_resident_bytes())
        return self.peak_bytes / 1e6

    def leave_out(self) -> None:
        """What was held since the last `peak_mb` does not count."""
        self.trials_bytes = max(self.trials_bytes, peak_resident_bytes() - self.peak_bytes)
        forget_peak()


@dataclass(frozen=True, slots=True)
class _Measured:
    """By model; filled as the check goes on."""

    latencies: dict[str, Latency] = field(default_factory=dict)
    max_rows: dict[str, int] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    memory: _Memory = field(default_factory=_Memory)


def _chosen(model: ServedModel, goldens: Path, settings: Settings, measured: _Measured) -> ServedModel:
    """The variant that answers here; what the others held while they were timed does not count."""
    measured.memory.peak_mb()
    measured.choices[model.name] = choose_variant(model, goldens, settings)
    give_back_free_memory()
    measured.memory.leave_out()
    return measured.choices[model.name].model


def _findings(loaded: LoadedModel, settings: Settings, measured: _Measured) -> Iterator[Finding]:
    name, recorded = loaded.model.name, loaded.recorded
    yield Finding(f"model {name}", True, f"loads, runs on {_device(loaded)}")
    if not recorded.goldens:
        yield Finding(f"golden inputs of {name}", True, f"not golden-checked: {recorded.reason}")
        yield _batching(loaded, settings, measured)
        return
    problems = compare(loaded)
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        text = "; ".join(problems[:SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        yield Finding(f"golden inputs of {name}", False, text)
        return
    loaded, measured.latencies[name] = as_served(loaded, settings)
    median_ms = measured.latencies[name].median_ms
    yield Finding(
        f"golden inputs of {name}", True, f"{len(recorded.goldens)} as recorded, {median_ms:.2f} ms each"
    )
    yield _latency(loaded, measured.latencies, settings.slo.latency_p99_ms)
    yield _batching(loaded, settings, measured)


def _batching(loaded: LoadedModel, settings: Settings, measured: _Measured) -> Finding:
    """How many rows pay here, and whether they stay what they are: other processors, other engine paths."""
    name, recorded = loaded.model.name, loaded.recorded
    title = f"batching of {name}"
    measured.max_rows[name] = 1
    if recorded.batch_reason or not recorded.goldens:
        return Finding(title, True, f"not batched: {recorded.batch_reason or NO_ROWS}")
    given = [golden_inputs(golden, loaded.pipeline, loaded.folder) for golden in recorded.goldens]
    found = _measured(loaded, settings, given[0], measured.memory)
    wanted = settings.batch_max_of(name)
    rows = wanted or found.max_rows
    if rows > 1:
        signature = loaded.model.signature
        reason = why_not_batched(loaded.session, signature, given, Effort((2, rows), PROVING_S))
        if reason:
            measured.max_rows[name] = NEVER_HERE
            return Finding(title, True, f"not batched: on this box {reason}")
    measured.max_rows[name] = found.max_rows
    return Finding(title, True, found.words + (f"; this box sets at most {wanted}" if wanted else ""))


def _measured(loaded: LoadedModel, settings: Settings, inputs: Arrays, memory: _Memory) -> Measured:
    """What sizes take, on a session that is gone afterwards."""
    memory.peak_mb()
    session = _when_busy(loaded, settings)
    found = measure_batches(session, loaded.model.signature, inputs, BATCHES_S, _bounds(settings))
    del session
    loaded.session.idle()
    memory.leave_out()
    return found


def _when_busy(loaded: LoadedModel, settings: Settings) -> Session:
    """Batches form when there is much to do, and then a worker's runs have one thread each."""
    session = loaded.session
    if settings.threads == 1 or session.device != "cpu":
        return session
    try:
        return session.with_threads(1, may_copy=settings.limits.max_memory_mb is None) or session
    except ModelError:
        return session


def _bounds(settings: Settings) -> Bounds:
    """A batch may take half of what an answer may; memory as it is permitted."""
    permitted_ms, permitted_mb = settings.slo.latency_p99_ms, settings.limits.max_memory_mb
    return Bounds(
        longest_run_s=LONGEST_RUN_S if permitted_ms is None else min(LONGEST_RUN_S, permitted_ms / 2000),
        memory_bytes=None if permitted_mb is None else permitted_mb * 1e6,
    )


def _device(loaded: LoadedModel) -> str:
    """`cpu`, `cpu, degraded: cuda cannot be used: ...`."""
    degraded = loaded.session.degraded
    return f"{loaded.session.device}, degraded: {degraded}" if degraded else loaded.session.device


def _latency(loaded: LoadedModel, latencies: dict[str, Latency], permitted_ms: float | None) -> Finding:
    """Measured a second time before it is refused: another program's burst is not the release's fault."""
    name = loaded.model.name
    title, first = f"latency of {name}", latencies[name]
    if permitted_ms is None or first.tail_ms <= permitted_ms:
        promise = "" if permitted_ms is None else f", {permitted_ms:g} ms are permitted"
        return Finding(title, True, first.words + promise)
    second = measure(answering(loaded))
    latencies[name] = min(first, second, key=lambda latency: latency.tail_ms)
    if second.tail_ms <= permitted_ms:
        return Finding(
            title, True, f"{second.words}, {permitted_ms:g} ms are permitted (before: {first.words})"
        )
    return Finding(
        title,
        False,
        f"expected a p99 of at most {permitted_ms:g} ms (slo.latency_p99_ms), found {first.words}, "
        f"then {second.words}; give it more threads, free the processor, or permit more with sealift config set",
    )


def _memory(peak_mb: float, permitted_mb: float | None) -> Iterator[Finding]:
    if permitted_mb is None:
        return
    if peak_mb <= permitted_mb:
        yield Finding("memory", True, f"{peak_mb:.0f} MB at the peak, {permitted_mb:g} MB are permitted")
        return
    yield Finding(
        "memory",
        False,
        f"expected at most {permitted_mb:g} MB (limits.max_memory_mb), found {peak_mb:.0f} MB at the peak; "
        "ask for a smaller release, or permit more with sealift config set",
    )


def _sentence(error: SealiftError) -> str:
    """Message, problems and advice in one."""
    parts = [error.message, *error.problems, *([f"next: {error.next_step}"] if error.next_step else [])]
    return "; ".join(part.rstrip(".;") for part in parts)
