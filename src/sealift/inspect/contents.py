"""The files of a release, by name, as far as their bytes are at hand: a small bundle leaves some to the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sealift import canonical
from sealift.bundle.documents import FileEntry
from sealift.bundle.read import FindBase, UnverifiedBundle, no_base, read_object
from sealift.errors import DigestMismatch, MalformedBundle

MAX_READ_BYTES: Final = 64 * 2**20
"""Documents inside the application layer are read whole; a larger one is refused before it is touched."""

Find = Callable[[FileEntry], bytes | None]
"""A file that does not travel -> its bytes from elsewhere (an older bundle, this box), or None."""


def nowhere(_: FileEntry) -> bytes | None:
    """Looks nowhere else."""
    return None


@dataclass(frozen=True, slots=True)
class Contents:
    """A bundle and where else its files may be found; what is found is checked against its digest.

    `base` finds the objects that patches are made from.
    """

    bundle: UnverifiedBundle
    find: Find = nowhere
    base: FindBase = no_base

    def entry(self, path: str) -> FileEntry | None:
        """A file of the application layer, or None where the release has none of that name."""
        return self.bundle.manifests["application"].get(path)

    def travels(self, entry: FileEntry) -> bool:
        """Claims that the bundle itself carries the file's bytes."""
        return entry.sha256 in self.bundle.objects

    def decodes(self, entry: FileEntry) -> bool:
        """Claims that a travelling file is no patch, or that what it is a patch of is at hand."""
        source = self.bundle.objects[entry.sha256].source
        return source is None or self.base(source) is not None

    def read(self, path: str) -> bytes | None:
        """A small file of the application layer, or None where it is not at hand.

        Raises: MalformedBundle: larger than 64 MiB. DigestMismatch.
        """
        entry = self.entry(path)
        if entry is None:
            return None
        if entry.size > MAX_READ_BYTES:
            raise MalformedBundle(
                f"application/{path}: {entry.size} bytes, at most {MAX_READ_BYTES} are read here"
            )
        if self.travels(entry):
            return read_object(self.bundle, entry.sha256, self.base) if self.decodes(entry) else None
        data = self.find(entry)
        if data is not None and canonical.digest(data) != entry.sha256:
            raise DigestMismatch(
                f"application/{path}: the copy on this machine is not {canonical.short(entry.sha256)}"
            )
        return data
