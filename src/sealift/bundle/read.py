"""Source -> UnverifiedBundle -> VerifiedBundle; only the second can be installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.documents import (
    LAYERS,
    FileEntry,
    Release,
    decode_manifest,
    decode_release,
    decode_transport,
)
from sealift.bundle.source import Source
from sealift.errors import DigestMismatch, MalformedBundle
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT, Signature, signatures_from_json
from sealift.trust.root import Root, SignedRoot, decode_root, release_signers

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class UnverifiedBundle:
    """Well formed, but nobody vouches yet: to look at, never to install.

    `transport` is transport.json as it was read once: what is signed is what was parsed.
    """

    source: Source
    release: Release
    identity: str
    manifests: Mapping[str, Mapping[str, FileEntry]]
    objects: Mapping[str, int]
    signatures: tuple[Signature, ...]
    transport: bytes
    transport_signatures: tuple[Signature, ...]
    roots: tuple[SignedRoot, ...]


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """Documents vouched for by `signers` under `root`; objects are checked as they are read."""

    bundle: UnverifiedBundle
    root: Root
    signers: tuple[str, ...]

    @property
    def release(self) -> Release:
        """What was signed."""
        return self.bundle.release

    @property
    def identity(self) -> str:
        """The digest of release.json, 64 hex digits."""
        return self.bundle.identity

    def open_object(self, sha256: str) -> IO[bytes]:
        """The object's stored bytes; `copy_checked` compares them with the digest."""
        return self.bundle.source.open(layout.object_(sha256), self.bundle.objects[sha256])

    def read_object(self, sha256: str) -> bytes:
        """A small object, checked. Raises: DigestMismatch."""
        return read_object(self.bundle, sha256)

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """Every file of the release as (`layer/path`, entry)."""
        for layer in LAYERS:
            for path, entry in self.bundle.manifests[layer].items():
                yield f"{layer}/{path}", entry


def read_bundle(source: Source) -> UnverifiedBundle:
    """Read and cross-check every document; nothing is believed yet.

    Raises: MalformedBundle, MissingPart, DigestMismatch: a manifest is not the one release.json names.
    """
    raw = source.document(layout.RELEASE)
    release, identity = decode_release(raw), canonical.digest(raw)
    transport = source.document(layout.TRANSPORT)
    carries, objects = decode_transport(transport)
    if carries != identity:
        raise MalformedBundle(
            f"transport.json carries {canonical.short(carries)}, release.json is {canonical.short(identity)}"
        )
    manifests = {layer: _read_manifest(source, release, layer) for layer in LAYERS}
    _check_objects(manifests, objects)
    parts = source.parts()
    _refuse_strangers(parts, release, objects)
    return UnverifiedBundle(
        source=source,
        release=release,
        identity=identity,
        manifests=manifests,
        objects=objects,
        signatures=_read_signatures(source, parts, layout.RELEASE_SIGNATURES),
        transport=transport,
        transport_signatures=_read_signatures(source, parts, layout.TRANSPORT_SIGNATURES),
        roots=_read_roots(source, parts),
    )


def verify(bundle: UnverifiedBundle, root: Root) -> VerifiedBundle:
    """Decide whether `root` vouches for the release and for what travels.

    Raises: BadSignature, UnknownKey.
    """
    release_bytes = bundle.release.encode()
    signers = release_signers(
        root, bundle.release.product, bundle.signatures, RELEASE_CONTEXT + release_bytes
    )
    message = TRANSPORT_CONTEXT + bundle.transport
    release_signers(root, bundle.release.product, bundle.transport_signatures, message)
    return VerifiedBundle(bundle, root, signers)


def verify_objects(bundle: VerifiedBundle) -> None:
    """Hash every object. Raises: DigestMismatch, MissingPart, MalformedBundle."""
    for sha256 in sorted(bundle.bundle.objects):
        with bundle.open_object(sha256) as stream:
            copy_checked(stream, None, sha256)


def read_object(bundle: UnverifiedBundle, sha256: str) -> bytes:
    """A small object in memory, its digest checked."""
    with bundle.source.open(layout.object_(sha256), bundle.objects[sha256]) as stream:
        data = stream.read()
    if canonical.digest(data) != sha256:
        raise DigestMismatch(f"object {canonical.short(sha256)}: its bytes are not what its name says")
    return data


def copy_checked(source: IO[bytes], sink: IO[bytes] | None, sha256: str) -> None:
    """Copy in 1 MiB pieces while hashing. Raises: DigestMismatch: after the copy; discard the sink."""
    hasher = hashlib.sha256()
    while chunk := source.read(CHUNK):
        hasher.update(chunk)
        if sink is not None:
            sink.write(chunk)
    found = hasher.hexdigest()
    if found != sha256:
        raise DigestMismatch(
            f"object {canonical.short(sha256)}: expected that digest, found {canonical.short(found)}",
            next_step="carry the bundle again; if it happens again, the medium or the sender is at fault",
        )


def _read_manifest(source: Source, release: Release, layer: str) -> dict[str, FileEntry]:
    ref = release.layers[layer]
    data = source.document(layout.manifest(ref.manifest))
    if canonical.digest(data) != ref.manifest:
        raise DigestMismatch(f"manifest of {layer}: expected {canonical.short(ref.manifest)}, found another")
    files = decode_manifest(data, f"manifest of {layer}")
    if (len(files), sum(entry.size for entry in files.values())) != (ref.files, ref.size):
        raise MalformedBundle(f"manifest of {layer}: not the file count and size that release.json gives")
    return files


def _check_objects(manifests: Mapping[str, Mapping[str, FileEntry]], objects: Mapping[str, int]) -> None:
    needed = {entry.sha256: entry.size for files in manifests.values() for entry in files.values()}
    wrong = sorted(sha256 for sha256, size in needed.items() if objects.get(sha256) != size)
    extra = sorted(set(objects) - set(needed))
    if wrong or extra:
        raise MalformedBundle(
            f"transport.json: {len(wrong)} objects missing or of another size, {len(extra)} in no layer",
            problems=[canonical.short(sha256) for sha256 in [*wrong, *extra][:10]],
        )


def _refuse_strangers(parts: frozenset[str], release: Release, objects: Mapping[str, int]) -> None:
    expected = {layout.RELEASE, layout.RELEASE_SIGNATURES, layout.TRANSPORT, layout.TRANSPORT_SIGNATURES}
    expected |= {layout.manifest(ref.manifest) for ref in release.layers.values()}
    expected |= {layout.object_(sha256) for sha256 in objects}
    strangers = sorted(part for part in parts - expected if not part.startswith("roots/"))
    if strangers:
        raise MalformedBundle(
            f"{len(strangers)} file(s) in the bundle that it does not name", problems=strangers[:10]
        )


def _read_signatures(source: Source, parts: frozenset[str], path: str) -> tuple[Signature, ...]:
    if path not in parts:
        return ()
    doc = canonical.decode(source.document(path), path)
    if set(doc) != {"signatures"}:
        raise MalformedBundle(f"{path}: expected signatures and nothing else")
    return signatures_from_json(doc["signatures"], path)


def _read_roots(source: Source, parts: frozenset[str]) -> tuple[SignedRoot, ...]:
    names = sorted(part for part in parts if part.startswith("roots/"))
    roots = [decode_root(source.document(name), name) for name in names]
    for name, signed in zip(names, roots, strict=True):
        if name != layout.root(signed.root.version):
            raise MalformedBundle(f"{name}: holds version {signed.root.version}")
    return tuple(sorted(roots, key=lambda signed: signed.root.version))
