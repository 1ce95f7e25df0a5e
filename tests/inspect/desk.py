"""Bundles as an officer gets them: real documents in every layer, keys that are the same in every run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.made_bundles import write_tree

from sealift.bundle import layout
from sealift.bundle.documents import LAYERS, Release
from sealift.bundle.read import UnverifiedBundle, read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.transport import decode_transport
from sealift.bundle.write import Endorse, hash_layer, rewrite, rewrite_signatures, write_bundle
from sealift.events import Silent
from sealift.seal.keyfile import SigningKey
from sealift.trust.keys import APPROVAL_CONTEXT, RELEASE_CONTEXT, TRANSPORT_CONTEXT
from sealift.trust.root import Root, SignedRoot

CREATED = "2026-11-22T17:00:00Z"
CREATED_S = 1_795_366_800.0


def key(name: str) -> SigningKey:
    """The key of that name: always the same one."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest()))


@dataclass(frozen=True)
class House:
    """One root key, release keys and officers, and the root that joins them."""

    root_key: SigningKey
    release: tuple[SigningKey, ...]
    officers: tuple[SigningKey, ...]
    signed: SignedRoot


def house(
    *,
    releases: int = 1,
    officers: int = 0,
    officer_threshold: int = 0,
    patterns: tuple[str, ...] = ("*",),
    name: str = "house",
) -> House:
    """A house of keys; every release key is asked for."""
    root_key = key(f"{name} root")
    release = tuple(key(f"{name} release {n}") for n in range(releases))
    approving = tuple(key(f"{name} officer {n}") for n in range(officers))
    root = Root(
        version=1,
        keys={item.public.key_id: item.public for item in (root_key, *release, *approving)},
        root_keys=(root_key.public.key_id,),
        root_threshold=1,
        release_keys={item.public.key_id: patterns for item in release},
        release_threshold=releases,
        officers=tuple(sorted(item.public.key_id for item in approving)),
        officer_threshold=officer_threshold,
    )
    return House(root_key, release, approving, SignedRoot(root, (root_key.sign(root.message()),)))


def tensor(name: str, datatype: str, shape: list[Any] | None) -> dict[str, Any]:
    return {"datatype": datatype, "labels": [], "name": name, "shape": shape, "words": []}


def service_json() -> dict[str, Any]:
    """Two models: a photo with labels, and a table with a handler and external data."""
    return {
        "format": 1,
        "models": [
            {
                "device": ["cpu"],
                "handler": None,
                "input": {
                    "channels": "RGB", "interpolation": "bicubic", "kind": "image", "layout": "NCHW",
                    "mean": [127.0], "resize": 256, "size": [224, 224], "std": [128.0],
                },
                "name": "parts",
                "output": {"activation": None, "kind": "classes", "labels": ["bolt", "nut"], "name": None, "top": 2},
                "path": "models/parts/model.onnx",
                "signature": {
                    "batch_axis": "batch",
                    "inputs": [tensor("input", "FP32", ["batch", 3, 224, 224])],
                    "outputs": [tensor("logits", "FP32", ["batch", 2])],
                    "probabilities": [],
                },
            },
            {
                "device": ["cuda", "cpu"],
                "handler": "handlers/risk/handler.py",
                "input": {
                    "columns": [
                        {"kind": "numeric", "mean": 0.0, "missing": None, "name": "amount", "std": 1.0},
                        {"kind": "categorical", "encoding": "index", "name": "country", "vocabulary": ["DE", "FR"]},
                    ],
                    "kind": "tabular",
                },
                "name": "risk",
                "output": {"kind": "scores", "positive": "fraud", "threshold": 0.83},
                "path": "models/risk/model.onnx",
                "signature": {
                    "batch_axis": None,
                    "inputs": [tensor("x", "FP32", [1, 2])],
                    "outputs": [tensor("score", "FP32", None)],
                    "probabilities": ["score"],
                },
            },
        ],
    }  # fmt: skip


def component(name: str, version: str, licence: str | None, layer: str, **more: Any) -> dict[str, Any]:
    """A CycloneDX component; `licence` an SPDX id, None where none is stated."""
    licences = [] if licence is None else [{"license": {"acknowledgement": "declared", "id": licence}}]
    return {
        "hashes": [{"alg": "SHA-256", "content": sha256(f"{name!a} {version!a}".encode()).hexdigest()}],
        "licenses": licences,
        "name": name,
        "properties": [{"name": "sealift:layer", "value": layer}],
        "type": "library",
        "version": version,
        **more,
    }


def bill() -> dict[str, Any]:
    """A bill of materials with every way to state a licence."""
    return {
        "bomFormat": "CycloneDX",
        "components": [
            component("numpy", "2.4.6", "BSD-3-Clause", "runtime"),
            component(
                "cryptography", "50.0.2", None, "runtime",
                licenses=[{"acknowledgement": "declared", "expression": "Apache-2.0 OR BSD-3-Clause"}],
            ),
            component("oldthing", "0.3", None, "dependencies", licenses=[{"license": {"name": "see LICENCE.txt"}}]),
            component("unstated", "1", None, "dependencies"),
            component("parts", "sha256:...", "Apache-2.0", "application", type="machine-learning-model"),
        ],
        "specVersion": "1.6",
    }  # fmt: skip


def golden(model: str, *names: str, reason: str = "", batch_reason: str = "") -> bytes:
    """A golden set with inputs of those names and no tensors."""
    goldens: list[dict[str, Any]] = [
        {"inputs": [], "name": name, "outputs": [], "payload": None} for name in names
    ]
    return json.dumps(
        {"batch_reason": batch_reason, "goldens": goldens, "model": model, "reason": reason}
    ).encode()


def release_files(
    *, service: Mapping[str, Any] | None = None, sbom: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """The files of a whole small release, by `layer/path`."""
    return {
        "runtime/boot.py": b"print('boot')\n",
        "runtime/tool": b"#!/bin/sh\n",
        "dependencies/oldthing/__init__.py": b"",
        "dependencies/oldthing/data with space.txt": b"old\n" * 100,
        "application/service.json": json.dumps(service_json() if service is None else service).encode(),
        "application/sbom.cdx.json": json.dumps(bill() if sbom is None else sbom).encode(),
        "application/models/parts/model.onnx": b"\x08\x07" + b"parts",
        "application/models/risk/model.onnx": b"\x08\x07" + b"risk",
        "application/models/risk/weights.bin": bytes(range(256)),
        "application/handlers/risk/handler.py": b"def preprocess(body): ...\n",
        "application/goldens/parts.json": golden("parts", "bolt.png", "nut.png"),
        "application/goldens/risk.json": golden(
            "risk", reason="not deterministic", batch_reason="rows differ"
        ),
    }


CHECKS = {
    "gates": {"licences": "passed, 5 packages", "max_bundle_mb": "none declared"},
    "golden_checked": False,
    "golden_notes": ["model risk is not golden-checked: not deterministic"],
}
TARGET = {
    "cpu": ["avx2"], "cuda": None, "glibc": "2.31", "implementation": "cpython", "interpreter": "system",
    "kernel": None, "platform": "linux-x86_64", "python": "3.11",
}  # fmt: skip


def a_release(**changes: Any) -> Release:
    """release.json as the packer would fill it; layers and sizes come from `pack_release`."""
    plain = Release(
        product="fraud",
        version="1.0",
        seq=1,
        floor_seq=0,
        min_sealift="0.1.0",
        created=CREATED,
        target=TARGET,
        layers={},
        checks=CHECKS,
        provenance={"packer": "sealift 0.1.0", "python": "3.11.7"},
        total_size=0,
    )
    return replace(plain, **changes)


def pack_release(
    place: Path,
    signers: House | None,
    *,
    files: Mapping[str, bytes] | None = None,
    release: Release | None = None,
    approved_by: int = 0,
) -> Path:
    """Write a bundle at `place` (a file if it ends in .sealift), signed by every release key of the house."""
    tree = write_tree(place.with_name(f"tree-{place.name}"), release_files() if files is None else files)
    layers = {name: hash_layer(tree / name, Silent()) for name in LAYERS}
    refs = {name: layer.ref for name, layer in layers.items()}
    whole = replace(release or a_release(), layers=refs, total_size=sum(ref.size for ref in refs.values()))
    roots = (signers.signed,) if signers is not None else ()
    write_bundle(place, whole, layers, Endorse(lambda message: (), roots), Silent())
    if signers is not None:
        sign(place, signers, approved_by=approved_by)
    return place


def sign(place: Path, signers: House, *, approved_by: int = 0, releases: int | None = None) -> None:
    """Sign what lies there anew: by every release key (or the first few), and by so many officers."""
    bundle = opened(place)
    release = bundle.release.encode()
    keys = signers.release[:releases]
    rewrite_signatures(
        place,
        tuple(item.sign(RELEASE_CONTEXT + release) for item in keys),
        tuple(item.sign(APPROVAL_CONTEXT + release) for item in signers.officers[:approved_by]),
        tuple(item.sign(TRANSPORT_CONTEXT + bundle.transport) for item in keys),
        (signers.signed,),
    )


def leave_out(place: Path, older: Path, signers: House) -> None:
    """Make the bundle a small one: what the older one carries does not travel again."""
    has = decode_transport(opened(older).transport)
    transport = decode_transport(opened(place).transport)
    less = replace(
        transport,
        manifests=tuple(digest for digest in transport.manifests if digest not in has.manifests),
        objects={name: stored for name, stored in transport.objects.items() if name not in has.objects},
    )
    gone = [layout.manifest(digest) for digest in transport.manifests if digest in has.manifests]
    gone += [layout.object_(name) for name in transport.objects if name in has.objects]
    data = less.encode()
    rewrite(place, {layout.TRANSPORT: data}, drop=[*gone, layout.TRANSPORT_SIGNATURES])
    # The signature is over the new document, which cannot be read before its manifests are known.
    rewrite(
        place,
        {layout.TRANSPORT_SIGNATURES: _transport_signatures(data, signers)},
    )


def _transport_signatures(data: bytes, signers: House) -> bytes:
    from sealift import canonical
    from sealift.trust.keys import signatures_to_json

    made = [item.sign(TRANSPORT_CONTEXT + data) for item in signers.release]
    return canonical.encode({"signatures": signatures_to_json(made)})


def opened(place: Path) -> UnverifiedBundle:
    """Read a whole bundle back."""
    return read_bundle(open_source(place))
