"""Service from an installed release's tree with this box's settings, or from a project folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sealift import canonical
from sealift.bundle.documents import decode_release
from sealift.check.golden import golden_file, read_batch_reason
from sealift.check.report import NEVER_HERE
from sealift.model.declaration import ScoresOutput
from sealift.model.service import PROVEN_AT_LOAD, Batching, ServedModel, Service
from sealift.model.service_json import load_models
from sealift.model.settings import Settings, schema_of, settings_of
from sealift.store.site import read_site_file

if TYPE_CHECKING:
    from sealift.serve.predictor import PredictorOptions


@dataclass(frozen=True, slots=True)
class Chosen:
    """By model, what the check of a release measured on this box: rows of a run, and the quickest variant.

    What is not there was not measured: then the first variant answers.
    """

    max_rows: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)


def release_service(tree: Path, site: Path | None = None, chosen: Chosen = Chosen()) -> Service:
    """What an installed release serves on this box.

    Args:
        site: the box's site file; device, threshold and batching of it count here. None: as the release says.
        chosen: what the check of this release found on this box.
    Raises: MalformedBundle, ModelError: the tree is damaged. BadSettings, StoreError: the site file.
    """
    raw = (tree / "release.json").read_bytes()
    release = decode_release(raw)
    application = tree / "application"
    models = tuple(
        model.running_as(chosen.variants[model.name]) if model.name in chosen.variants else model
        for model in load_models((application / "service.json").read_bytes(), application)
    )
    settings = release_settings(tree, site)
    return Service(
        release.product,
        release.version,
        tuple(
            replace(
                _with_settings(model, settings),
                batching=_batching(model, application, settings, chosen.max_rows),
            )
            for model in models
        ),
        canonical.digest(raw),
    )


def release_settings(tree: Path, site: Path | None = None) -> Settings:
    """The settings that a release runs with on this box. Raises: BadSettings, MalformedBundle, StoreError."""
    return settings_of(schema_of(tree), {} if site is None else read_site_file(site))


def predictor_options(settings: Settings) -> PredictorOptions:
    """How a worker runs each model."""
    from sealift.serve.predictor import PredictorOptions

    memory_mb = settings.limits.max_memory_mb
    return PredictorOptions(
        threads=settings.threads, max_memory_bytes=None if memory_mb is None else int(memory_mb * 1e6)
    )


def project_settings(directory: Path) -> Settings:
    """The settings that a project declares, on a box that sets none."""
    from sealift.project.file import load_project

    return load_project(directory).settings.resolve({})


def _with_settings(model: ServedModel, settings: Settings) -> ServedModel:
    threshold, output = settings.threshold_of(model.name), model.output
    if threshold is not None and isinstance(output, ScoresOutput):
        output = msgspec.structs.replace(output, threshold=threshold)
    return replace(model, output=output, device=settings.device or model.device)


def _batching(
    model: ServedModel, application: Path, settings: Settings, max_rows: Mapping[str, int]
) -> Batching:
    """The proof of the pack and the check of this box forbid; a setting only chooses below what they allow."""
    reason = read_batch_reason(golden_file(application / "goldens", model))
    measured = max_rows.get(model.name)
    if not reason and measured == NEVER_HERE:
        reason = "on this box a row among others was not the row alone when it was checked"
    rows = settings.batch_max_of(model.name) or measured or 0
    return Batching(reason, rows, settings.batch_wait_s_of(model.name))


def project_service(directory: Path, workspace: Path) -> Service:
    """What a project serves; its adapted models are written below `workspace` (connected side only)."""
    from sealift.project.file import load_project
    from sealift.project.served import prepare_models

    project = load_project(directory)
    models = prepare_models(project, workspace).models
    unproven = tuple(replace(model, batching=Batching(PROVEN_AT_LOAD)) for model in models)
    return Service(project.name, project.version, unproven)
