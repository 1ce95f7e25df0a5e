"""Layer folders -> a bundle, full or a delta: hash, store each object once, sign, write as a file or a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

from sealift import canonical
from sealift.bundle import layout, tar
from sealift.bundle.codec import CHUNK
from sealift.bundle.documents import FileEntry, LayerRef, Release, encode_manifest, path_problem
from sealift.bundle.encode import Stored, store_object
from sealift.bundle.read import Known, read_bundle
from sealift.bundle.source import Source, open_source
from sealift.bundle.transport import RAW, Base, StoredObject, Transport, decode_transport
from sealift.bundle.volumes import Volumes
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.trust.keys import (
    RELEASE_CONTEXT,
    TRANSPORT_CONTEXT,
    Signature,
    signatures_to_json,
)
from sealift.trust.root import SignedRoot


@dataclass(frozen=True, slots=True)
class Endorse:
    """Who signs what is written. `sign`: message -> signatures (none: unsigned). `roots` travel along.

    `accept` is told the bytes to carry before the bundle takes its place, and raises to refuse them.
    """

    sign: Callable[[bytes], tuple[Signature, ...]]
    roots: tuple[SignedRoot, ...]
    accept: Callable[[int], None] = lambda _: None


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


class Travel(Protocol):
    """What of a release travels, and how each object is stored; called from several threads."""

    @property
    def bases(self) -> tuple[Base, ...]:
        """The releases that the rest must come from; none for a full bundle."""
        ...

    def carries(self, digest: str) -> bool:
        """True if the object or manifest of that digest travels."""
        ...

    def store(self, source: Path, sha256: str, size: int, staging: Path) -> Stored:
        """The stored bytes of an object that travels, as a file in `staging` or `source` itself."""
        ...


class Everything:
    """A full bundle."""

    bases: tuple[Base, ...] = ()

    def carries(self, digest: str) -> bool:  # noqa: ARG002
        """As `Travel.carries`."""
        return True

    def store(self, source: Path, sha256: str, size: int, staging: Path) -> Stored:
        """As `Travel.store`."""
        return store_object(source, sha256, size, staging)


class Uncompressed(Everything):
    """A full bundle whose objects are the files themselves: no stored bytes have to lie anywhere."""

    def store(self, source: Path, sha256: str, size: int, staging: Path) -> Stored:  # noqa: ARG002
        """As `Travel.store`."""
        return Stored(StoredObject(RAW, size, size, sha256), source, size)


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle as it was written: bytes of its documents and of its objects as stored, and each object."""

    documents: Mapping[str, int]
    objects: Mapping[str, Stored]

    @property
    def size(self) -> int:
        """The bytes of all parts."""
        return sum(self.documents.values()) + sum(item.item.stored_size for item in self.objects.values())


@dataclass(frozen=True, slots=True)
class Parts:
    """Name -> a document's bytes, or a file with an object's stored bytes."""

    documents: Mapping[str, bytes]
    objects: Mapping[str, Path]

    def __iter__(self) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """(name, size, chunks) of every part."""
        for name, data in self.documents.items():
            yield name, len(data), iter((data,))
        for name, path in self.objects.items():
            yield name, path.stat().st_size, _chunks(path)


def hash_layer(root: Path, progress: Progress) -> Layer:
    """Walk and hash a folder.

    Raises: UsageError: a link, a device or a name that no manifest may carry; all of them at once.
    """
    paths = sorted(path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    names = [path.relative_to(root).as_posix() for path in paths]
    problems = [
        f"{name}: {problem}"
        for name, path in zip(names, paths, strict=True)
        if (problem := _why_it_stays(name, path))
    ]
    if problems:
        raise UsageError(f"{root.name}: {len(problems)} file(s) cannot travel", problems=problems)
    progress.start(f"hash {root.name}", len(paths))
    entries = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for entry in pool.map(_hash, paths):
            entries.append(entry)
            progress.advance()
    return Layer(root, dict(zip(names, entries, strict=True)))


def _why_it_stays(name: str, path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "is a link or a special file"
    return path_problem(name)


def _hash(path: Path) -> FileEntry:
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
        info = os.fstat(stream.fileno())
    return FileEntry(digest, info.st_size, bool(info.st_mode & 0o100))


def write_bundle(
    destination: Path,
    release: Release,
    layers: Mapping[str, Layer],
    endorse: Endorse,
    progress: Progress,
    travel: Travel | None = None,
) -> Written:
    """Write the bundle, complete or not at all: one file if `destination` ends in .sealift, else a folder.

    Args:
        travel: what travels of it; None: everything.
    Raises: UsageError: the destination exists and is not an older bundle.
    """
    travel = travel or Everything()
    refuse_destination(destination)
    staging = destination.with_name(f".{destination.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        objects = _store_objects(layers, travel, staging, progress)
        documents = _documents(release, layers, travel, objects, endorse)
        written = Written({name: len(data) for name, data in documents.items()}, objects)
        endorse.accept(written.size)
        progress.start("write the bundle")
        write_parts(
            destination, Parts(documents, {layout.object_(sha): item.path for sha, item in objects.items()})
        )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return written


def _documents(
    release: Release,
    layers: Mapping[str, Layer],
    travel: Travel,
    objects: Mapping[str, Stored],
    endorse: Endorse,
) -> dict[str, bytes]:
    """Every part but the objects, signed."""
    refs = {layer.ref.manifest: layer for layer in layers.values() if travel.carries(layer.ref.manifest)}
    documents = {layout.manifest(digest): encode_manifest(layer.files) for digest, layer in refs.items()}
    documents |= {layout.root(signed.root.version): signed.encode() for signed in endorse.roots}
    transport = Transport(
        release=release.identity,
        manifests=tuple(sorted(refs)),
        objects={sha256: stored.item for sha256, stored in objects.items()},
        bases=travel.bases,
    ).encode()
    documents |= {layout.RELEASE: release.encode(), layout.TRANSPORT: transport}
    return documents | _signature_documents(
        endorse.sign(RELEASE_CONTEXT + release.encode()), (), endorse.sign(TRANSPORT_CONTEXT + transport)
    )


def _store_objects(
    layers: Mapping[str, Layer], travel: Travel, staging: Path, progress: Progress
) -> dict[str, Stored]:
    files = {
        entry.sha256: (layer.root / name, entry.size)
        for layer in layers.values()
        for name, entry in layer.files.items()
        if travel.carries(entry.sha256)
    }
    progress.start("compress objects", sum(size for _, size in files.values()))

    def store(sha256: str) -> Stored:
        path, size = files[sha256]
        return travel.store(path, sha256, size, staging)

    stored: dict[str, Stored] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for sha256, result in zip(files, pool.map(store, files), strict=True):
            stored[sha256] = result
            progress.advance(result.item.size)
    return stored


def refuse_destination(destination: Path) -> None:
    """A file or folder that is not an old bundle is never written over. Raises: UsageError."""
    if not destination.exists():
        return
    is_file = destination.is_file() and destination.suffix == layout.SUFFIX
    is_folder = (destination / layout.RELEASE).is_file()
    is_empty = destination.is_dir() and not any(destination.iterdir())
    if not (is_file or is_folder or is_empty):
        raise UsageError(f"{destination} exists and is not a bundle", next_step="name another place with -o")


def write_parts(destination: Path, parts: Iterable[tuple[str, int, Iterator[bytes]]]) -> None:
    """Write (name, size, chunks) to a temporary neighbour, then rename: complete or not at all."""
    building = destination.with_name(f".{destination.name}.partial")
    _remove(building)
    try:
        if destination.suffix == layout.SUFFIX:
            with building.open("wb") as stream:
                tar.write_parts(stream, parts)
                stream.flush()
                os.fsync(stream.fileno())
        else:
            _write_folder(building, parts)
        _take_place(building, destination)
    finally:
        _remove(building)


def rewrite(path: Path, documents: Mapping[str, bytes], drop: Collection[str] = ()) -> None:
    """Write a bundle again with other documents; every other part stays as it is, byte for byte.

    Raises: BundleError: the bundle there is damaged. UsageError: it is cut into volumes.
    """
    source = open_source(path)
    if isinstance(source, Volumes):
        raise UsageError(
            f"{source.name}: a bundle in volumes stays as it was cut; nothing was changed",
            next_step="sign the whole bundle, then cut it: sealift export medium BUNDLE -o FOLDER --volumes SIZE",
        )
    kept = (
        (name, size) for name, size in source.parts().items() if name not in documents and name not in drop
    )
    parts = [(name, size, _chunks(source, name)) for name, size in kept]
    parts += [(name, len(data), iter((data,))) for name, data in documents.items()]
    write_parts(path, parts)


def rewrite_signatures(
    path: Path,
    release_signatures: tuple[Signature, ...],
    approvals: tuple[Signature, ...],
    transport_signatures: tuple[Signature, ...],
    roots: tuple[SignedRoot, ...],
) -> None:
    """Give a bundle exactly these signatures, and these trust roots beside those it has.

    Raises: BundleError: the bundle there is damaged.
    """
    documents = _signature_documents(release_signatures, approvals, transport_signatures)
    documents |= {layout.root(signed.root.version): signed.encode() for signed in roots}
    rewrite(path, documents, drop=(layout.RELEASE_SIGNATURES, layout.TRANSPORT_SIGNATURES))


def reissue(path: Path, release: Release, known: Known = lambda _: None) -> None:
    """Give a bundle another release.json over the same layers (`sign --as-seq`); all signatures go.

    Args:
        known: manifests that a delta leaves out.
    Raises: BundleError: the bundle there is damaged. UsageError: other layers.
    """
    bundle = read_bundle(open_source(path), known)
    if release.layers != bundle.release.layers:
        raise UsageError(f"{path}: a re-issue keeps the layers")
    transport = replace(decode_transport(bundle.transport), release=release.identity)
    documents = {layout.RELEASE: release.encode(), layout.TRANSPORT: transport.encode()}
    rewrite(path, documents, drop=(layout.RELEASE_SIGNATURES, layout.TRANSPORT_SIGNATURES))


def _signature_documents(
    release: tuple[Signature, ...], approvals: tuple[Signature, ...], transport: tuple[Signature, ...]
) -> dict[str, bytes]:
    documents: dict[str, bytes] = {}
    if release or approvals:
        value = {"approvals": signatures_to_json(approvals), "signatures": signatures_to_json(release)}
        documents[layout.RELEASE_SIGNATURES] = canonical.encode(value)
    if transport:
        documents[layout.TRANSPORT_SIGNATURES] = canonical.encode(
            {"signatures": signatures_to_json(transport)}
        )
    return documents


def _write_folder(folder: Path, parts: Iterable[tuple[str, int, Iterator[bytes]]]) -> None:
    for name, _, chunks in parts:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.writelines(chunks)


def _take_place(building: Path, destination: Path) -> None:
    if not destination.is_dir():
        building.replace(destination)
        return
    old = destination.with_name(f".{destination.name}.old")
    _remove(old)
    destination.rename(old)  # a folder cannot be replaced in one step: the old one stays until the new stands
    building.rename(destination)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _chunks(source: Source | Path, name: str = "") -> Iterator[bytes]:
    with source.open("rb") if isinstance(source, Path) else source.open(name) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
