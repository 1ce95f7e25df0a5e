"""Project + one of its models -> Subject: the reference as it is served, and the data that variants are held to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.engine.choose import engine_of
from sealift.engine.proof import Effort, why_not_batched
from sealift.engine.protocol import Arrays, EngineOptions, Loaded
from sealift.errors import ModelError, ModelFailed, ProjectError
from sealift.events import Progress
from sealift.model.agreement import check_declaration
from sealift.model.engines import default_engine
from sealift.model.examples import example_candidates
from sealift.model.graph_formats import ModelFile, adapt_file
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel
from sealift.optimize.data.dataset import Dataset, Item, read_dataset
from sealift.optimize.evidence.evaluate import Outcome, evaluate
from sealift.optimize.evidence.metrics import Metric, metrics_for
from sealift.optimize.export.operators import graph_problems, openvino_problems
from sealift.project.project import ModelEntry, Project
from sealift.project.served import served_model

REFERENCE: Final = "fp32"
EXAMPLES: Final = 8
"""So many inputs are timed in turn, and held against each other in the proof of rows."""
PROOF: Final = Effort((2, 3, 8), 3.0)


@dataclass(frozen=True, slots=True)
class Material:
    """What a project gives to measure on. Empty where it names no data.

    `note`: what a person should know about where it came from.
    """

    calibration: tuple[Item, ...] = ()
    evaluation: tuple[Item, ...] = ()
    note: str = ""

    @property
    def labelled(self) -> bool:
        """Whether every evaluation item has a label."""
        return bool(self.evaluation) and all(item.label is not None for item in self.evaluation)


@dataclass(frozen=True, slots=True)
class Subject:
    """One model to be optimised.

    `reference` is the model as it would be served without this, `session` it loaded on all cores. `outcomes` are
    its answers to the evaluation items, in their order. `examples` are prepared single rows, at least one.
    `metrics` has the gated one first; without labels it is empty. `row_reason`: why rows of the reference may not
    share a run. `cores`: runs that fit side by side.
    """

    project: Project
    entry: ModelEntry
    reference: ServedModel
    session: Loaded
    pipeline: Pipeline
    material: Material
    examples: tuple[Arrays, ...]
    outcomes: tuple[Outcome, ...]
    metrics: tuple[Metric, ...]
    row_reason: str
    cores: int
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> list[object]:
        """Of the evaluation items."""
        return [item.label for item in self.material.evaluation]


def engine_name(model: ServedModel) -> str:
    """The engine that runs a model, also where its file's suffix says it."""
    return model.engine or default_engine(model.path) or ""


def subject_of(project: Project, entry: ModelEntry, folder: Path, progress: Progress) -> Subject:
    """Read model and data, and let the reference answer.

    Args:
        folder: where the reference is written; it holds nothing else afterwards.
    Raises: ProjectError, ModelError: the model cannot be read, does not fit its declarations, or its data cannot
        be read; all problems at once.
    """
    progress.start(f"read {entry.name}")
    reference, notes = _reference(entry, folder)
    pipeline = build_pipeline(reference)
    material = _material(project, entry)
    cores = len(os.sched_getaffinity(0))
    session = engine_of(reference).load(reference.path, EngineOptions(threads=cores, device=reference.device))
    examples = _examples(reference, session, pipeline, (*material.calibration, *material.evaluation))
    progress.start(f"{REFERENCE}: answer the evaluation inputs", len(material.evaluation))
    return Subject(
        project=project,
        entry=entry,
        reference=reference,
        session=session,
        pipeline=pipeline,
        material=material,
        examples=examples,
        outcomes=evaluate(session, pipeline, reference, material.evaluation, progress),
        metrics=_metrics(project, reference, material),
        row_reason=why_not_batched(session, reference.signature, examples, PROOF),
        cores=cores,
        notes=notes,
    )


def _metrics(project: Project, reference: ServedModel, material: Material) -> tuple[Metric, ...]:
    if not material.labelled:
        return ()
    return metrics_for(reference, project.optimize.metric, [item.label for item in material.evaluation])


def _reference(entry: ModelEntry, folder: Path) -> tuple[ServedModel, tuple[str, ...]]:
    if entry.needs_export:
        from sealift.optimize.export.model import export_model

        exported = export_model(entry, folder)
        model, notes = served_model(entry, exported.path, exported.signature), exported.notes
    else:
        adapted = adapt_file(ModelFile(entry.path, entry.engine, entry.inputs, entry.outputs), folder)
        model, notes = served_model(entry, adapted.path, adapted.signature), adapted.notes
    problems = check_declaration(model)
    if problems:
        raise ProjectError(f"model {entry.name} does not fit its declarations", problems=problems)
    lacking = _lacking(model)
    if lacking:
        raise ModelError(f"{entry.path.name} does not run on {engine_name(model)}", problems=lacking)
    return model, notes


def _lacking(model: ServedModel) -> tuple[str, ...]:
    """What keeps the engine from running an ONNX file, all of it; loading would name the first only."""
    if model.path.suffix != ".onnx":
        return ()
    return openvino_problems(model.path) if engine_name(model) == "openvino" else graph_problems(model.path)


def _material(project: Project, entry: ModelEntry) -> Material:
    wish, several = project.optimize, len(project.models) > 1

    def read(path: Path) -> Dataset:
        return read_dataset(path, entry, wish.label, several=several)

    calibration = read(wish.calibration).items if wish.calibration is not None else ()
    evaluation = read(wish.evaluation).items if wish.evaluation is not None else ()
    if evaluation and not calibration:
        return Material(
            evaluation[1::2], evaluation[::2], "half of the evaluation data calibrates, and is not evaluated"
        )
    if calibration and not evaluation:
        return Material(
            calibration[::2],
            calibration[1::2],
            "half of the calibration data evaluates, and does not calibrate",
        )
    return Material(calibration, evaluation)


def _examples(
    reference: ServedModel, session: Loaded, pipeline: Pipeline, items: Sequence[Item]
) -> tuple[Arrays, ...]:
    """A few of the data, else made from the signature. Raises: ProjectError: the model runs on none."""
    if items:
        return tuple(
            item.prepare(pipeline).inputs for item in items[:: max(1, len(items) // EXAMPLES)][:EXAMPLES]
        )
    found = []
    for seed in range(EXAMPLES):
        for inputs in example_candidates(reference.signature, seed=seed):
            try:
                session.run(inputs)
            except ModelFailed:
                continue
            found.append(inputs)
            break
    if not found:
        raise ProjectError(
            f"model {reference.name} runs on no input made from its signature",
            next_step="give [optimize] evaluation data",
        )
    return tuple(found)
