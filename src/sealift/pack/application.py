"""Project -> the application layer: models, handlers, tokenizers, service.json, settings.json, goldens."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.model.service import ServedModel
from sealift.model.service_json import dump_models
from sealift.model.settings import FILE_NAME as SETTINGS
from sealift.model.settings import encode_schema
from sealift.project.code import code_files
from sealift.project.optimized import REPORT, Shipping, folder_of
from sealift.project.project import Project
from sealift.project.served import prepare_models


@dataclass(frozen=True, slots=True)
class Application:
    """The models as the release has them, notes for people, and what release.json states of their quality.

    `quality`: by model that was optimised, the digest of its report, the variant that ships, and the verdict.
    """

    models: tuple[ServedModel, ...]
    notes: tuple[str, ...]
    quality: Mapping[str, Mapping[str, str]]


def write_application(project: Project, application: Path) -> Application:
    """Write models, what belongs to them, service.json, settings.json and the quality reports into the folder.

    Raises: ProjectError: models or handlers that cannot travel, all problems at once.
    """
    prepared = prepare_models(project, application / "models")
    models = tuple(_with_tokenizer(_with_handler(m, application), application) for m in prepared.models)
    (application / "service.json").write_bytes(dump_models(models, application))
    (application / SETTINGS).write_bytes(_settings(project))
    return Application(models, prepared.notes, _reports(project, prepared.shipped, application / "reports"))


def _reports(
    project: Project, shipped: Mapping[str, Shipping], folder: Path
) -> Mapping[str, Mapping[str, str]]:
    """Every report travels with what it is about; the signed document names its digest."""
    for name in shipped:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(folder_of(project, name) / REPORT, folder / f"{name}.json")
    return {
        name: {"report": each.report, "variant": each.variants[0].name, "verdict": each.verdict}
        for name, each in shipped.items()
    }


def _settings(project: Project) -> bytes:
    slo, limits = project.slo, project.limits
    return encode_schema(
        project.settings,
        {"availability": slo.availability, "latency_p99_ms": slo.latency_p99_ms},
        {"max_memory_mb": limits.max_memory_mb},
    )


def _with_handler(model: ServedModel, application: Path) -> ServedModel:
    if model.handler is None:
        return model
    folder = application / "handlers" / model.name
    folder.mkdir(parents=True, exist_ok=True)
    for source in code_files(model.handler):
        target = folder / source.relative_to(model.handler.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return replace(model, handler=folder / model.handler.name)


def _with_tokenizer(model: ServedModel, application: Path) -> ServedModel:
    if model.tokenizer is None:
        return model
    carried = application / "tokenizers" / f"{model.name}.json"
    carried.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model.tokenizer, carried)
    return replace(model, tokenizer=carried)
