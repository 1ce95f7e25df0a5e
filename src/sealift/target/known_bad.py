"""Combinations that install cleanly and then fail. Standard library only.

Each entry of known.toml was seen; the reason says what happens, so that nobody has to find out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sealift.target.known import entries, within
from sealift.target.target import Target, version_key


@dataclass(frozen=True, slots=True)
class KnownBad:
    """`packages` maps a normalised name to (from, below): a half-open range of versions, "" for an open end.

    `instead` is a requirement that keeps a resolver away from it (`numpy<2`). `glibc_below` limits the entry
    to targets with an older C library; None is every target.
    """

    packages: Mapping[str, tuple[str, str]]
    reason: str
    remedy: str
    instead: str
    glibc_below: str | None = None

    def holds(self, target: Target, packages: Mapping[str, str]) -> bool:
        """Claims that `packages` (normalised name -> version) has this combination on `target`."""
        if self.glibc_below is not None and version_key(target.glibc) >= version_key(self.glibc_below):
            return False
        return all(name in packages and within(packages[name], span) for name, span in self.packages.items())


@cache
def all_known_bad() -> tuple[KnownBad, ...]:
    """Every entry of known.toml."""
    found = []
    for entry in entries("known_bad"):
        found.append(
            KnownBad(
                packages=entry.spans("packages"),
                reason=entry.text("reason"),
                remedy=entry.text("remedy"),
                instead=entry.text("instead"),
                glibc_below=entry.optional("glibc_below"),
            )
        )
        entry.close()
    return tuple(found)


def bad_combinations(target: Target, packages: Mapping[str, str]) -> tuple[KnownBad, ...]:
    """The entries that `packages` (normalised name -> version) has on `target`."""
    return tuple(entry for entry in all_known_bad() if entry.holds(target, packages))


def known_bad(target: Target, packages: Mapping[str, str]) -> tuple[str, ...]:
    """What is known to fail among `packages` (normalised name -> version) on `target`."""
    return tuple(
        f"{_named(entry, packages)} (glibc {target.glibc}): {entry.reason}; {entry.remedy}"
        for entry in bad_combinations(target, packages)
    )


def _named(entry: KnownBad, packages: Mapping[str, str]) -> str:
    return " with ".join(f"{name} {packages[name]}" for name in entry.packages)
