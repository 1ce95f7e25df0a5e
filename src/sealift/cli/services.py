"""Service from an installed release's tree, or from a project folder."""

from __future__ import annotations

from pathlib import Path

from sealift import canonical
from sealift.bundle.documents import decode_release
from sealift.model.service import Service
from sealift.model.service_json import load_models


def release_service(tree: Path) -> Service:
    """What an installed release serves. Raises: MalformedBundle, ModelError: the tree is damaged."""
    raw = (tree / "release.json").read_bytes()
    release = decode_release(raw)
    application = tree / "application"
    models = load_models((application / "service.json").read_bytes(), application)
    return Service(release.product, release.version, models, canonical.digest(raw))


def project_service(directory: Path, workspace: Path) -> Service:
    """What a project serves; its adapted models are written below `workspace` (connected side only)."""
    from sealift.project.file import load_project
    from sealift.project.served import prepare_models

    project = load_project(directory)
    return Service(project.name, project.version, prepare_models(project, workspace).models)
