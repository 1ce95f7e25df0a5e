"""Bundles made by hand: any document can be bent before it is signed, any part after.

Nothing of `bundle.write` is used: what a writer of ours would never make is what is wanted here.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealift import canonical
from sealift.bundle import layout, tar
from sealift.seal.keyfile import SigningKey
from sealift.trust.keys import (
    APPROVAL_CONTEXT,
    RELEASE_CONTEXT,
    ROOT_CONTEXT,
    TRANSPORT_CONTEXT,
    merge_signatures,
    signatures_to_json,
)

Doc = dict[str, Any]
Parts = dict[str, bytes]

BOOT = b"""import json
print(json.dumps({"findings": [{"name": "stub", "ok": True, "detail": "fine"}], "golden_checked": True,
                  "latency_ms": {}, "memory_mb": 1.0}))
"""
FILES = {
    "runtime/boot.py": BOOT,
    "runtime/tool": b"#!/bin/sh\n",
    "dependencies/pkg/__init__.py": b"",
    "application/service.json": b'{"models": []}',
    "application/models/m/model.onnx": b"model weights of zeros and words " * 200,
    "application/models/m/one.bin": hashlib.shake_256(b"one").digest(3000),
    "application/models/m/two.bin": hashlib.shake_256(b"two").digest(3000),
}
"""`boot.py` answers the check as a release's own runtime would, so that what is fine can be installed."""

OLD_FILES = {name: data if name.startswith("runtime/") else b"old " + data for name, data in FILES.items()}
"""What the box runs that is attacked: release 5.0 has none of a new release's own files."""

MODEL = hashlib.sha256(FILES["application/models/m/model.onnx"]).hexdigest()
ONE_PATH = "application/models/m/one.bin"
ONE = hashlib.sha256(FILES[ONE_PATH]).hexdigest()
TWO = hashlib.sha256(FILES["application/models/m/two.bin"]).hexdigest()

TARGET: Doc = {
    "cpu": [],
    "cuda": None,
    "glibc": "2.17",
    "implementation": "cpython",
    "interpreter": "system",
    "kernel": None,
    "platform": f"linux-{platform.machine()}",
    "python": ".".join(platform.python_version_tuple()[:2]),
}


@cache
def key(name: str) -> SigningKey:
    """The same key for the same name, on every run."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def key_id(name: str) -> str:
    return key(name).public.key_id


def signed_by(names: Iterable[str], message: bytes) -> list[Doc]:
    """A signature list in its one order."""
    return signatures_to_json(merge_signatures((), (key(name).sign(message) for name in names)))


def root_part(version: int = 1, **changes: Any) -> Doc:
    """The signed part of the root of these tests: 2 of 3 root keys, 2 of 2 release keys for `fraud*`, 1 of 2 officers.

    `release` is name -> patterns; `roots`, `officers` and `revoked` are names.
    """
    facts: Doc = {
        "officer_threshold": 1,
        "officers": ("officer", "deputy"),
        "release": {"ada": ["fraud*"], "ben": ["fraud*"], "other": ["other*"]},
        "release_threshold": 2,
        "revoked": ("thief",),
        "root_threshold": 2,
        "roots": ("root1", "root2", "root3"),
        **changes,
    }
    names = [*facts["roots"], *facts["officers"], *facts["release"]]
    return {
        "format": "sealift-root/1",
        "keys": {key_id(name): key(name).public.to_json() for name in names},
        "officers": {"keys": sorted(map(key_id, facts["officers"])), "threshold": facts["officer_threshold"]},
        "release": {
            "keys": {key_id(name): patterns for name, patterns in facts["release"].items()},
            "threshold": facts["release_threshold"],
        },
        "revoked": sorted(map(key_id, facts["revoked"])),
        "root": {"keys": sorted(map(key_id, facts["roots"])), "threshold": facts["root_threshold"]},
        "version": version,
    }


def signed_root(part: Doc, by: Iterable[str] = ("root1", "root2")) -> bytes:
    """root.json."""
    message = ROOT_CONTEXT + canonical.encode(part)
    return canonical.encode({"signatures": signed_by(by, message), "signed": part})


ROOT = signed_root(root_part())


def _nothing(document: Doc) -> None:
    """Bends no document."""


@dataclass
class Forge:
    """One bundle: everything can be another than it should be.

    `bend_*` change a document before it is named by digest and signed; `coded` replaces the bytes of a
    canonical document (release.json, transport.json) before they are signed; `stored` gives an object
    other stored bytes and codec, named truthfully in transport.json. For a delta: its `bases`, object -> what
    its patch says it is made `of`, and the digests of objects and manifests that stay at home.
    """

    version: str = "7.0"
    seq: int = 7
    floor_seq: int = 0
    product: str = "fraud"
    files: Mapping[str, bytes] = field(default_factory=lambda: dict(FILES))
    target: Mapping[str, Any] = field(default_factory=dict)
    bend_release: Callable[[Doc], None] = _nothing
    bend_manifest: Callable[[Doc], None] = _nothing
    bend_transport: Callable[[Doc], None] = _nothing
    coded: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    stored: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    bases: Sequence[Doc] = ()
    of: Mapping[str, str] = field(default_factory=dict)
    at_home: Collection[str] = ()
    signers: tuple[str, ...] = ("ada", "ben")
    approvers: tuple[str, ...] = ("officer",)
    transport_signers: tuple[str, ...] = ("ada", "ben")
    contexts: tuple[bytes, bytes, bytes] = (RELEASE_CONTEXT, APPROVAL_CONTEXT, TRANSPORT_CONTEXT)
    roots: Mapping[int, bytes] = field(default_factory=lambda: {1: ROOT})

    def parts(self) -> Parts:
        """Name -> bytes, signed."""
        manifests = {layer: self._manifest(layer) for layer in ("runtime", "dependencies", "application")}
        raw = self._coded(layout.RELEASE, self._release(manifests))
        objects = self._objects()
        transport = self._transport(manifests, objects, canonical.digest(raw))
        raw_transport = self._coded(layout.TRANSPORT, transport)
        parts = {layout.RELEASE: raw, layout.TRANSPORT: raw_transport}
        parts |= {
            layout.manifest(digest_of(doc)): canonical.encode(doc)
            for doc in manifests.values()
            if digest_of(doc) not in self.at_home
        }
        parts |= {layout.object_(name): data for name, (_, data, _) in objects.items()}
        parts |= {layout.root(version): data for version, data in self.roots.items()}
        return parts | self._signatures(raw, raw_transport)

    def _manifest(self, layer: str) -> Doc:
        files = {
            name.removeprefix(f"{layer}/"): {
                "executable": name.endswith("tool"),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
            }
            for name, data in self.files.items()
            if name.startswith(f"{layer}/")
        }
        doc = {"files": files, "format": "sealift-manifest/1"}
        if layer == "application":
            self.bend_manifest(doc)
        return doc

    def _release(self, manifests: Mapping[str, Doc]) -> Doc:
        layers = {
            layer: {
                "files": len(doc["files"]),
                "manifest": digest_of(doc),
                "size": sum(entry["size"] for entry in doc["files"].values()),
            }
            for layer, doc in manifests.items()
        }
        doc = {
            "checks": {},
            "created": "2026-11-22T17:00:00Z",
            "floor_seq": self.floor_seq,
            "format": "sealift-release/1",
            "layers": layers,
            "min_sealift": "0",
            "product": self.product,
            "provenance": {},
            "seq": self.seq,
            "target": TARGET | dict(self.target),
            "total_size": sum(ref["size"] for ref in layers.values()),
            "version": self.version,
        }
        self.bend_release(doc)
        return doc

    def _objects(self) -> dict[str, tuple[str, bytes, int]]:
        """Digest -> codec, stored bytes, size."""
        found = {}
        for data in self.files.values():
            name = hashlib.sha256(data).hexdigest()
            if name in self.at_home:
                continue
            packed = zstandard.ZstdCompressor(level=3).compress(data)
            best = ("zstd", packed) if len(packed) < len(data) else ("raw", data)
            found[name] = (*self.stored.get(name, best), len(data))
        return found

    def _transport(
        self, manifests: Mapping[str, Doc], objects: Mapping[str, tuple[str, bytes, int]], identity: str
    ) -> Doc:
        travelling = {digest_of(manifest) for manifest in manifests.values()} - set(self.at_home)
        doc: Doc = {
            "format": "sealift-transport/2" if self.bases else "sealift-transport/1",
            "manifests": sorted(travelling),
            "objects": {
                name: {
                    "codec": codec,
                    "size": size,
                    "stored_sha256": hashlib.sha256(data).hexdigest(),
                    "stored_size": len(data),
                }
                for name, (codec, data, size) in objects.items()
            },
            "release": identity,
        }
        if self.bases:
            doc["bases"] = list(self.bases)
        for name, source in self.of.items():
            doc["objects"][name]["from"] = source
        self.bend_transport(doc)
        return doc

    def _coded(self, name: str, doc: Doc) -> bytes:
        return self.coded.get(name, bytes)(canonical.encode(doc))

    def _signatures(self, release: bytes, transport: bytes) -> Parts:
        parts = {}
        doc = {
            "approvals": signed_by(self.approvers, self.contexts[1] + release),
            "signatures": signed_by(self.signers, self.contexts[0] + release),
        }
        if any(doc.values()):
            parts[layout.RELEASE_SIGNATURES] = canonical.encode(doc)
        if self.transport_signers:
            found = signed_by(self.transport_signers, self.contexts[2] + transport)
            parts[layout.TRANSPORT_SIGNATURES] = canonical.encode({"signatures": found})
        return parts


def old_release() -> Forge:
    """What the box runs: sequence 5, floor 3."""
    return Forge(version="5.0", seq=5, floor_seq=3, files=OLD_FILES)


def old_box() -> dict[str, bytes]:
    """Digest -> bytes of every manifest and object that the box has."""
    manifests = [data for name, data in old_release().parts().items() if name.startswith("manifests/")]
    return {hashlib.sha256(data).hexdigest(): data for data in [*OLD_FILES.values(), *manifests]}


def old_base(**changes: Any) -> Doc:
    """How a delta names what the box runs."""
    identity = canonical.digest(old_release().parts()[layout.RELEASE])
    return {"identity": identity, "seq": 5, "version": "5.0", **changes}


def frame_of(data: bytes, old: bytes = b"", **parameters: Any) -> bytes:
    """A frame with `old` as its prefix."""
    raw = zstandard.ZstdCompressionDict(old, zstandard.DICT_TYPE_RAWCONTENT) if old else None
    return zstandard.ZstdCompressor(dict_data=raw, **({"level": 3} | parameters)).compress(data)


def patch_of(data: bytes, old: bytes, place: int = 0) -> bytes:
    """The stored bytes of a small object as a patch of another (clause 4.7)."""
    return place.to_bytes(8, "little") + frame_of(data, old)


def delta(patch: bytes | None = None, source: str | None = None, **changes: Any) -> Forge:
    """A delta from what the box runs: the runtime stays at home, ONE is a patch of its old form.

    Args:
        patch: other stored bytes of ONE. source: another object that they are said to be made of.
    """
    new, old = FILES[ONE_PATH], OLD_FILES[ONE_PATH]
    runtime = [data for name, data in FILES.items() if name.startswith("runtime/")]
    at_home = {hashlib.sha256(data).hexdigest() for data in runtime}
    at_home.add(next(digest for digest, data in old_box().items() if b'"boot.py"' in data))
    facts: Doc = {
        "stored": {ONE: ("zstd-prefix", patch_of(new, old) if patch is None else patch)},
        "of": {ONE: source or hashlib.sha256(old).hexdigest()},
        "bases": [old_base()],
        "at_home": at_home,
    }
    return Forge(**(facts | changes))


def digest_of(doc: Doc) -> str:
    return canonical.digest(canonical.encode(doc))


def write_folder(folder: Path, parts: Parts) -> Path:
    """The bundle as a folder."""
    for name, data in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_file(path: Path, parts: Parts, *, in_order: bool = True) -> Path:
    """The bundle as one file; names that no bundle has stand last."""
    path.write_bytes(container(parts, in_order=in_order))
    return path


def container(parts: Parts, *, in_order: bool = True) -> bytes:
    """The bytes of the file."""

    def place(item: tuple[str, bytes]) -> tuple[int, int, str]:
        return layout.rank(item[0]) or (99, 0, item[0])

    items = sorted(parts.items(), key=place) if in_order else parts.items()
    blocks = [tar.header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in items]
    return b"".join(blocks) + bytes(1024)
