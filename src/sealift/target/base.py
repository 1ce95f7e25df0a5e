"""The libraries that a box has before a release comes, and those that it may do without. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from sealift.target.known import entries, single


@dataclass(frozen=True, slots=True)
class Beside:
    """A library that wheels may ask the system for, and that only desktops have; the packages that bring it."""

    library: str
    deb: str
    rpm: str


@dataclass(frozen=True, slots=True)
class Excuse:
    """Objects that may stay unresolved, with the reason.

    `object` is a pattern of the path inside a layer, `libraries` are patterns of names.
    `only_without_cuda`: not excused where the target asks for CUDA.
    """

    object: str
    libraries: tuple[str, ...]
    reason: str
    only_without_cuda: bool = False

    def excuses(self, path: str, library: str, *, cuda: bool) -> bool:
        """Claims that the object at `path` may lack `library` on a target with or without CUDA."""
        if self.only_without_cuda and cuda:
            return False
        return fnmatchcase(path, self.object) and any(fnmatchcase(library, p) for p in self.libraries)


@cache
def base_libraries() -> frozenset[str]:
    """Names of the libraries that every target has."""
    entry = single("base")
    found = frozenset(entry.texts("libraries"))
    entry.close()
    return found


@cache
def beside() -> Mapping[str, Beside]:
    """By library."""
    found = {}
    for entry in entries("beside"):
        one = Beside(entry.text("library"), entry.text("deb"), entry.text("rpm"))
        entry.close()
        found[one.library] = one
    return found


@cache
def excuses() -> tuple[Excuse, ...]:
    """In the order of known.toml; the first that fits gives the reason."""
    found = []
    for entry in entries("excuse"):
        found.append(
            Excuse(
                object=entry.text("object"),
                libraries=entry.texts("libraries"),
                reason=entry.text("reason"),
                only_without_cuda=entry.flag("only_without_cuda"),
            )
        )
        entry.close()
    return tuple(found)
