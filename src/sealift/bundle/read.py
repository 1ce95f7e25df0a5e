"""Source -> UnverifiedBundle -> VerifiedBundle; only the second can be installed."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO, Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.codec import check_stored, copy_object
from sealift.bundle.documents import LAYERS, FileEntry, Release, decode_manifest, decode_release
from sealift.bundle.fields import exactly
from sealift.bundle.source import Source, document, reading
from sealift.bundle.transport import Base, StoredObject, Transport, decode_transport
from sealift.errors import DigestMismatch, MalformedBundle, MissingPart
from sealift.trust.keys import Signature, signatures_from_json
from sealift.trust.root import Root, SignedRoot, decode_root
from sealift.trust.vouch import Endorsement, Policy, Vouched, vouch

HASHING_THREADS: Final = 2
BATCH_BYTES: Final = 4 * 2**20
BATCH_OBJECTS: Final = 256
MAX_ROOTS: Final = 64
NEXT_STEP: Final = "carry the full bundle, or a delta from what this box has (sealift status shows it)"

Known = Callable[[str], bytes | None]
"""Manifest digest -> its bytes, where the box has it from an earlier bundle."""

FindBase = Callable[[str], Path | None]
"""An object's digest -> a file with its bytes, where they are at hand; its digest is checked before it is used."""


def no_base(_: str) -> Path | None:
    """Nothing is at hand: patches cannot be decoded."""
    return None


@dataclass(frozen=True, slots=True)
class UnverifiedBundle:
    """Well formed, but nobody vouches yet: to look at, never to install.

    `transport` is transport.json as it was read once: what is signed is what was parsed.
    `carried` names the layers whose manifest travels; `objects` what travels of all that `manifests` name.
    `lacking` names the layers whose manifest is not at hand: their files are unknown, and the bundle is one to
    look at. `bases` are the releases that a delta builds on: a box needs one of them.
    """

    source: Source
    release: Release
    identity: str
    manifests: Mapping[str, Mapping[str, FileEntry]]
    carried: frozenset[str]
    lacking: frozenset[str]
    objects: Mapping[str, StoredObject]
    bases: tuple[Base, ...]
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

    @property
    def made_for(self) -> str:
        """`made for a box that has fraud 2026.11.0 (sha256:9f31-c2a0)`; of a full bundle: `... the rest of it`."""
        return made_for(self.release.product, self.bases)


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

    @property
    def bases(self) -> tuple[Base, ...]:
        """The releases that a delta builds on, by identity; none of a full bundle."""
        return self.bundle.bases

    def copy_object(self, sha256: str, sink: IO[bytes] | None, base: FindBase = no_base) -> None:
        """Write a travelling object to `sink`; stored bytes, base and decoded bytes checked.

        Raises: as `copy_from`.
        """
        copy_from(self.bundle, sha256, sink, base)

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """Every file of the release as (`layer/path`, entry)."""
        for layer in LAYERS:
            for path, entry in self.bundle.manifests[layer].items():
                yield f"{layer}/{path}", entry


def made_for(product: str, bases: tuple[Base, ...]) -> str:
    """What a box must have for a bundle that leaves something out."""
    if not bases:
        return f"made for a box that has an earlier release of {product}"
    names = " or ".join(base.words for base in sorted(bases, key=lambda base: (-base.seq, base.identity)))
    return f"made for a box that has {product} {names}"


def read_bundle(source: Source, known: Known = lambda _: None, *, may_lack: bool = False) -> UnverifiedBundle:
    """Read and cross-check every document; nothing is believed yet.

    Args:
        known: manifests that the box has already, for a bundle that leaves unchanged layers out.
        may_lack: go on where one of a delta is nowhere; what is read then can be looked at, never be installed.
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
    _check_bases(release, identity, transport)
    found = {layer: _manifest_bytes(source, release, layer, transport, known) for layer in LAYERS}
    lacking = frozenset(layer for layer, data in found.items() if data is None)
    if lacking and not (may_lack and transport.bases):
        raise _no_manifest(release, min(lacking, key=LAYERS.index), transport)
    manifests = {layer: _read_manifest(release, layer, data) for layer, data in found.items()}
    _check_objects(manifests, transport, is_whole=not lacking)
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
        lacking=lacking,
        objects=transport.objects,
        bases=transport.bases,
        signatures=release_signatures.get("signatures", ()),
        approvals=release_signatures.get("approvals", ()),
        transport=raw_transport,
        transport_signatures=transport_signatures.get("signatures", ()),
        roots=_read_roots(source, parts),
    )


def verify(bundle: UnverifiedBundle, root: Root, policy: Policy) -> VerifiedBundle:
    """Decide whether `root` and the box's `policy` accept the release and what travels.

    Raises: TrustError: BadSignature, UnknownKey and their kin. MissingPart: layers whose files are unknown.
    """
    if bundle.lacking:
        raise MissingPart(f"the files of {', '.join(sorted(bundle.lacking))} are not known here")
    return VerifiedBundle(bundle, root, vouch_for(bundle, root, policy))


def vouch_for(bundle: UnverifiedBundle, root: Root, policy: Policy) -> Vouched:
    """Who vouches for the documents, also where the files of a layer are not known here. Raises: TrustError."""
    release = bundle.release
    return vouch(root, policy, release.product, release.encode(), bundle.transport, bundle.endorsement)


def verify_objects(
    bundle: UnverifiedBundle, advance: Callable[[int], None] = lambda _: None, base: FindBase = no_base
) -> tuple[str, ...]:
    """Check every travelling object on two threads; `advance` is told of each one's bytes.

    Returns: the patches whose base is not at hand, sorted: their stored bytes were checked, not what they
        decode to.
    Raises: DigestMismatch, MissingPart, MalformedBundle.
    """
    one_patch = threading.Lock()  # each needs memory for its window of the base

    def check(batch: list[str]) -> tuple[int, list[str]]:
        undecoded = []
        for sha256 in batch:
            source = bundle.objects[sha256].source
            if source is not None and base(source) is None:
                check_stored(_opener(bundle, sha256), bundle.objects[sha256], sha256)
                undecoded.append(sha256)
            else:
                with one_patch if source is not None else contextlib.nullcontext():
                    copy_from(bundle, sha256, None, base)
        return sum(bundle.objects[sha256].size for sha256 in batch), undecoded

    left: list[str] = []
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        for size, undecoded in pool.map(check, _batches(bundle.objects)):
            advance(size)
            left += undecoded
    return tuple(sorted(left))


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


def copy_from(
    bundle: UnverifiedBundle, sha256: str, sink: IO[bytes] | None, base: FindBase = no_base
) -> None:
    """Write a travelling object to `sink` (None: only check it).

    Raises: as `codec.copy_object`. MissingPart: it does not travel, or is a patch of what is not at hand;
        DigestMismatch: what it is a patch of is damaged here. Both name what to carry.
    """
    stored = bundle.objects.get(sha256)
    if stored is None:
        raise MissingPart(
            f"object {canonical.short(sha256)} does not travel in this bundle, {bundle.made_for}",
            next_step=NEXT_STEP,
        )
    old = None if stored.source is None else require_base(bundle, stored.source, base)
    copy_object(_opener(bundle, sha256), stored, sha256, sink, old)


def _opener(bundle: UnverifiedBundle, sha256: str) -> Callable[[], IO[bytes]]:
    return lambda: bundle.source.open(layout.object_(sha256))


def require_base(bundle: UnverifiedBundle, sha256: str, base: FindBase) -> Path:
    """The file that a patch is applied to, its digest checked (clause 4.7)."""
    path = base(sha256)
    if path is None:
        raise MissingPart(
            f"object {canonical.short(sha256)} is not here, and this delta is {bundle.made_for}",
            next_step=NEXT_STEP,
        )
    with reading(str(path)), path.open("rb") as stream:
        found = file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise DigestMismatch(
            f"{path} is damaged (expected {canonical.short(sha256)}, found {canonical.short(found)}), and this "
            f"delta is {bundle.made_for}",
            next_step=NEXT_STEP,
        )
    return path


def read_object(bundle: UnverifiedBundle, sha256: str, base: FindBase = no_base) -> bytes:
    """A small object in memory, checked. Raises: as `copy_from`."""
    sink = io.BytesIO()
    copy_from(bundle, sha256, sink, base)
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


def _check_bases(release: Release, identity: str, transport: Transport) -> None:
    """A delta leads on from each of its bases (clause 4.6)."""
    for base in transport.bases:
        if base.identity == identity or base.seq >= release.seq:
            raise MalformedBundle(
                f"transport.json: {base.words} with sequence {base.seq} cannot be a base of "
                f"{canonical.short(identity)} with sequence {release.seq}"
            )


def _manifest_bytes(
    source: Source, release: Release, layer: str, transport: Transport, known: Known
) -> bytes | None:
    digest = release.layers[layer].manifest
    return document(source, layout.manifest(digest)) if digest in transport.manifests else known(digest)


def _no_manifest(release: Release, layer: str, transport: Transport) -> MissingPart:
    return MissingPart(
        f"the manifest of {layer} ({canonical.short(release.layers[layer].manifest)}) neither travels nor is on "
        f"this box: the bundle was {made_for(release.product, transport.bases)}",
        next_step=NEXT_STEP,
    )


def _read_manifest(release: Release, layer: str, data: bytes | None) -> dict[str, FileEntry]:
    """The files of a layer; none where its manifest is not at hand."""
    if data is None:
        return {}
    ref = release.layers[layer]
    if canonical.digest(data) != ref.manifest:
        raise DigestMismatch(f"manifest of {layer}: expected {canonical.short(ref.manifest)}, found another")
    files = decode_manifest(data, f"manifest of {layer}")
    if (len(files), sum(entry.size for entry in files.values())) != (ref.files, ref.size):
        raise MalformedBundle(f"manifest of {layer}: not the file count and size that release.json gives")
    return files


def _check_objects(
    manifests: Mapping[str, Mapping[str, FileEntry]], transport: Transport, *, is_whole: bool
) -> None:
    """Every object belongs to a file; where not all files are known, only the sizes can be compared."""
    needed: dict[str, int] = {}
    problems: list[str] = []
    for files in manifests.values():
        for path, entry in files.items():
            if needed.setdefault(entry.sha256, entry.size) != entry.size:
                problems.append(f"{path}: one digest with two sizes")
    for sha256, stored in transport.objects.items():
        if needed.get(sha256, None if is_whole else stored.size) != stored.size:
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
