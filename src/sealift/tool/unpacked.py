"""The tool as a bootstrap file has unpacked it -> a bundle's parts, without a second copy of its objects.

`documents/` is a bundle's folder without its objects; `tree/` has the files of the three layers in their places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from sealift.bundle import layout
from sealift.bundle.documents import decode_manifest, decode_release
from sealift.bundle.source import Folder, document, reading
from sealift.errors import MissingPart

DOCUMENTS: Final = "documents"
TREE: Final = "tree"


class UnpackedTool:
    """`Source` over an unpacked bootstrap file: an object is the file that has it.

    Nothing is believed here: every digest is checked by who reads. A file that no manifest names is a part of
    its own, so the bundle is refused with it.

    Raises: MalformedBundle, MissingPart: the documents that say what lies where.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._documents = Folder(folder / DOCUMENTS)
        self._tree = Folder(folder / TREE)
        self._places = _places(self._documents)

    @property
    def name(self) -> str:
        """The bootstrap file's."""
        return self._name

    def parts(self) -> Mapping[str, int]:
        """As `Source.parts`."""
        found = dict(self._documents.parts())
        known = {place: part for part, places in self._places.items() for place in places}
        for place, size in _files(self._tree.path):
            found[known.get(place, f"{TREE}/{place}")] = size
        return found

    def open(self, name: str) -> IO[bytes]:
        """As `Source.open`."""
        if layout.is_document(name):
            return self._documents.open(name)
        places = self._places.get(name)
        if not places:
            raise MissingPart(
                f"{self.name}: {name} is missing", next_step="copy the file to the medium again"
            )
        return self._tree.open(places[0])


def _places(documents: Folder) -> dict[str, list[str]]:
    """An object's part name -> the files below the tree that have its bytes."""
    places: dict[str, list[str]] = {}
    layers = decode_release(document(documents, layout.RELEASE)).layers
    for layer, ref in layers.items():
        data = document(documents, layout.manifest(ref.manifest))
        for path, entry in decode_manifest(data, f"manifest of {layer}").items():
            places.setdefault(layout.object_(entry.sha256), []).append(f"{layer}/{path}")
    return places


def _files(tree: Path) -> list[tuple[str, int]]:
    found = []
    with reading(str(tree)):
        for folder, _, names in os.walk(tree):
            for name in names:
                path = Path(folder) / name
                found.append((path.relative_to(tree).as_posix(), path.lstat().st_size))
    return found
