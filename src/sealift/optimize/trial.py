"""Built candidate + Subject -> Variant: answers held against the reference's, speed side by side, every gate."""

from __future__ import annotations

from dataclasses import dataclass

from sealift.engine.choose import engine_of
from sealift.engine.proof import why_not_batched
from sealift.engine.protocol import EngineOptions
from sealift.engine.stored import give_back_free_memory
from sealift.errors import SealiftError
from sealift.events import Progress
from sealift.model.pipeline import build_pipeline
from sealift.optimize.candidates import Built
from sealift.optimize.differences import differences_of
from sealift.optimize.evidence.evaluate import Outcome, evaluate
from sealift.optimize.evidence.metrics import agreement_for
from sealift.optimize.evidence.paired import compare
from sealift.optimize.gates import Bounds, Measured, gates_of
from sealift.optimize.kept import files_in
from sealift.optimize.report import Comparison, Standing, Variant
from sealift.optimize.speed import Effort, fair_race
from sealift.optimize.subject import PROOF, Subject, engine_name


@dataclass(frozen=True, slots=True)
class Answers:
    """What a candidate answers to the evaluation items, and how that compares; the gated comparison first."""

    outcomes: tuple[Outcome, ...]
    comparisons: tuple[Comparison, ...]
    accuracy: Comparison | None
    agreement: Comparison | None
    row_reason: str


def answers_of(built: Built, subject: Subject, progress: Progress) -> Answers:
    """Let a candidate answer every evaluation item, one at a time, as it would be served.

    Raises: SealiftError: it does not load, or fails on an item that the reference answers.
    """
    model = built.model
    items = subject.material.evaluation
    session = engine_of(model).load(model.path, EngineOptions(threads=subject.cores, device=model.device))
    progress.start(f"{built.name}: answer the evaluation inputs", len(items))
    outcomes = evaluate(session, build_pipeline(model), model, items, progress)
    row_reason = why_not_batched(session, model.signature, subject.examples, PROOF)
    del session
    give_back_free_memory()
    compared = tuple(
        compare(metric, subject.outcomes, outcomes, subject.labels) for metric in subject.metrics
    )
    agreement = compare(agreement_for(model), subject.outcomes, outcomes, subject.labels) if items else None
    both = (*compared, *([agreement] if agreement is not None else []))
    return Answers(outcomes, both, compared[0] if compared else None, agreement, row_reason)


def judge(
    built: Built, answers: Answers, subject: Subject, bounds: Bounds, effort: Effort, expected_ms: float
) -> Variant:
    """Race a candidate against the reference and hold it to the gates; its standing comes later (`choose`).

    Args:
        expected_ms: the reference's p50 alone.
    """
    files = files_in(built.folder, built.model.path.relative_to(built.folder).as_posix())
    contest = fair_race(
        subject.reference,
        built.model,
        subject.examples,
        effort,
        cores=subject.cores,
        expected_ms=expected_ms,
    )
    found = Measured(
        size_bytes=sum(file.size for file in files),
        speed=contest.variant,
        accuracy=answers.accuracy,
        agreement=answers.agreement,
        row_reason=answers.row_reason,
        overflow=built.overflow,
    )
    return Variant(
        name=built.name,
        standing=Standing.REFUSED,
        engine=engine_name(built.model),
        precision=built.model.precision,
        files=files,
        recipe=dict(built.recipe),
        comparisons=answers.comparisons,
        gates=gates_of(found, bounds),
        speed=contest.variant,
        layers=built.layers,
        differences=differences_of(subject, answers.outcomes),
    )


def not_built(name: str, reason: str | SealiftError) -> Variant:
    """A candidate that there is nothing to measure of."""
    if isinstance(reason, SealiftError):
        parts = (reason.message, *reason.problems, *([reason.next_step] if reason.next_step else []))
        reason = "; ".join(part.rstrip(".") for part in parts)
    return Variant(name=name, standing=Standing.NOT_BUILT, reasons=(reason,))
