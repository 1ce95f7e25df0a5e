"""Project -> the models a worker can load: adapted files and checked declarations (connected side)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.errors import ModelError, ProjectError, SealiftError
from sealift.model.agreement import check_declaration
from sealift.model.graph_formats import ModelFile, adapt_file, size_of
from sealift.model.service import ServedModel, Variant
from sealift.model.signature import Signature
from sealift.project.optimized import Shipping, folder_of, read_shipping
from sealift.project.project import ModelEntry, Project


@dataclass(frozen=True, slots=True)
class Prepared:
    """The served models in the project's order, and sentences about what was changed on the way.

    `shipped`: by name, what `sealift optimize` left of those models that it was asked to optimise.
    """

    models: tuple[ServedModel, ...]
    notes: tuple[str, ...]
    shipped: Mapping[str, Shipping]


def prepare_models(project: Project, destination: Path) -> Prepared:
    """Write every model as a release carries it to `destination/NAME/`, and check it against the project.

    Raises: ProjectError: a model that cannot be read, is above `[limits] max_model_mb`, or does not agree
        with its declarations; the problems of all models at once.
    """
    models: list[ServedModel] = []
    notes: list[str] = []
    problems: list[str] = []
    shipped: dict[str, Shipping] = {}
    for entry in project.models:
        try:
            shipping = _sized(entry, project)
            if shipping is not None:
                shipped[entry.name] = shipping
            model, changed = _prepare(entry, project, shipping, destination / entry.name)
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
    return Prepared(tuple(models), tuple(notes), shipped)


def _told(error: SealiftError) -> tuple[str, ...]:
    """Everything that the error says, its way out included: one model of several has no last line of its own."""
    texts = error.problems or (error.message,)
    if error.problems and error.message:
        texts = (f"{error.message}: {texts[0]}", *texts[1:])
    return (*texts[:-1], f"{texts[-1]}; {error.next_step}") if error.next_step else texts


def _sized(entry: ModelEntry, project: Project) -> Shipping | None:
    """What was optimised of a model, once what would travel is known not to be too large."""
    shipping = read_shipping(project, entry)
    if shipping is None:
        refuse_size(project, entry.path.name, size_of(entry.path))
        return None
    folder = folder_of(project, entry.name)
    for variant in shipping.variants:
        size = sum((folder / variant.folder / file.name).stat().st_size for file in variant.files)
        refuse_size(project, f"variant {variant.name}", size)
    return shipping


def refuse_size(project: Project, what: str, size_bytes: int) -> None:
    """Raises: ModelError: more than `[limits] max_model_mb`."""
    limit = project.limits.max_model_mb
    if size_bytes > limit * 1e6:
        raise ModelError(
            f"{what} is {size_bytes / 1e6:.1f} MB with its data files, [limits] max_model_mb permits {limit:g}"
        )


def _prepare(
    entry: ModelEntry, project: Project, shipping: Shipping | None, folder: Path
) -> tuple[ServedModel, tuple[str, ...]]:
    if shipping is not None:
        return _optimized(entry, shipping, folder_of(project, entry.name), folder), ()
    if entry.needs_export:
        text = f"{entry.path.name} holds weights, and nobody has made a model of them and their module yet"
        raise ModelError(text, next_step=f"sealift optimize {project.root}")
    adapted = adapt_file(ModelFile(entry.path, entry.engine, entry.inputs, entry.outputs), folder)
    return served_model(entry, adapted.path, adapted.signature), adapted.notes


def served_model(entry: ModelEntry, path: Path, signature: Signature) -> ServedModel:
    """A model as its project declares it, answered by the file at `path`."""
    return ServedModel(
        name=entry.name,
        path=path,
        signature=signature,
        input=entry.input,
        output=entry.output,
        handler=entry.handler,
        tokenizer=entry.tokenizer,
        device=entry.device,
        engine=entry.engine,
    )


def _optimized(entry: ModelEntry, shipping: Shipping, measured: Path, folder: Path) -> ServedModel:
    """The files that were measured, as they are: nothing adapts them once more."""
    variants = []
    for shipped in shipping.variants:
        (folder / shipped.name).mkdir(parents=True, exist_ok=True)
        copied = [folder / shipped.name / file.name for file in shipped.files]
        for target in copied:
            shutil.copyfile(measured / shipped.folder / target.name, target)
        variants.append(Variant(shipped.name, copied[0], shipped.engine, shipped.precision))
    model = replace(served_model(entry, variants[0].path, shipping.signature), variants=tuple(variants))
    return model.running_as(variants[0].name)
