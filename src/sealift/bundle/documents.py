"""release.json and the layer manifests as values (docs/reference/bundle-format.md, clauses 2 and 3)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sealift import canonical
from sealift.bundle.fields import DIGEST, an_object, count, exactly, of_format, text
from sealift.errors import MalformedBundle

RELEASE_FORMAT: Final = "sealift-release/1"
MANIFEST_FORMAT: Final = "sealift-manifest/1"
LAYERS: Final = ("runtime", "dependencies", "application")

MAX_FILES: Final = 200_000
MAX_OBJECT_BYTES: Final = 2**33 - 1
MAX_PATH_BYTES: Final = 1024
MAX_NAME_BYTES: Final = 200
MAX_PATH_DEPTH: Final = 32

_Level: TypeAlias = dict[str, "tuple[str, _Level | None]"]
"""Folded name -> the name as it stands there, and what is below it (None: a file)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FORBIDDEN_IN_PATHS = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\\<>:"|?*]')
_DEVICE_NAME = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a layer: 64 hex digits, bytes, and whether its mode is 0555 instead of 0444."""

    sha256: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer as release.json names it: the digest of its manifest, its file count and bytes."""

    manifest: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """What a bundle is, however it travels. The digest of its bytes is the release's identity.

    `target`, `checks` and `provenance` are plain JSON objects: their rooms read them.
    """

    product: str
    version: str
    seq: int
    floor_seq: int
    min_sealift: str
    created: str
    target: Mapping[str, Any]
    layers: Mapping[str, LayerRef]
    checks: Mapping[str, Any]
    provenance: Mapping[str, Any]
    total_size: int

    def encode(self) -> bytes:
        """The canonical bytes of release.json."""
        layers = {
            name: {"files": ref.files, "manifest": ref.manifest, "size": ref.size}
            for name, ref in self.layers.items()
        }
        return canonical.encode(
            {
                "checks": self.checks,
                "created": self.created,
                "floor_seq": self.floor_seq,
                "format": RELEASE_FORMAT,
                "layers": layers,
                "min_sealift": self.min_sealift,
                "product": self.product,
                "provenance": self.provenance,
                "seq": self.seq,
                "target": self.target,
                "total_size": self.total_size,
                "version": self.version,
            }
        )

    @property
    def identity(self) -> str:
        """SHA-256 of release.json, 64 hex digits."""
        return canonical.digest(self.encode())


def decode_release(data: bytes) -> Release:
    """Read release.json (clause 2). Raises: MalformedBundle: anything but its one permitted form."""
    what = "release.json"
    doc = canonical.decode(data, what)
    keys = {*Release.__dataclass_fields__, "format"}
    exactly(doc, keys, what)
    of_format(doc, RELEASE_FORMAT, what)
    layers_doc = an_object(doc["layers"], "layers", what)
    exactly(layers_doc, set(LAYERS), f"{what} layers")
    release = Release(
        product=text(doc["product"], _NAME, "product", what),
        version=text(doc["version"], VERSION, "version", what),
        seq=count(doc["seq"], "seq", what),
        floor_seq=count(doc["floor_seq"], "floor_seq", what),
        min_sealift=text(doc["min_sealift"], VERSION, "min_sealift", what),
        created=text(doc["created"], _CREATED, "created", what),
        target=an_object(doc["target"], "target", what),
        layers={name: _layer(layers_doc[name], name) for name in LAYERS},
        checks=an_object(doc["checks"], "checks", what),
        provenance=an_object(doc["provenance"], "provenance", what),
        total_size=count(doc["total_size"], "total_size", what),
    )
    if release.total_size != sum(ref.size for ref in release.layers.values()):
        raise MalformedBundle(f"{what}: total_size is not the sum of its layers")
    if release.floor_seq > release.seq:  # it would shut itself out, and whatever comes next
        raise MalformedBundle(f"{what}: floor_seq {release.floor_seq} is above its own seq {release.seq}")
    return release


def _layer(value: object, name: str) -> LayerRef:
    what = f"release.json layers.{name}"
    doc = an_object(value, name, "release.json")
    exactly(doc, {"manifest", "files", "size"}, what)
    files = count(doc["files"], "files", what, MAX_FILES)
    return LayerRef(text(doc["manifest"], DIGEST, "manifest", what), files, count(doc["size"], "size", what))


def encode_manifest(files: Mapping[str, FileEntry]) -> bytes:
    """The canonical bytes of one layer's manifest."""
    entries = {
        path: {"executable": entry.executable, "sha256": entry.sha256, "size": entry.size}
        for path, entry in files.items()
    }
    return canonical.encode({"files": entries, "format": MANIFEST_FORMAT})


def decode_manifest(data: bytes, what: str) -> dict[str, FileEntry]:
    """Read a layer manifest (clause 3): relative POSIX path -> entry.

    Raises: MalformedBundle: a path that could leave the layer, collide or not exist on some file
        system; a size above the caps; a file that is also a directory.
    """
    doc = canonical.decode(data, what)
    exactly(doc, {"files", "format"}, what)
    of_format(doc, MANIFEST_FORMAT, what)
    entries = an_object(doc["files"], "files", what)
    if len(entries) > MAX_FILES:
        raise MalformedBundle(f"{what}: {len(entries)} files, at most {MAX_FILES} are permitted")
    files = {path: _entry(path, value, what) for path, value in entries.items()}
    _refuse_collisions(files, what)
    return files


def _entry(path: str, value: object, what: str) -> FileEntry:
    problem = path_problem(path)
    if problem:
        raise MalformedBundle(f"{what}: path {path!r} {problem}")
    doc = an_object(value, path, what)
    exactly(doc, {"sha256", "size", "executable"}, f"{what} {path}")
    if not isinstance(doc["executable"], bool):
        raise MalformedBundle(f"{what} {path}: executable is not true or false")
    size = count(doc["size"], "size", f"{what} {path}", MAX_OBJECT_BYTES)
    return FileEntry(text(doc["sha256"], DIGEST, "sha256", f"{what} {path}"), size, doc["executable"])


def path_problem(path: str) -> str | None:
    """Why a path may not stand in a manifest, or None (clause 3.2)."""
    parts = path.split("/")
    if not path or path.startswith("/"):
        return "is not relative"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' component"
    if _FORBIDDEN_IN_PATHS.search(path):
        return (
            'has a control character (one that turns the text around is one), a backslash or one of <>:"|?*'
        )
    if len(path.encode()) > MAX_PATH_BYTES or len(parts) > MAX_PATH_DEPTH:
        return f"is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_PATH_DEPTH}"
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        return f"has a component longer than {MAX_NAME_BYTES} bytes"
    if any(part[-1] in ". " for part in parts):
        return "has a component that ends with a dot or a space"
    if any(_DEVICE_NAME.fullmatch(part) for part in parts):
        return "has a component that is a device on Windows, where an officer may look at it"
    return None


def _refuse_collisions(files: Mapping[str, FileEntry], what: str) -> None:
    """Two names that some file system takes for one, folders included (clause 3.3).

    Names are kept as a tree: its size is bounded by the number of files and folders, not by their paths.
    """
    top: _Level = {}
    folders = 0
    for path in files:
        level, parts = top, path.split("/")
        for depth, part in enumerate(parts, 1):
            is_file = depth == len(parts)
            known = level.get(folded := _folded(part))
            if known is None:
                known = level[folded] = (part, None if is_file else {})
                folders += not is_file
            name, below = known
            here = "/".join(parts[:depth])
            if name != part:
                raise MalformedBundle(f"{what}: {here!r} and {name!r} are one name on some file systems")
            if is_file != (below is None):
                raise MalformedBundle(f"{what}: {here!r} is a file and a folder")
            if below is not None:
                level = below
        if folders > MAX_FILES:
            raise MalformedBundle(f"{what}: more than {MAX_FILES} folders")


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    # Case folding can undo a normal form, hence twice (Unicode 3.13, D145).
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
