"""Combinations that install cleanly and then crash. Standard library only.

Each entry was seen; the reason says what happens, so that nobody has to find out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealift.target.target import Target, version_key


@dataclass(frozen=True, slots=True)
class KnownBad:
    """`packages` maps a name to (from, below): a half-open range of versions, "" for an open end.

    `glibc_below` limits the entry to targets with an older C library; "" is every target.
    """

    packages: Mapping[str, tuple[str, str]]
    reason: str
    remedy: str
    glibc_below: str = ""


KNOWN_BAD = (
    # glibc 2.17 + CPython 3.11 resolves to 1.16.3 + 2.2.6; `pip check` is content, the import crashes.
    KnownBad(
        packages={"onnxruntime": ("", "1.19"), "numpy": ("2", "")},
        reason="onnxruntime before 1.19 was built for numpy 1 and crashes on import with numpy 2",
        remedy="require numpy<2, or a target with glibc 2.28 and onnxruntime 1.19 or newer",
    ),
)


def known_bad(target: Target, packages: Mapping[str, str]) -> tuple[str, ...]:
    """What is known to fail among `packages` (normalised name -> version) on `target`."""
    return tuple(
        f"{_named(entry, packages)} (glibc {target.glibc}): {entry.reason}; {entry.remedy}"
        for entry in KNOWN_BAD
        if (not entry.glibc_below or version_key(target.glibc) < version_key(entry.glibc_below))
        and all(name in packages and _within(packages[name], span) for name, span in entry.packages.items())
    )


def _named(entry: KnownBad, packages: Mapping[str, str]) -> str:
    return " with ".join(f"{name} {packages[name]}" for name in entry.packages)


def _within(version: str, span: tuple[str, str]) -> bool:
    start, end = span
    key = version_key(version)
    return (not start or key >= version_key(start)) and (not end or key < version_key(end))
