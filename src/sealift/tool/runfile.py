"""A tool's release -> one file that unpacks and installs itself: a POSIX shell script with a gzipped tar below it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.bundle import layout
from sealift.bundle.source import Source, document
from sealift.errors import UsageError
from sealift.tool.unpacked import DOCUMENTS, TREE

SUFFIX: Final = ".run"
HEAD: Final = Path(__file__).with_name("head.sh")
COMPLETE: Final = "complete"
"""The last member: where it is missing, the payload ended early."""
_LEVEL: Final = 6
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the head says before anything is unpacked. `identity` and `fingerprint` have 64 hex digits."""

    version: str
    platform: str
    glibc: str
    python: str
    identity: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file as it was written: its digest is for the carry sheet."""

    path: Path
    size: int
    sha256: str


def write_run(destination: Path, bundle: Source, tree: Path, facts: RunFacts) -> RunFile:
    """Write the bootstrap file, complete or not at all; equal arguments give equal bytes.

    Args:
        bundle: the release's documents, whose objects are stored raw.
        tree: the files of its three layers.
    Raises: UsageError: the destination exists and is no earlier bootstrap file.
    """
    _refuse_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    payload = destination.with_name(f".{destination.name}.payload")
    building = destination.with_name(f".{destination.name}.partial")
    try:
        unpacked = _write_payload(payload, bundle, tree)
        head = _head(facts, payload, unpacked)
        with building.open("wb") as sink, payload.open("rb") as source:
            sink.write(head)
            shutil.copyfileobj(source, sink, _CHUNK)
            sink.flush()
            os.fsync(sink.fileno())
        building.chmod(0o755)
        building.replace(destination)
    finally:
        payload.unlink(missing_ok=True)
        building.unlink(missing_ok=True)
    return RunFile(destination, destination.stat().st_size, _sha256(destination))


def _refuse_destination(destination: Path) -> None:
    if destination.is_dir() or (destination.exists() and not destination.read_bytes()[:9] == b"#!/bin/sh"):
        raise UsageError(
            f"{destination} exists and is no bootstrap file", next_step="name another place with -o"
        )


def _write_payload(payload: Path, bundle: Source, tree: Path) -> int:
    """Returns: the bytes that it unpacks to."""
    unpacked = 0
    with (
        payload.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,  # busybox reads it, too
    ):
        for name, source, executable in _members(bundle, tree):
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            unpacked += size
            _add(archive, name, source, size, 0o755 if executable else 0o644)
    return unpacked


def _members(bundle: Source, tree: Path) -> Iterator[tuple[str, bytes | Path, bool]]:
    """(name, content, executable): documents, the tree, then the mark of the end."""
    for part in sorted(filter(layout.is_document, bundle.parts())):
        yield f"{DOCUMENTS}/{part}", document(bundle, part), False
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        yield f"{TREE}/{path.relative_to(tree).as_posix()}", path, bool(path.stat().st_mode & 0o100)
    yield COMPLETE, b"", False


def _add(archive: tarfile.TarFile, name: str, source: bytes | Path, size: int, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    if isinstance(source, bytes):
        archive.addfile(member, io.BytesIO(source))
        return
    with source.open("rb") as stream:
        archive.addfile(member, stream)


def _head(facts: RunFacts, payload: Path, unpacked: int) -> bytes:
    """The script; where it ends stands in it, so it is filled in until that holds."""
    values: dict[str, str | int] = {
        "VERSION": facts.version,
        "PLATFORM": facts.platform,
        "GLIBC": facts.glibc,
        "PYTHON": facts.python,
        "IDENTITY": facts.identity,
        "FINGERPRINT": facts.fingerprint,
        "SIZE": payload.stat().st_size,
        "SHA256": _sha256(payload),
        "UNPACKED_KB": -(-unpacked // 1024),
    }
    template, start = HEAD.read_text(encoding="utf-8"), 0
    while True:
        head = _filled(template, {**values, "START": start}).encode()
        if len(head) + 1 == start:
            return head
        start = len(head) + 1


def _filled(template: str, values: Mapping[str, str | int]) -> str:
    for name, value in values.items():
        template = template.replace(f"@{name}@", str(value))
    return template


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
