"""The paths inside a bundle and their one order; only this file knows them (clause 7)."""

from __future__ import annotations

import re
from typing import Final

RELEASE: Final = "release.json"
RELEASE_SIGNATURES: Final = "release.sig.json"
TRANSPORT: Final = "transport.json"
TRANSPORT_SIGNATURES: Final = "transport.sig.json"
SUFFIX: Final = ".sealift"
VOLUME: Final = "volume.json"
PIECE: Final = "piece"

MAX_DOCUMENT_BYTES: Final = 64 * 2**20
MAX_RELEASE_BYTES: Final = 4 << 20
MAX_SIGNATURE_BYTES: Final = 1 << 20
MAX_VOLUME_BYTES: Final = 4096
MAX_MARKS: Final = 2_000_000
"""Bytes `,` `[` `{` of a document: what its parsing costs, bounded before it starts (clause 7.4)."""
MAX_PARTS: Final = 700_000
MAX_FOLDERS: Final = 2
"""How deep folders lie: `objects/ab` is the deepest."""

_ORDER: Final = (RELEASE, RELEASE_SIGNATURES, TRANSPORT, TRANSPORT_SIGNATURES)
_ROOT: Final = re.compile(r"roots/([1-9][0-9]{0,8})\.json")
_MANIFEST: Final = re.compile(r"manifests/[0-9a-f]{64}\.json")
_OBJECT: Final = re.compile(r"objects/([0-9a-f]{2})/(\1[0-9a-f]{62})")


def manifest(digest: str) -> str:
    """Where the layer manifest of that digest lies."""
    return f"manifests/{digest}.json"


def object_(sha256: str) -> str:
    """Where the object of that digest lies; 256 folders keep each one short."""
    return f"objects/{sha256[:2]}/{sha256}"


def root(version: int) -> str:
    """Where the trust root of that version lies."""
    return f"roots/{version}.json"


def rank(name: str) -> tuple[int, int, str] | None:
    """The place of a part in the one order, or None for a name that no bundle has (clause 7.2)."""
    if name in _ORDER:
        return _ORDER.index(name), 0, ""
    if found := _ROOT.fullmatch(name):
        return len(_ORDER), int(found[1]), ""
    if _MANIFEST.fullmatch(name):
        return len(_ORDER) + 1, 0, name
    if _OBJECT.fullmatch(name):
        return len(_ORDER) + 2, 0, name
    return None


def volume_rank(name: str) -> tuple[int, int, str] | None:
    """The place of a part in a volume, or None for a name that no volume has (clause 12.2)."""
    if name == VOLUME:
        return -1, 0, ""
    if name == PIECE:
        return len(_ORDER) + 2, 0, ""
    return rank(name) if is_document(name) else None


def is_document(name: str) -> bool:
    """True for everything but objects and pieces: read whole, so held to `most_bytes`."""
    return not name.startswith("objects/") and name != PIECE


def most_bytes(name: str) -> int:
    """The cap of a document (clause 7.4): only manifests and the transport grow with the files."""
    if name == RELEASE:
        return MAX_RELEASE_BYTES
    if name == VOLUME:
        return MAX_VOLUME_BYTES
    is_small = name in (RELEASE_SIGNATURES, TRANSPORT_SIGNATURES) or name.startswith("roots/")
    return MAX_SIGNATURE_BYTES if is_small else MAX_DOCUMENT_BYTES
