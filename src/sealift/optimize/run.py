"""Project + one of its models -> QualityReport, and `optimized/MODEL/` with the best so far."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift import __version__
from sealift.errors import SealiftError, UsageError
from sealift.events import Progress
from sealift.model.graph_formats import size_of
from sealift.optimize.build import Workshop, build, names_of
from sealift.optimize.candidates import Built, NotApt
from sealift.optimize.choose import Chosen, choose
from sealift.optimize.differences import examples_of
from sealift.optimize.gates import Bounds
from sealift.optimize.kept import WORK, Kept, files_in, keep
from sealift.optimize.machine import int8_kind, this_machine
from sealift.optimize.report import Data, QualityReport, Standing, Suspicion, Variant
from sealift.optimize.speed import THOROUGH, Effort, alone
from sealift.optimize.subject import REFERENCE, Subject, engine_name, subject_of
from sealift.optimize.suspect.guard import LABELS_SHIFTED, NOT_TRAINED, suspicions_of
from sealift.optimize.trial import answers_of, judge, not_built
from sealift.project.optimized import folder_of, source_digest
from sealift.project.project import ModelEntry, Project
from sealift.project.served import refuse_size


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same while the candidates of one model are tried."""

    subject: Subject
    bounds: Bounds
    folder: Path
    source: str
    suspicions: tuple[Suspicion, ...]
    effort: Effort

    @property
    def work(self) -> Path:
        return self.folder / WORK


def optimize_model(
    project: Project, entry: ModelEntry, progress: Progress, effort: Effort = THOROUGH
) -> QualityReport:
    """Build, measure and judge every candidate of a model; keep the best after each.

    Returns: the report, with pictures and inputs; what is kept on disk has neither.
    Raises: ProjectError, ModelError, UsageError: model or data cannot be read, or nothing that travels would be
        small enough; what an earlier run kept stays.
    """
    folder = folder_of(project, entry.name)
    try:
        report = _tried(_begun(project, entry, progress, effort), progress)
    except SealiftError:
        _tidy(folder)
        raise
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return report


def _tried(run: _Run, progress: Progress) -> QualityReport:
    variants = [_reference(run)]
    folders = {REFERENCE: run.work / REFERENCE}
    report = _kept(run, variants, folders)
    for name, candidate in _candidates(run, progress):
        variants.append(_judged(run, variants[0], name, candidate, progress))
        if isinstance(candidate, Built):
            folders[name] = candidate.folder
        report = _kept(run, variants, folders)
    _refuse_too_large(run, report)
    return report


def _tidy(folder: Path) -> None:
    """Nothing of a run that failed stays but how far calibration came; folders that were there do."""
    for path in (folder / WORK).glob("*/"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (folder / WORK, folder, folder.parent):
        with contextlib.suppress(OSError):
            path.rmdir()


def _begun(project: Project, entry: ModelEntry, progress: Progress, effort: Effort) -> _Run:
    folder = folder_of(project, entry.name)
    source = source_digest(project, entry)
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    shutil.rmtree(folder / WORK / REFERENCE, ignore_errors=True)
    subject = subject_of(project, entry, folder / WORK / REFERENCE, progress)
    bounds = Bounds(
        wish=project.optimize,
        permitted_bytes=project.limits.max_model_mb * 1e6,
        reference_bytes=size_of(subject.reference.path),
        p99_ms=project.slo.latency_p99_ms,
        target_int8=int8_kind(project.target.cpu) != "none",
        rows_share=not subject.row_reason,
    )
    progress.start("look at the preprocessing")
    return _Run(subject, bounds, folder, source, suspicions_of(subject), effort)


def _reference(run: _Run) -> Variant:
    """What everything else is held against; it has no gates, for it ships when nothing else does."""
    model = run.subject.reference
    return Variant(
        name=REFERENCE,
        standing=Standing.REFUSED,
        engine=engine_name(model),
        files=files_in(run.work / REFERENCE, model.path.name),
        recipe={"made from": run.subject.entry.path.name},
        speed=alone(model, run.subject.examples, run.effort, cores=run.subject.cores),
        comparisons=(),
    )


def _candidates(run: _Run, progress: Progress) -> Iterator[tuple[str, Built | NotApt | SealiftError]]:
    workshop = Workshop(run.subject, run.work, run.bounds, progress, _hopeless(run.suspicions))
    for name in names_of(run.subject):
        try:
            yield from ((built.name, built) for built in build(name, workshop))
        except (NotApt, SealiftError) as error:
            yield name, error


def _hopeless(suspicions: Sequence[Suspicion]) -> str:
    """A model that guesses cannot be optimised: whatever is made of it guesses as well, and agrees."""
    for suspicion in suspicions:
        if suspicion.certain and suspicion.what in (NOT_TRAINED, LABELS_SHIFTED):
            return f"{suspicion.what}: {suspicion.sentence}"
    return ""


def _judged(
    run: _Run, reference: Variant, name: str, candidate: Built | NotApt | SealiftError, progress: Progress
) -> Variant:
    if isinstance(candidate, NotApt):
        return not_built(name, str(candidate))
    if isinstance(candidate, SealiftError):
        return not_built(name, candidate)
    try:
        answers = answers_of(candidate, run.subject, progress)
        progress.start(f"{name}: measure beside {REFERENCE}")
        expected_ms = reference.speed.p50_ms if reference.speed is not None else math.inf
        return judge(candidate, answers, run.subject, run.bounds, run.effort, expected_ms)
    except SealiftError as error:
        return not_built(name, error)


def _kept(run: _Run, variants: list[Variant], folders: dict[str, Path]) -> QualityReport:
    chosen = choose(variants, run.bounds.wish)
    report = _report(run, chosen)
    if report.variant(chosen.ships).size <= run.bounds.permitted_bytes:
        # What is too large to travel never replaces what an earlier run kept.
        keep(run.folder, Kept(report, chosen.travels, folders, run.subject.reference.signature))
    return report


def _report(run: _Run, chosen: Chosen) -> QualityReport:
    subject, material = run.subject, run.subject.material
    return QualityReport(
        model=subject.entry.name,
        project=subject.project.name,
        version=subject.project.version,
        source=run.source,
        created_with=f"sealift {__version__}",
        machine=this_machine(),
        data=Data(
            calibration=len(material.calibration),
            evaluation=len(material.evaluation),
            labelled=sum(item.label is not None for item in material.evaluation),
            note=material.note,
            examples=examples_of(subject),
        ),
        prefer=run.bounds.wish.prefer,
        chosen=chosen.ships,
        verdict=chosen.verdict,
        variants=chosen.variants,
        suspicions=run.suspicions,
        notes=subject.notes,
    )


def _refuse_too_large(run: _Run, report: QualityReport) -> None:
    """Raises: ModelError: what ships is larger than permitted, and no variant that is smaller passed."""
    refuse_size(
        run.subject.project, f"{report.chosen}, which would ship,", report.variant(report.chosen).size
    )
