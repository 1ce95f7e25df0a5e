"""A new file -> the older file that it most likely came from: by its path, then by its size."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

LARGE_BYTES: Final = 256 * 1024
"""From here on a file of quite another name is tried, too: a model that was renamed is worth the time."""
_NEAREST: Final = 16
_DIGEST: Final = re.compile(r"[0-9a-f]{8,}")
_VERSION: Final = re.compile(r"\d+(?:(?:[._+-]|rc|a|b|post|dev)+\d+)*(?:\.dev)?")


class Shelf:
    """The files of one layer of the bases, to find the predecessor of a new one on.

    Args:
        files: path -> bytes, of what every base has.
    """

    def __init__(self, files: Mapping[str, int]) -> None:
        self._files = files
        self._alike: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for path, size in files.items():
            for key in _keys(path):
                self._alike[key].append((size, path))
        for found in self._alike.values():
            found.sort()

    def predecessor(self, path: str, size: int) -> str | None:
        """The file of the same path; else of the same path but for versions and digests in it; else of the same
        name in another folder; else, for a large file, of the same kind and up to twice or half as large.
        Among several those with most folders in common, and of these the nearest in size.
        """
        if path in self._files:
            return path
        for key in _keys(path):
            found = self._near(key, size)
            if key.startswith("kind ") and size < LARGE_BYTES:
                found = []
            elif key.startswith("kind "):
                found = [item for item in found if size <= 2 * item[0] <= 4 * size]
            if found:
                return _best(path, size, found)
        return None

    def _near(self, key: str, size: int) -> list[tuple[int, str]]:
        """The few of that key that are nearest in size: thousands may be called `__init__.py`."""
        found = self._alike.get(key, [])
        at = bisect_left(found, (size, ""))
        return found[max(0, at - _NEAREST) : at + _NEAREST]


def without_versions(path: str) -> str:
    """`libfoo.so.1.30` -> `libfoo.so.#`, `pkg-1.2.dist-info/METADATA` -> `pkg-#.dist-info/METADATA`."""
    return _VERSION.sub("#", _DIGEST.sub("#", path))


def _keys(path: str) -> tuple[str, str, str]:
    """What two files may have in common, the strongest first."""
    plain = without_versions(path)
    return f"path {plain}", f"name {plain.rpartition('/')[2]}", f"kind {PurePosixPath(plain).suffix}"


def _best(path: str, size: int, found: Iterable[tuple[int, str]]) -> str:
    folders = set(without_versions(path).split("/")[:-1])

    def rank(item: tuple[int, str]) -> tuple[int, int, str]:
        shared = folders & set(without_versions(item[1]).split("/")[:-1])
        return -len(shared), abs(item[0] - size), item[1]

    return min(found, key=rank)[1]
