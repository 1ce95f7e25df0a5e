"""Project -> the models a worker can load: adapted files and checked declarations (connected side)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealift.errors import ModelError, ProjectError, SealiftError
from sealift.model.agreement import check_declaration
from sealift.model.graph_formats import ModelFile, adapt_file, size_of
from sealift.model.service import ServedModel
from sealift.project.project import ModelEntry, Project


@dataclass(frozen=True, slots=True)
class Prepared:
    """The served models in the project's order, and sentences about what was changed on the way."""

    models: tuple[ServedModel, ...]
    notes: tuple[str, ...]


def prepare_models(project: Project, destination: Path) -> Prepared:
    """Write every model as a release carries it to `destination/NAME/`, and check it against the project.

    Raises: ProjectError: a model that cannot be read, is above `[limits] max_model_mb`, or does not agree
        with its declarations; the problems of all models at once.
    """
    models: list[ServedModel] = []
    notes: list[str] = []
    problems: list[str] = []
    for entry in project.models:
        try:
            model, changed = _prepare(entry, project, destination / entry.name)
        except SealiftError as error:
            problems += [f"model {entry.name}: {text}" for text in _told(error)]
            continue
        problems += [f"model {entry.name}: {problem}" for problem in check_declaration(model)]
        models.append(model)
        notes += [f"model {entry.name}: {note}" for note in changed]
    if problems:
        raise ProjectError(
            f"{project.root / 'sealift.toml'}: {len(problems)} problem(s) with its models", problems=problems
        )
    return Prepared(tuple(models), tuple(notes))


def _told(error: SealiftError) -> tuple[str, ...]:
    """Everything that the error says, its way out included: one model of several has no last line of its own."""
    texts = error.problems or (error.message,)
    return (*texts[:-1], f"{texts[-1]}; {error.next_step}") if error.next_step else texts


def _prepare(entry: ModelEntry, project: Project, folder: Path) -> tuple[ServedModel, tuple[str, ...]]:
    size = size_of(entry.path)
    limit = project.limits.max_model_mb * 1e6
    if size > limit:
        raise ModelError(
            f"{entry.path.name} is {size / 1e6:.1f} MB with its data files, [limits] max_model_mb permits "
            f"{project.limits.max_model_mb:g}"
        )
    adapted = adapt_file(ModelFile(entry.path, entry.engine, entry.inputs, entry.outputs), folder)
    model = ServedModel(
        name=entry.name,
        path=adapted.path,
        signature=adapted.signature,
        input=entry.input,
        output=entry.output,
        handler=entry.handler,
        tokenizer=entry.tokenizer,
        device=entry.device,
        engine=entry.engine,
    )
    return model, adapted.notes
