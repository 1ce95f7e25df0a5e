"""Layer folders -> a bundle folder: hash, write objects once each, then the documents."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.documents import (
    FileEntry,
    LayerRef,
    Release,
    encode_manifest,
    encode_transport,
    path_problem,
)
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT, Signature, signatures_to_json
from sealift.trust.root import SignedRoot

Sign = Callable[[bytes], tuple[Signature, ...]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on the packing machine: where its files lie, and its manifest."""

    root: Path
    files: Mapping[str, FileEntry]

    @property
    def ref(self) -> LayerRef:
        """How release.json names it."""
        size = sum(entry.size for entry in self.files.values())
        return LayerRef(canonical.digest(encode_manifest(self.files)), len(self.files), size)


def hash_layer(root: Path, progress: Progress) -> Layer:
    """Walk and hash a folder.

    Raises: UsageError: a link, a device or a name that no manifest may carry; all of them at once.
    """
    paths = sorted(path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    names = [path.relative_to(root).as_posix() for path in paths]
    problems = [
        f"{name}: {problem}"
        for name, path in zip(names, paths, strict=True)
        if (
            problem := "is a link or a special file"
            if path.is_symlink() or not path.is_file()
            else path_problem(name)
        )
    ]
    if problems:
        raise UsageError(f"{root.name}: {len(problems)} file(s) cannot travel", problems=problems)
    progress.start(f"hash {root.name}", len(paths))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        entries = []
        for entry in pool.map(_hash, paths):
            entries.append(entry)
            progress.advance()
    return Layer(root, dict(zip(names, entries, strict=True)))


def _hash(path: Path) -> FileEntry:
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
        info = os.fstat(stream.fileno())
    return FileEntry(digest, info.st_size, bool(info.st_mode & 0o100))


def write_bundle(
    destination: Path,
    release: Release,
    layers: Mapping[str, Layer],
    sign: Sign,
    roots: tuple[SignedRoot, ...],
    progress: Progress,
) -> int:
    """Write the bundle as a folder, complete or not at all; returns its bytes.

    Raises: UsageError: the destination exists and is not an older bundle folder.
    """
    refuse_destination(destination)
    building = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    try:
        _write(building, release, layers, sign, roots, progress)
        if destination.exists():
            shutil.rmtree(destination)
        building.rename(destination)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())


def refuse_destination(destination: Path) -> None:
    """A folder that is not an old bundle is never written over. Raises: UsageError."""
    if destination.exists() and not (destination / layout.RELEASE).is_file():
        is_empty = destination.is_dir() and not any(destination.iterdir())
        if not is_empty:
            raise UsageError(
                f"{destination} exists and is not a bundle", next_step="name another place with -o"
            )


def _write(
    building: Path,
    release: Release,
    layers: Mapping[str, Layer],
    sign: Sign,
    roots: tuple[SignedRoot, ...],
    progress: Progress,
) -> None:
    objects = {entry.sha256: entry.size for layer in layers.values() for entry in layer.files.values()}
    progress.start("write objects", sum(objects.values()))
    written: set[str] = set()
    for layer in layers.values():
        for name, entry in layer.files.items():
            if entry.sha256 not in written:
                _copy(layer.root / name, building / layout.object_(entry.sha256))
                written.add(entry.sha256)
                progress.advance(entry.size)
        _put(building / layout.manifest(layer.ref.manifest), encode_manifest(layer.files))
    transport = encode_transport(release.identity, objects)
    _put(building / layout.TRANSPORT, transport)
    _put_signatures(building / layout.TRANSPORT_SIGNATURES, sign(TRANSPORT_CONTEXT + transport))
    for signed in roots:
        _put(building / layout.root(signed.root.version), signed.encode())
    _put(building / layout.RELEASE, release.encode())
    _put_signatures(building / layout.RELEASE_SIGNATURES, sign(RELEASE_CONTEXT + release.encode()))


def _copy(source: Path, sink: Path) -> None:
    sink.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, sink)


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _put_signatures(path: Path, signatures: tuple[Signature, ...]) -> None:
    if signatures:
        _put(path, canonical.encode({"signatures": signatures_to_json(signatures)}))
