"""The paths inside a bundle; only this file knows them (docs/reference/bundle-format.md, clause 7)."""

from __future__ import annotations

from typing import Final

RELEASE: Final = "release.json"
RELEASE_SIGNATURES: Final = "release.sig.json"
TRANSPORT: Final = "transport.json"
TRANSPORT_SIGNATURES: Final = "transport.sig.json"

MAX_DOCUMENT_BYTES: Final = 64 * 2**20


def manifest(digest: str) -> str:
    """Where the layer manifest of that digest lies."""
    return f"manifests/{digest}.json"


def object_(sha256: str) -> str:
    """Where the object of that digest lies; 256 folders keep each one short."""
    return f"objects/{sha256[:2]}/{sha256}"


def root(version: int) -> str:
    """Where the trust root of that version lies."""
    return f"roots/{version}.json"
