"""transport.json: what travels in this bundle, and how each object is stored (clause 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sealift import canonical
from sealift.bundle.documents import LAYERS, MAX_FILES, MAX_OBJECT_BYTES, VERSION
from sealift.bundle.fields import DIGEST, a_list, an_object, count, exactly, of_format, text
from sealift.errors import MalformedBundle

FULL_FORMAT: Final = "sealift-transport/1"
DELTA_FORMAT: Final = "sealift-transport/2"
"""Only a delta says this: a sealift that knows no deltas reads every full bundle, and refuses these by name."""
RAW, ZSTD, PATCH = "raw", "zstd", "zstd-prefix"
CODECS: Final = (RAW, ZSTD)
DELTA_CODECS: Final = (*CODECS, PATCH)
MAX_BASES: Final = 16

_KEYS: Final = {"format", "manifests", "objects", "release"}
_STORED_KEYS: Final = {"codec", "size", "stored_sha256", "stored_size"}


@dataclass(frozen=True, slots=True, order=True)
class Base:
    """A release that a delta builds on: a box that has any one of the bases can take it (clause 4.6)."""

    identity: str
    seq: int
    version: str

    @property
    def words(self) -> str:
        """`2026.11.0 (sha256:9f31-c2a0)`."""
        return f"{self.version} ({canonical.short(self.identity)})"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it lies in the bundle.

    `size` and the name it stands under (its sha256) are of the file; `stored_size` and `stored_sha256`
    are of the bytes on the medium, checked before any decompressor sees them (clause 4.3).
    `source` is the object that a patch was made from, in every base; None where the whole object travels.
    """

    codec: str
    size: int
    stored_size: int
    stored_sha256: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Transport:
    """Which release, and which of its manifests and objects travel.

    A bundle may carry less than the release needs: the box must have the rest, from one of the `bases`
    where any are named.
    """

    release: str
    manifests: tuple[str, ...]
    objects: Mapping[str, StoredObject]
    bases: tuple[Base, ...] = ()

    def encode(self) -> bytes:
        """The canonical bytes of transport.json."""
        doc: dict[str, object] = {
            "format": DELTA_FORMAT if self.bases else FULL_FORMAT,
            "manifests": sorted(self.manifests),
            "objects": {sha256: _stored_doc(stored) for sha256, stored in self.objects.items()},
            "release": self.release,
        }
        if self.bases:
            doc["bases"] = bases_json(sorted(self.bases))
        return canonical.encode(doc)


def _stored_doc(stored: StoredObject) -> dict[str, str | int]:
    doc: dict[str, str | int] = {
        "codec": stored.codec,
        "size": stored.size,
        "stored_sha256": stored.stored_sha256,
        "stored_size": stored.stored_size,
    }
    return doc if stored.source is None else doc | {"from": stored.source}


def bases_json(bases: Iterable[Base]) -> list[dict[str, str | int]]:
    """As transport.json names them."""
    return [{"identity": base.identity, "seq": base.seq, "version": base.version} for base in bases]


def decode_transport(data: bytes) -> Transport:
    """Read transport.json. Raises: MalformedBundle: anything but its one permitted form."""
    what = "transport.json"
    doc = canonical.decode(data, what)
    is_delta = doc.get("format") == DELTA_FORMAT
    exactly(doc, _KEYS | {"bases"} if is_delta else _KEYS, what)
    of_format(doc, DELTA_FORMAT if is_delta else FULL_FORMAT, what)
    manifests = [text(item, DIGEST, "manifest", what) for item in a_list(doc["manifests"], "manifests", what)]
    if manifests != sorted(set(manifests)) or len(manifests) > len(LAYERS):
        raise MalformedBundle(f"{what}: manifests are not in order, stand twice, or are more than the layers")
    objects = an_object(doc["objects"], "objects", what)
    if len(objects) > MAX_FILES * len(LAYERS):
        raise MalformedBundle(f"{what}: {len(objects)} objects, more than any release may have")
    codecs = DELTA_CODECS if is_delta else CODECS
    transport = Transport(
        release=text(doc["release"], DIGEST, "release", what),
        manifests=tuple(manifests),
        objects={sha256: _stored(sha256, value, codecs, what) for sha256, value in objects.items()},
        bases=_bases(doc["bases"], what) if is_delta else (),
    )
    _require_outside_sources(transport, what)
    return transport


def _bases(value: object, what: str) -> tuple[Base, ...]:
    bases = []
    for item in a_list(value, "bases", what):
        doc = an_object(item, "base", what)
        exactly(doc, {"identity", "seq", "version"}, f"{what} bases")
        bases.append(
            Base(
                identity=text(doc["identity"], DIGEST, "identity", f"{what} bases"),
                seq=count(doc["seq"], "seq", f"{what} bases"),
                version=text(doc["version"], VERSION, "version", f"{what} bases"),
            )
        )
    names = [base.identity for base in bases]
    if names != sorted(set(names)) or not 1 <= len(names) <= MAX_BASES:
        raise MalformedBundle(f"{what}: bases are not in order, stand twice, or are not 1 to {MAX_BASES}")
    return tuple(bases)


def _require_outside_sources(transport: Transport, what: str) -> None:
    """A patch is made from what the box has before: so none waits for another, and none for itself (4.7)."""
    for sha256, stored in transport.objects.items():
        if stored.source is not None and stored.source in transport.objects:
            raise MalformedBundle(
                f"{what} {sha256}: made from {canonical.short(stored.source)}, an object that travels itself"
            )


def _stored(sha256: str, value: object, codecs: tuple[str, ...], what: str) -> StoredObject:
    text(sha256, DIGEST, "object name", what)
    here = f"{what} {sha256}"
    doc = an_object(value, sha256, what)
    is_patch = doc.get("codec") == PATCH and PATCH in codecs
    exactly(doc, _STORED_KEYS | {"from"} if is_patch else _STORED_KEYS, here)
    stored = StoredObject(
        codec=_codec(doc["codec"], codecs, here),
        size=count(doc["size"], "size", here, MAX_OBJECT_BYTES),
        stored_size=count(doc["stored_size"], "stored_size", here, MAX_OBJECT_BYTES),
        stored_sha256=text(doc["stored_sha256"], DIGEST, "stored_sha256", here),
        source=text(doc["from"], DIGEST, "from", here) if is_patch else None,
    )
    is_itself = (stored.stored_sha256, stored.stored_size) == (sha256, stored.size)
    if stored.codec == RAW and not is_itself:
        raise MalformedBundle(f"{here}: a raw object is stored as itself, with its own digest and size")
    if stored.codec != RAW and stored.stored_size >= stored.size:
        raise MalformedBundle(
            f"{here}: {stored.codec} must be smaller than the object, else it is stored raw"
        )
    return stored


def _codec(value: object, codecs: tuple[str, ...], here: str) -> str:
    if value not in codecs:
        raise MalformedBundle(
            f"{here}: codec {value!r} is not known to this sealift ({', '.join(codecs)})",
            next_step="use a sealift that reads this codec",
        )
    return str(value)
