"""`optimized/MODEL/`: what `sealift optimize` found, for everybody who serves or packs the project.

optimized/MODEL/shipping.json          what travels, and what it was measured for
optimized/MODEL/report.json            every figure; its digest stands in the release
optimized/MODEL/VARIANT-1a2b3c4d/      the files that were measured, to the byte
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from sealift.errors import ProjectError
from sealift.model.graph_formats import files_of
from sealift.model.signature import Signature
from sealift.project.code import code_files
from sealift.project.project import ModelEntry, Project

FOLDER: Final = "optimized"
SHIPPING: Final = "shipping.json"
REPORT: Final = "report.json"
FORMAT: Final = 1


class ShippedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a variant, in its folder."""

    name: str
    sha256: str


class ShippedVariant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant that travels; the first of `files` is loaded. The rest as in `model.service.Variant`.

    `folder` has a part of the digest in its name: a new run never touches what an older one left.
    """

    name: str
    folder: str
    engine: str
    precision: str
    files: tuple[ShippedFile, ...]


class Shipping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What travels of one model; the first variant is the one to begin with.

    `source` is the digest of what was measured (`source_digest`), `report` that of `report.json`, `verdict` its
    sentence. `signature` is the reference's: a variant may have lost the labels and the softmax at its end.
    """

    format: int = FORMAT
    source: str
    report: str
    verdict: str
    signature: Signature
    variants: tuple[ShippedVariant, ...]


def folder_of(project: Project, model: str) -> Path:
    """Where everything of one model lies; it need not be there."""
    return project.root / FOLDER / model


def source_digest(project: Project, entry: ModelEntry) -> str:
    """`sha256:...` over all that an optimised model depends on: files, declarations, code, and the gates.

    Raises: ModelError: a data file of the model is missing.
    """
    digest = hashlib.sha256()
    for path in (*files_of(entry.path), *_code_of(project, entry)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(msgspec.json.encode(_declared(project, entry), order="sorted"))
    return f"sha256:{digest.hexdigest()}"


def read_shipping(project: Project, entry: ModelEntry) -> Shipping | None:
    """What travels of a model; None where nobody has optimised it.

    Raises: ProjectError: damaged, made for another model or other settings, or a file is not what was measured.
    """
    folder = folder_of(project, entry.name)
    path = folder / SHIPPING
    if not path.is_file():
        return None
    shipping = _decode(path)
    if shipping.source != source_digest(project, entry):
        raise ProjectError(
            f"{FOLDER}/{entry.name} was measured for another state of the model or its declarations",
            next_step=f"sealift optimize {project.root}, or delete {folder} to go without",
        )
    problems = [*_damaged(folder, shipping)]
    if problems:
        raise ProjectError(
            f"{FOLDER}/{entry.name} is not what was measured",
            problems=problems,
            next_step=f"sealift optimize {project.root}",
        )
    return shipping


def encode_shipping(shipping: Shipping) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.format(msgspec.json.encode(shipping, order="sorted"), indent=1) + b"\n"


def _decode(path: Path) -> Shipping:
    try:
        shipping = msgspec.json.decode(path.read_bytes(), type=Shipping)
    except (OSError, msgspec.DecodeError) as error:
        raise ProjectError(
            f"{path} cannot be read: {error}", next_step="run sealift optimize again"
        ) from error
    if shipping.format != FORMAT or not shipping.variants:
        raise ProjectError(f"{path} was written by another sealift", next_step="run sealift optimize again")
    for variant in shipping.variants:
        for name in (variant.name, variant.folder, *(file.name for file in variant.files)):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ProjectError(f"{path} names {name!r}, which is no plain path in its folder")
    return shipping


def _damaged(folder: Path, shipping: Shipping) -> list[str]:
    expected = [(Path(REPORT), shipping.report.removeprefix("sha256:"))]
    expected += [
        (Path(variant.folder, file.name), file.sha256)
        for variant in shipping.variants
        for file in variant.files
    ]
    return [f"{name}: {why}" for name, digest in expected if (why := _difference(folder / name, digest))]


def _difference(path: Path, sha256: str) -> str:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == sha256 else f"expected sha256 {sha256[:12]}..., found {found[:12]}..."


def _code_of(project: Project, entry: ModelEntry) -> list[Path]:
    """Handler, metric and architecture with the project's modules that they import, and the tokenizer."""
    metric, built = project.optimize.metric, entry.architecture
    modules = (entry.handler, metric if isinstance(metric, Path) else None, built.module if built else None)
    found = [path for module in modules if module is not None for path in code_files(module)]
    return [*found, *([entry.tokenizer] if entry.tokenizer is not None else [])]


def _declared(project: Project, entry: ModelEntry) -> dict[str, Any]:
    """What of the project file counts; paths as they are written, so that a project may be moved."""
    return {
        "input": msgspec.to_builtins(entry.input),
        "output": msgspec.to_builtins(entry.output),
        "inputs": msgspec.to_builtins(entry.inputs),
        "outputs": msgspec.to_builtins(entry.outputs),
        "engine": entry.engine,
        "architecture": [entry.architecture.name, dict(entry.architecture.arguments)]
        if entry.architecture
        else [],
        "device": entry.device,
        "cpu": project.target.cpu,
        "slo": project.slo.latency_p99_ms,
        "max_model_mb": project.limits.max_model_mb,
        "optimize": {key: _plain(value, project.root) for key, value in asdict(project.optimize).items()},
    }


def _plain(value: object, root: Path) -> object:
    return value.relative_to(root).as_posix() if isinstance(value, Path) else value
