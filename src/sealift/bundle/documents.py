"""release.json, the layer manifests and transport.json as values (docs/reference/bundle-format.md, 2-4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.errors import MalformedBundle

RELEASE_FORMAT: Final = "sealift-release/1"
MANIFEST_FORMAT: Final = "sealift-manifest/1"
TRANSPORT_FORMAT: Final = "sealift-transport/1"
LAYERS: Final = ("runtime", "dependencies", "application")

MAX_FILES: Final = 200_000
MAX_OBJECT_BYTES: Final = 16 * 10**9
MAX_PATH_BYTES: Final = 1024
MAX_NAME_BYTES: Final = 200
MAX_PATH_DEPTH: Final = 32

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FORBIDDEN_IN_PATHS = re.compile(r'[\x00-\x1f\x7f\\<>:"|?*]')


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
    _exactly(doc, keys, what)
    _format(doc, RELEASE_FORMAT, what)
    layers_doc = _object(doc["layers"], "layers", what)
    _exactly(layers_doc, set(LAYERS), f"{what} layers")
    release = Release(
        product=_text(doc["product"], _NAME, "product", what),
        version=_text(doc["version"], _VERSION, "version", what),
        seq=_count(doc["seq"], "seq", what),
        floor_seq=_count(doc["floor_seq"], "floor_seq", what),
        min_sealift=_text(doc["min_sealift"], _VERSION, "min_sealift", what),
        created=_text(doc["created"], _CREATED, "created", what),
        target=_object(doc["target"], "target", what),
        layers={name: _layer(layers_doc[name], name) for name in LAYERS},
        checks=_object(doc["checks"], "checks", what),
        provenance=_object(doc["provenance"], "provenance", what),
        total_size=_count(doc["total_size"], "total_size", what),
    )
    if release.total_size != sum(ref.size for ref in release.layers.values()):
        raise MalformedBundle(f"{what}: total_size is not the sum of its layers")
    return release


def _layer(value: object, name: str) -> LayerRef:
    what = f"release.json layers.{name}"
    doc = _object(value, name, "release.json")
    _exactly(doc, {"manifest", "files", "size"}, what)
    files = _count(doc["files"], "files", what)
    if files > MAX_FILES:
        raise MalformedBundle(f"{what}: {files} files, at most {MAX_FILES} are permitted")
    return LayerRef(
        _text(doc["manifest"], _DIGEST, "manifest", what), files, _count(doc["size"], "size", what)
    )


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
    _exactly(doc, {"files", "format"}, what)
    _format(doc, MANIFEST_FORMAT, what)
    entries = _object(doc["files"], "files", what)
    if len(entries) > MAX_FILES:
        raise MalformedBundle(f"{what}: {len(entries)} files, at most {MAX_FILES} are permitted")
    files = {path: _entry(path, value, what) for path, value in entries.items()}
    _refuse_collisions(files, what)
    return files


def _entry(path: str, value: object, what: str) -> FileEntry:
    problem = path_problem(path)
    if problem:
        raise MalformedBundle(f"{what}: path {path!r} {problem}")
    doc = _object(value, path, what)
    _exactly(doc, {"sha256", "size", "executable"}, f"{what} {path}")
    if not isinstance(doc["executable"], bool):
        raise MalformedBundle(f"{what} {path}: executable is not true or false")
    size = _count(doc["size"], "size", f"{what} {path}")
    if size > MAX_OBJECT_BYTES:
        raise MalformedBundle(f"{what} {path}: {size} bytes, at most {MAX_OBJECT_BYTES} are permitted")
    return FileEntry(_text(doc["sha256"], _DIGEST, "sha256", f"{what} {path}"), size, doc["executable"])


def path_problem(path: str) -> str | None:
    """Why a path may not stand in a manifest, or None (clause 3.2)."""
    parts = path.split("/")
    if not path or path.startswith("/"):
        return "is not relative"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' component"
    if _FORBIDDEN_IN_PATHS.search(path):
        return 'has a control character, a backslash or one of <>:"|?*'
    if len(path.encode()) > MAX_PATH_BYTES or len(parts) > MAX_PATH_DEPTH:
        return f"is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_PATH_DEPTH}"
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        return f"has a component longer than {MAX_NAME_BYTES} bytes"
    if any(part[-1] in ". " for part in parts):
        return "has a component that ends with a dot or a space"
    return None


def _refuse_collisions(files: Mapping[str, FileEntry], what: str) -> None:
    """Two names that some file system takes for one, folders included (clause 3.3)."""
    seen: dict[str, str] = {}
    for path in files:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            known = seen.setdefault(_folded(name), name)
            if known != name:
                raise MalformedBundle(f"{what}: {name!r} and {known!r} are one name on some file systems")
            if depth < len(parts) and name in files:
                raise MalformedBundle(f"{what}: {name!r} is a file and a folder")


def _folded(name: str) -> str:
    # Case folding can undo a normal form, hence twice (Unicode 3.13, D145).
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def encode_transport(identity: str, objects: Mapping[str, int]) -> bytes:
    """transport.json (clause 4): which objects travel, each `sha256 -> size`, all `raw` in this form."""
    listed = {
        sha256: {"codec": "raw", "size": size, "stored_sha256": sha256, "stored_size": size}
        for sha256, size in objects.items()
    }
    return canonical.encode({"format": TRANSPORT_FORMAT, "objects": listed, "release": identity})


def decode_transport(data: bytes) -> tuple[str, dict[str, int]]:
    """Read transport.json: (identity of the release it carries, `sha256 -> size`)."""
    what = "transport.json"
    doc = canonical.decode(data, what)
    _exactly(doc, {"format", "objects", "release"}, what)
    _format(doc, TRANSPORT_FORMAT, what)
    objects: dict[str, int] = {}
    for sha256, value in _object(doc["objects"], "objects", what).items():
        _text(sha256, _DIGEST, "object name", what)
        entry = _object(value, sha256, what)
        _exactly(entry, {"codec", "size", "stored_sha256", "stored_size"}, f"{what} {sha256}")
        size = _count(entry["size"], "size", what)
        if (entry["codec"], entry["stored_sha256"], entry["stored_size"]) != ("raw", sha256, size):
            raise MalformedBundle(
                f"{what} {sha256}: expected codec raw with the object's own digest and size"
            )
        objects[sha256] = size
    return _text(doc["release"], _DIGEST, "release", what), objects


def _exactly(doc: Mapping[str, Any], keys: set[str], what: str) -> None:
    if set(doc) != keys:
        missing, extra = sorted(keys - set(doc)), sorted(set(doc) - keys)
        raise MalformedBundle(f"{what}: missing keys {missing}, unknown keys {extra}")


def _format(doc: Mapping[str, Any], expected: str, what: str) -> None:
    if doc["format"] != expected:
        raise MalformedBundle(
            f"{what}: expected format {expected}, found {doc['format']!r}",
            next_step="use a sealift that reads this format",
        )


def _object(value: object, key: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedBundle(f"{what}: {key} is not an object")
    return value


def _text(value: object, pattern: re.Pattern[str], key: str, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedBundle(f"{what}: {key} is {value!r}, expected the form {pattern.pattern}")
    return value


def _count(value: object, key: str, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedBundle(f"{what}: {key} is {value!r}, expected a count")
    return value
