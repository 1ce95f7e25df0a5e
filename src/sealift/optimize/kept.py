"""The best so far -> `optimized/MODEL/`; whoever is interrupted keeps what was measured until then."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import UsageError
from sealift.model.engines import default_engine
from sealift.model.signature import Signature
from sealift.optimize.report import File, QualityReport, encode_report, without_inputs
from sealift.project.optimized import (
    REPORT,
    SHIPPING,
    ShippedFile,
    ShippedVariant,
    Shipping,
    encode_shipping,
)

WORK = ".work"
"""Below the model's folder: what is being built, and how far calibration came."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be kept: the report, the files of the variants that travel by their name, the reference's signature.

    `travels`: names, the one to begin with first.
    """

    report: QualityReport
    travels: Sequence[str]
    folders: Mapping[str, Path]
    signature: Signature


def keep(folder: Path, kept: Kept) -> None:
    """Write files, report and shipping.json; the last makes them count, so that they count together.

    The report travels with the release: it is written without anybody's inputs.

    Raises: UsageError: the disk refuses; what was kept before still counts.
    """
    report = encode_report(without_inputs(kept.report))
    variants = tuple(_shipped(kept, name) for name in kept.travels)
    shipping = Shipping(
        source=kept.report.source,
        report=f"sha256:{hashlib.sha256(report).hexdigest()}",
        verdict=kept.report.verdict,
        signature=kept.signature,
        variants=variants,
    )
    try:
        for variant in variants:
            _place(kept.folders[variant.name], folder / variant.folder, [file.name for file in variant.files])
        _write(folder / REPORT, report)
        _write(folder / SHIPPING, encode_shipping(shipping))
        _sweep(folder, {variant.folder for variant in variants})
    except OSError as error:
        raise UsageError(f"{folder}: the results cannot be written: {error}") from error


def files_in(folder: Path, first: str) -> tuple[File, ...]:
    """The files of a variant with their digests, the one that is loaded first."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return tuple(_file(folder, name) for name in sorted(names, key=lambda name: (name != first, name)))


def _file(folder: Path, name: str) -> File:
    with (folder / name).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(name=name, sha256=digest, size=(folder / name).stat().st_size)


def _shipped(kept: Kept, name: str) -> ShippedVariant:
    variant = kept.report.variant(name)
    whole = hashlib.sha256(
        "".join(f"{file.name} {file.sha256}\n" for file in variant.files).encode()
    ).hexdigest()
    return ShippedVariant(
        name=name,
        folder=f"{name}-{whole[:8]}",
        engine="" if variant.engine == default_engine(Path(variant.files[0].name)) else variant.engine,
        precision=variant.precision,
        files=tuple(ShippedFile(name=file.name, sha256=file.sha256) for file in variant.files),
    )


def _place(source: Path, target: Path, names: Sequence[str]) -> None:
    """A folder that is there already holds the same files: a part of their digest is its name."""
    if target.is_dir():
        return
    incoming = target.with_name(f".{target.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    for name in names:
        (incoming / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, incoming / name)
        _sync(incoming / name)
    incoming.rename(target)


def _write(path: Path, data: bytes) -> None:
    incoming = path.with_name(f".{path.name}.incoming")
    incoming.write_bytes(data)
    _sync(incoming)
    incoming.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, wanted: set[str]) -> None:
    """Variants of earlier runs; what a person put there stays, and so does the work that is going on."""
    for path in folder.iterdir():
        name, _, digest = path.name.rpartition("-")
        is_variant = (
            path.is_dir() and bool(name) and len(digest) == 8 and set(digest) <= set("0123456789abcdef")
        )
        if is_variant and path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)
