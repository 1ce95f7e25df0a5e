"""Manifests -> the parts of a release that weigh most, for people who wonder where the megabytes come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift.bundle.documents import FileEntry

SHOWN: Final = 12
INTERPRETER: Final = "python/"
"""Where a bundled interpreter lies in the runtime layer."""
_OWN = re.compile(r"sealift/|boot\.py$")
_DISTRIBUTION = re.compile(r"(.+?)-[^-]+\.(?:dist-info|data)$")
_OTHER_NAMES: Final = {"PIL": "pillow", "google": "protobuf", "_cffi_backend": "cffi"}
"""What sealift's own packages are imported as, where that is not their name."""


@dataclass(frozen=True, slots=True)
class Part:
    """`size` in bytes, unpacked. `name` is a package, `interpreter`, `sealift`, `model NAME`, or a folder."""

    layer: str
    name: str
    size: int
    files: int


def heaviest(manifests: Mapping[str, Mapping[str, FileEntry]]) -> tuple[Part, ...]:
    """All parts of all layers, the heaviest first; their sizes and files add up to those of the release.

    Args:
        manifests: layer -> path -> entry.
    """
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for layer, files in manifests.items():
        names = _spelled(files) if layer != "application" else {}
        for path, entry in files.items():
            part = _of_application(path) if layer == "application" else _of_packages(path)
            key = layer, names.get(part.lower(), part)
            size, count = sums.get(key, (0, 0))
            sums[key] = size + entry.size, count + 1
    parts = (Part(layer, name, size, count) for (layer, name), (size, count) in sums.items())
    return tuple(sorted(parts, key=lambda part: (-part.size, part.layer, part.name)))


def heaviest_json(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """For programs: every part."""
    return [{"files": p.files, "layer": p.layer, "part": p.name, "size": p.size} for p in parts]


def shown(parts: tuple[Part, ...]) -> Iterator[Part]:
    """What a page has room for: the first `SHOWN`, and one row for all others of all layers."""
    yield from parts[:SHOWN]
    rest = parts[SHOWN:]
    if rest:
        size, files = sum(part.size for part in rest), sum(part.files for part in rest)
        yield Part("", f"{len(rest)} lighter ones", size, files)


def _of_application(path: str) -> str:
    folder, _, rest = path.partition("/")
    if folder in ("models", "tokenizers", "handlers") and rest:
        return f"{folder[:-1]} {rest.partition('/')[0].partition('.')[0]}"
    return folder


def _of_packages(path: str) -> str:
    """The package by what it is imported as, or by what pip calls it."""
    if path.startswith(INTERPRETER):
        return "interpreter"
    if _OWN.match(path):
        return "sealift"
    top, _, rest = path.partition("/")
    top = rest if top == "__pycache__" else top
    distribution = _DISTRIBUTION.match(top)
    if distribution:
        return distribution[1]
    name = top.removesuffix(".libs").partition(".")[0]
    return _OTHER_NAMES.get(name, name)


def _spelled(files: Mapping[str, FileEntry]) -> dict[str, str]:
    """Lower case -> the name as it is imported, so that `Foo-1.0.dist-info` joins `foo`."""
    found = {}
    for path in files:
        top, folder, _ = path.partition("/")
        if folder and not _DISTRIBUTION.match(top) and not top.endswith(".libs"):
            found[top.lower()] = _of_packages(path)
    return found
