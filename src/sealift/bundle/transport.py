"""transport.json: what travels in this bundle, and how each object is stored (clause 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sealift import canonical
from sealift.bundle.documents import LAYERS, MAX_FILES, MAX_OBJECT_BYTES
from sealift.bundle.fields import DIGEST, a_list, an_object, count, exactly, of_format, text
from sealift.errors import MalformedBundle

TRANSPORT_FORMAT: Final = "sealift-transport/1"
CODECS: Final = ("raw", "zstd")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it lies in the bundle.

    `size` and the name it stands under (its sha256) are of the file; `stored_size` and `stored_sha256`
    are of the bytes on the medium, checked before any decompressor sees them (clause 4.3).
    """

    codec: str
    size: int
    stored_size: int
    stored_sha256: str


@dataclass(frozen=True, slots=True)
class Transport:
    """Which release, and which of its manifests and objects travel.

    A bundle may carry less than the release needs: the box must have the rest.
    """

    release: str
    manifests: tuple[str, ...]
    objects: Mapping[str, StoredObject]

    def encode(self) -> bytes:
        """The canonical bytes of transport.json."""
        objects = {
            sha256: {
                "codec": stored.codec,
                "size": stored.size,
                "stored_sha256": stored.stored_sha256,
                "stored_size": stored.stored_size,
            }
            for sha256, stored in self.objects.items()
        }
        return canonical.encode(
            {
                "format": TRANSPORT_FORMAT,
                "manifests": sorted(self.manifests),
                "objects": objects,
                "release": self.release,
            }
        )


def decode_transport(data: bytes) -> Transport:
    """Read transport.json. Raises: MalformedBundle: anything but its one permitted form."""
    what = "transport.json"
    doc = canonical.decode(data, what)
    exactly(doc, {"format", "manifests", "objects", "release"}, what)
    of_format(doc, TRANSPORT_FORMAT, what)
    manifests = [text(item, DIGEST, "manifest", what) for item in a_list(doc["manifests"], "manifests", what)]
    if manifests != sorted(set(manifests)) or len(manifests) > len(LAYERS):
        raise MalformedBundle(f"{what}: manifests are not in order, stand twice, or are more than the layers")
    objects = an_object(doc["objects"], "objects", what)
    if len(objects) > MAX_FILES * len(LAYERS):
        raise MalformedBundle(f"{what}: {len(objects)} objects, more than any release may have")
    return Transport(
        release=text(doc["release"], DIGEST, "release", what),
        manifests=tuple(manifests),
        objects={sha256: _stored(sha256, value, what) for sha256, value in objects.items()},
    )


def _stored(sha256: str, value: object, what: str) -> StoredObject:
    text(sha256, DIGEST, "object name", what)
    here = f"{what} {sha256}"
    doc = an_object(value, sha256, what)
    exactly(doc, {"codec", "size", "stored_sha256", "stored_size"}, here)
    stored = StoredObject(
        codec=_codec(doc["codec"], here),
        size=count(doc["size"], "size", here, MAX_OBJECT_BYTES),
        stored_size=count(doc["stored_size"], "stored_size", here, MAX_OBJECT_BYTES),
        stored_sha256=text(doc["stored_sha256"], DIGEST, "stored_sha256", here),
    )
    is_itself = (stored.stored_sha256, stored.stored_size) == (sha256, stored.size)
    if stored.codec == "raw" and not is_itself:
        raise MalformedBundle(f"{here}: a raw object is stored as itself, with its own digest and size")
    if stored.codec != "raw" and stored.stored_size >= stored.size:
        raise MalformedBundle(
            f"{here}: {stored.codec} must be smaller than the object, else it is stored raw"
        )
    return stored


def _codec(value: object, here: str) -> str:
    if value not in CODECS:
        raise MalformedBundle(
            f"{here}: codec {value!r} is not known to this sealift ({', '.join(CODECS)})",
            next_step="use a sealift that reads this codec",
        )
    return str(value)
