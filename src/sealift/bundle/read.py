"""Source -> UnverifiedBundle -> VerifiedBundle; only the second can be installed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.codec import copy_object
from sealift.bundle.documents import LAYERS, FileEntry, Release, decode_manifest, decode_release
from sealift.bundle.fields import exactly
from sealift.bundle.source import Source, document
from sealift.bundle.transport import StoredObject, Transport, decode_transport
from sealift.errors import DigestMismatch, MalformedBundle, MissingPart
from sealift.trust.keys import Signature, signatures_from_json
from sealift.trust.root import Root, SignedRoot, decode_root
from sealift.trust.vouch import Endorsement, Policy, Vouched, vouch

HASHING_THREADS: Final = 2
BATCH_BYTES: Final = 4 * 2**20
BATCH_OBJECTS: Final = 256
MAX_ROOTS: Final = 64

Known = Callable[[str], bytes | None]
"""Manifest digest -> its bytes, where the box has it from an earlier bundle."""


@dataclass(frozen=True, slots=True)
class UnverifiedBundle:
    """Well formed, but nobody vouches yet: to look at, never to install.

    `transport` is transport.json as it was read once: what is signed is what was parsed.
    `carried` names the layers whose manifest travels; `objects` what travels of all that `manifests` name.
    """

    source: Source
    release: Release
    identity: str
    manifests: Mapping[str, Mapping[str, FileEntry]]
    carried: frozenset[str]
    objects: Mapping[str, StoredObject]
    signatures: tuple[Signature, ...]
    approvals: tuple[Signature, ...]
    transport: bytes
    transport_signatures: tuple[Signature, ...]
    roots: tuple[SignedRoot, ...]

    @property
    def endorsement(self) -> Endorsement:
        """All signatures that travel."""
        return Endorsement(self.signatures, self.approvals, self.transport_signatures)

    @property
    def absent(self) -> Mapping[str, int]:
        """Objects that the release needs and that do not travel: sha256 -> bytes."""
        needed = {entry.sha256: entry.size for files in self.manifests.values() for entry in files.values()}
        return {sha256: size for sha256, size in needed.items() if sha256 not in self.objects}


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """Documents vouched for by `vouched` under `root`; objects are checked as they are read."""

    bundle: UnverifiedBundle
    root: Root
    vouched: Vouched

    @property
    def release(self) -> Release:
        """What was signed."""
        return self.bundle.release

    @property
    def identity(self) -> str:
        """The digest of release.json, 64 hex digits."""
        return self.bundle.identity

    @property
    def signers(self) -> tuple[str, ...]:
        """The release keys that vouch."""
        return self.vouched.release_keys

    def copy_object(self, sha256: str, sink: IO[bytes] | None) -> None:
        """Write a travelling object to `sink`, stored and decoded bytes checked."""
        copy_from(self.bundle, sha256, sink)

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """Every file of the release as (`layer/path`, entry)."""
        for layer in LAYERS:
            for path, entry in self.bundle.manifests[layer].items():
                yield f"{layer}/{path}", entry


def read_bundle(source: Source, known: Known = lambda _: None) -> UnverifiedBundle:
    """Read and cross-check every document; nothing is believed yet.

    Args:
        known: manifests that the box has already, for a bundle that leaves unchanged layers out.
    Raises: MalformedBundle, MissingPart, DigestMismatch: a manifest is not the one release.json names.
    """
    raw = document(source, layout.RELEASE)
    release, identity = decode_release(raw), canonical.digest(raw)
    raw_transport = document(source, layout.TRANSPORT)
    transport = decode_transport(raw_transport)
    if transport.release != identity:
        raise MalformedBundle(
            f"transport.json carries {canonical.short(transport.release)}, "
            f"release.json is {canonical.short(identity)}"
        )
    parts = source.parts()
    _require_parts(source, parts, transport)
    manifests = {layer: _read_manifest(source, release, layer, transport, known) for layer in LAYERS}
    _check_objects(manifests, transport)
    release_signatures = _read_signatures(
        source, parts, layout.RELEASE_SIGNATURES, {"approvals", "signatures"}
    )
    transport_signatures = _read_signatures(source, parts, layout.TRANSPORT_SIGNATURES, {"signatures"})
    return UnverifiedBundle(
        source=source,
        release=release,
        identity=identity,
        manifests=manifests,
        carried=frozenset(
            name for name, ref in release.layers.items() if ref.manifest in transport.manifests
        ),
        objects=transport.objects,
        signatures=release_signatures.get("signatures", ()),
        approvals=release_signatures.get("approvals", ()),
        transport=raw_transport,
        transport_signatures=transport_signatures.get("signatures", ()),
        roots=_read_roots(source, parts),
    )


def verify(bundle: UnverifiedBundle, root: Root, policy: Policy) -> VerifiedBundle:
    """Decide whether `root` and the box's `policy` accept the release and what travels.

    Raises: TrustError: BadSignature, UnknownKey and their kin.
    """
    release = bundle.release
    vouched = vouch(root, policy, release.product, release.encode(), bundle.transport, bundle.endorsement)
    return VerifiedBundle(bundle, root, vouched)


def verify_objects(bundle: UnverifiedBundle, advance: Callable[[int], None] = lambda _: None) -> None:
    """Check every travelling object on two threads; `advance` is told of each one's bytes.

    Raises: DigestMismatch, MissingPart, MalformedBundle.
    """

    def check(batch: list[str]) -> int:
        for sha256 in batch:
            copy_from(bundle, sha256, None)
        return sum(bundle.objects[sha256].size for sha256 in batch)

    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        for size in pool.map(check, _batches(bundle.objects)):
            advance(size)


def _batches(objects: Mapping[str, StoredObject]) -> Iterator[list[str]]:
    """Largest first, so that two threads end together; small ones by the hundred, a future costs more than they do."""
    batch: list[str] = []
    size = 0
    for sha256 in sorted(objects, key=lambda sha256: (-objects[sha256].size, sha256)):
        batch.append(sha256)
        size += objects[sha256].size
        if size >= BATCH_BYTES or len(batch) >= BATCH_OBJECTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def copy_from(bundle: UnverifiedBundle, sha256: str, sink: IO[bytes] | None) -> None:
    """Write a travelling object to `sink` (None: only check it). Raises: as `codec.copy_object`."""
    stored = bundle.objects.get(sha256)
    if stored is None:
        raise MissingPart(
            f"object {canonical.short(sha256)} does not travel in this bundle",
            next_step="carry the full bundle",
        )
    copy_object(lambda: bundle.source.open(layout.object_(sha256)), stored, sha256, sink)


def read_object(bundle: UnverifiedBundle, sha256: str) -> bytes:
    """A small object in memory, checked."""
    sink = io.BytesIO()
    copy_from(bundle, sha256, sink)
    return sink.getvalue()


def _require_parts(source: Source, parts: Mapping[str, int], transport: Transport) -> None:
    """What lies there is exactly what transport.json announces (clause 7.3)."""
    expected = {layout.RELEASE, layout.TRANSPORT}
    expected |= {layout.manifest(digest) for digest in transport.manifests}
    sizes = {layout.object_(sha256): stored.stored_size for sha256, stored in transport.objects.items()}
    optional = {layout.RELEASE_SIGNATURES, layout.TRANSPORT_SIGNATURES}
    roots = {name for name in parts if name.startswith("roots/")}
    strangers = sorted(parts.keys() - expected - optional - roots - sizes.keys())
    if strangers:
        raise MalformedBundle(
            f"{source.name}: {len(strangers)} part(s) that it does not name", problems=strangers[:10]
        )
    missing = sorted((expected | sizes.keys()) - parts.keys())
    if missing:
        raise MissingPart(
            f"{source.name}: {len(missing)} part(s) are missing",
            problems=missing[:10],
            next_step="copy the whole bundle to the medium again",
        )
    wrong = [
        f"{name}: expected {size} bytes, found {parts[name]}"
        for name, size in sizes.items()
        if parts[name] != size
    ]
    if wrong:
        raise MalformedBundle(f"{source.name}: {len(wrong)} object(s) of another size", problems=wrong[:10])


def _read_manifest(
    source: Source, release: Release, layer: str, transport: Transport, known: Known
) -> dict[str, FileEntry]:
    ref = release.layers[layer]
    carried = ref.manifest in transport.manifests
    data = document(source, layout.manifest(ref.manifest)) if carried else known(ref.manifest)
    if data is None:
        raise MissingPart(
            f"the manifest of {layer} ({canonical.short(ref.manifest)}) neither travels nor is on this box",
            next_step="carry the full bundle",
        )
    if canonical.digest(data) != ref.manifest:
        raise DigestMismatch(f"manifest of {layer}: expected {canonical.short(ref.manifest)}, found another")
    files = decode_manifest(data, f"manifest of {layer}")
    if (len(files), sum(entry.size for entry in files.values())) != (ref.files, ref.size):
        raise MalformedBundle(f"manifest of {layer}: not the file count and size that release.json gives")
    return files


def _check_objects(manifests: Mapping[str, Mapping[str, FileEntry]], transport: Transport) -> None:
    needed: dict[str, int] = {}
    problems: list[str] = []
    for files in manifests.values():
        for path, entry in files.items():
            if needed.setdefault(entry.sha256, entry.size) != entry.size:
                problems.append(f"{path}: one digest with two sizes")
    for sha256, stored in transport.objects.items():
        if needed.get(sha256) != stored.size:
            problems.append(f"object {canonical.short(sha256)}: in no layer, or of another size there")
    if problems:
        raise MalformedBundle(f"transport.json: {len(problems)} problem(s)", problems=problems[:10])


def _read_signatures(
    source: Source, parts: Mapping[str, int], name: str, keys: set[str]
) -> dict[str, tuple[Signature, ...]]:
    if name not in parts:
        return {}
    doc = canonical.decode(document(source, name), name)
    exactly(doc, keys, name)
    found = {key: signatures_from_json(doc[key], name) for key in keys}
    if not any(found.values()):
        raise MalformedBundle(f"{name}: without signatures it must not be there")
    return found


def _read_roots(source: Source, parts: Mapping[str, int]) -> tuple[SignedRoot, ...]:
    """Roots vouch for themselves and for each other (clause 6), so transport.json does not name them."""
    names = sorted(
        (name for name in parts if name.startswith("roots/")),
        key=lambda name: layout.rank(name) or (0, 0, ""),
    )
    if len(names) > MAX_ROOTS:
        raise MalformedBundle(f"{source.name}: {len(names)} trust roots, at most {MAX_ROOTS} are permitted")
    roots = tuple(decode_root(document(source, name), name) for name in names)
    for name, signed in zip(names, roots, strict=True):
        if name != layout.root(signed.root.version):
            raise MalformedBundle(f"{name}: holds version {signed.root.version}")
    return roots
