"""Which format a prefix has: an older sealift leaves a newer one's alone."""

from __future__ import annotations

from typing import Final

from sealift import __version__
from sealift.errors import NewerPrefix
from sealift.store.files import read_document, write_document
from sealift.store.prefix import Prefix

FORMAT: Final = 1


def require_known_format(prefix: Prefix) -> None:
    """Raises: NewerPrefix: a newer sealift wrote it. StoreError: the stamp is damaged."""
    if not prefix.stamp.is_file():
        return
    doc = read_document(prefix.stamp)
    found = doc.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise NewerPrefix(
            f"{prefix.root} was written by sealift {doc.get('sealift')} in format {found}; this is {__version__}, "
            f"which knows format {FORMAT}; nothing was changed",
            next_step=f"use that prefix's own command, {prefix.bin / 'sealift'}",
        )


def write_stamp(prefix: Prefix) -> None:
    """Say once which format this prefix has."""
    if not prefix.stamp.is_file():
        write_document(prefix.stamp, {"format": FORMAT, "sealift": __version__})
