"""Tiny real bundles for tests: three layers of a few bytes each, really signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift.bundle.documents import LAYERS
from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.write import Endorse
from sealift.events import Silent
from sealift.pack.pack import Packed, Parts, pack
from sealift.pack.sequence import Entry
from sealift.seal import keyfile
from sealift.seal.keyfile import SigningKey
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, TRANSPORT_CONTEXT, merge_signatures
from sealift.trust.root import Root, SignedRoot
from sealift.trust.vouch import Endorsement

FILES = {
    "runtime/boot.py": b"print('boot')\n",
    "runtime/tool": b"#!/bin/sh\n",
    "dependencies/pkg/__init__.py": b"",
    "application/service.json": b'{"models": []}',
    "application/sbom.cdx.json": b"{}",
    "application/models/m/model.onnx": b"\x08\x07model",
}
TARGET = {"platform": "linux-x86_64", "python": "3.11"}


@dataclass(frozen=True)
class Signer:
    """A root key, a release key and the root that joins them."""

    root_key: SigningKey
    release_key: SigningKey
    signed: SignedRoot


def make_signer(patterns: tuple[str, ...] = ("*",)) -> Signer:
    """New keys; the release key may sign `patterns`."""
    root_key, release_key = keyfile.generate(), keyfile.generate()
    root = Root(
        version=1,
        keys={key.public.key_id: key.public for key in (root_key, release_key)},
        root_keys=(root_key.public.key_id,),
        root_threshold=1,
        release_keys={release_key.public.key_id: patterns},
        release_threshold=1,
    )
    return Signer(root_key, release_key, SignedRoot(root, (root_key.sign(root.message()),)))


def write_tree(tree: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write layer files; `runtime/tool` is executable."""
    for layer in LAYERS:
        (tree / layer).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if path.name == "tool" else 0o644)
    return tree


def make_bundle(
    folder: Path,
    signer: Signer | None,
    *,
    version: str = "1.0",
    seq: int = 1,
    files: Mapping[str, bytes] = FILES,
    product: str = "fraud",
    target: Mapping[str, Any] = TARGET,
    olds: Sequence[Path] = (),
) -> Packed:
    """Pack `files` as a bundle at `folder/bundle-VERSION`, signed unless `signer` is None; a delta from `olds`."""
    tree = write_tree(folder / f"tree-{version}-{seq}", files)
    roots = (signer.signed,) if signer else ()
    parts = Parts(product, version, tree, target, {"goldens": True}, {}, lambda created: b"{}")
    return pack(
        parts,
        folder / f"bundle-{version}-{seq}",
        Endorse(lambda message: (signer.release_key.sign(message),) if signer else (), roots),
        lambda content: Entry(seq, "2026-11-22T17:00:00Z"),
        Silent(),
        [read_bundle(open_source(old)) for old in olds],
    )


@dataclass(frozen=True)
class Authority:
    """Every private key of a root, by role, and the root that they make."""

    root_keys: tuple[SigningKey, ...]
    release_keys: tuple[SigningKey, ...]
    officers: tuple[SigningKey, ...]
    signed: SignedRoot

    @property
    def root(self) -> Root:
        """What the root keys signed."""
        return self.signed.root


def make_authority(
    root: tuple[int, int] = (1, 1),
    release: tuple[int, int] = (1, 1),
    officers: tuple[int, int] = (0, 0),
    patterns: tuple[str, ...] = ("*",),
) -> Authority:
    """New keys, each role given as (threshold, keys); every root key signed the root."""
    made = [tuple(keyfile.generate() for _ in range(count)) for _, count in (root, release, officers)]
    ids = [tuple(sorted(key.public.key_id for key in keys)) for keys in made]
    document = Root(
        version=1,
        keys={key.public.key_id: key.public for keys in made for key in keys},
        root_keys=ids[0],
        root_threshold=root[0],
        release_keys=dict.fromkeys(ids[1], tuple(sorted(patterns))),
        release_threshold=release[0],
        officers=ids[2],
        officer_threshold=officers[0],
    )
    return Authority(made[0], made[1], made[2], sign_root(document, made[0]))


def sign_root(root: Root, keys: Iterable[SigningKey]) -> SignedRoot:
    """The root with the signatures of `keys`, whoever they are."""
    return SignedRoot(root, merge_signatures((), [key.sign(root.message()) for key in keys]))


def endorse(
    release: bytes,
    transport: bytes,
    release_keys: Iterable[SigningKey] = (),
    officers: Iterable[SigningKey] = (),
) -> Endorsement:
    """What these keys sign over two documents; nobody checks that they may."""
    signers, approvers = list(release_keys), list(officers)
    return Endorsement(
        signatures=merge_signatures((), [key.sign(RELEASE_CONTEXT + release) for key in signers]),
        approvals=merge_signatures((), [key.sign(APPROVAL_CONTEXT + release) for key in approvers]),
        transport_signatures=merge_signatures(
            (), [key.sign(TRANSPORT_CONTEXT + transport) for key in signers]
        ),
    )


def tree_hash(folder: Path, *, but_the_log: bool = False) -> str:
    """A digest of every path, link target, mode and byte below `folder`: equal means unchanged.

    `but_the_log`: leaves out `ledger.*`, where refused attempts are recorded, and locks, which name who held them.
    """
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if but_the_log and path.name.startswith(("ledger.", ".ledger.", "lock")):
            continue
        hasher.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_symlink():
            hasher.update(str(path.readlink()).encode())
        elif path.is_file() and path.name != "reserve":  # 64 MiB of nothing
            hasher.update(oct(path.stat().st_mode).encode() + path.read_bytes())
    return hasher.hexdigest()
