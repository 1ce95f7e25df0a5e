"""One wheel file: its name, digest and metadata."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from sealift.collect.licences import licence_files, licence_of, licence_texts
from sealift.errors import UsageError


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """A wheel that travels.

    `name` is normalised (PEP 503); `sha256` is of the wheel file; `size` is in bytes; `licence` is an SPDX
    expression, or None where the wheel states none; `licence_files` are the names of the texts inside it.
    """

    name: str
    version: str
    filename: str
    sha256: str
    path: Path
    size: int
    licence: str | None = None
    licence_files: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """The package URL of this release."""
        return f"pkg:pypi/{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A wheel as found on disk, with what it asks for."""

    wheel: LockedWheel
    tags: frozenset[Tag]
    requires: tuple[Requirement, ...]

    @property
    def version(self) -> str:
        """Of the wheel."""
        return self.wheel.version


def read_wheel(path: Path) -> WheelFile:
    """Read a wheel's file name and METADATA.

    Raises: UsageError: not a wheel, or its METADATA is missing or unreadable.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            raw = _metadata(archive)
            texts = licence_files(archive, raw)
            licence = licence_of(raw, licence_texts(archive, texts))
        requires = tuple(Requirement(text) for text in raw.get("requires_dist", []))
    except (InvalidWheelFilename, InvalidRequirement, zipfile.BadZipFile, OSError, ValueError) as error:
        raise UsageError(f"{path} is not a usable wheel: {error}") from error
    wheel = LockedWheel(
        name=name,
        version=str(version),
        filename=path.name,
        sha256=sha256_of(path),
        path=path,
        size=path.stat().st_size,
        licence=licence,
        licence_files=texts,
    )
    return WheelFile(wheel, tags, requires)


def _metadata(archive: zipfile.ZipFile) -> RawMetadata:
    names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
    if len(names) != 1:
        raise ValueError(f"expected one .dist-info/METADATA, found {len(names)}")
    return parse_email(archive.read(names[0]))[0]


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def normalised(name: str) -> str:
    """PEP 503: `Typing_Extensions` -> `typing-extensions`."""
    return str(canonicalize_name(name))
