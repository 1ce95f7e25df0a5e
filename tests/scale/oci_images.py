"""Tiny signed bundles that bring an interpreter, their images, and layouts to build on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.made_bundles import FILES, Signer, make_signer, write_tree

from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.write import Endorse
from sealift.cli.main import run
from sealift.events import Silent
from sealift.pack.pack import Parts, pack
from sealift.pack.sequence import Entry
from sealift.scale.oci.layer import ImageFile, Layer, write_layer
from sealift.scale.oci.layout import MANIFEST_TYPE, REF_NAME, json_bytes, new_layout
from sealift.scale.oci.machine import loaded_libc
from sealift.target.target import Target

PYTHON = "runtime/python/bin/python3.11"
TARGET = Target("linux-x86_64", "3.11", "2.28", interpreter="bundled")
BROUGHT = {
    **FILES,
    PYTHON: b"#!/bin/sh\n",
    "runtime/lib/a-name-of-more-than-a-hundred-bytes/" + "n" * 120 + ".py": b"x = 1\n",
}
BILL = b"""{"components": [
 {"name": "numpy", "version": "2.4", "licenses": [{"license": {"id": "BSD-3-Clause"}}]},
 {"name": "m", "type": "machine-learning-model", "licenses": [{"license": {"name": "our own terms"}}]}
]}"""


@dataclass(frozen=True)
class Bench:
    """A folder, who signs there, and the root that everybody trusts."""

    folder: Path
    signer: Signer

    @property
    def root(self) -> Path:
        """Where it lies."""
        return self.folder / "root.json"

    def bundle(
        self,
        version: str = "1.0",
        changes: Mapping[str, bytes | None] | None = None,
        *,
        target: Target = TARGET,
        olds: tuple[Path, ...] = (),
        signed: bool = True,
    ) -> Path:
        """A bundle of `BROUGHT` with changes; None leaves a file out."""
        seq = int(version.partition(".")[2]) + 1
        wanted = {**BROUGHT, **(changes or {})}
        files = {path: data for path, data in wanted.items() if data is not None}
        tree = write_tree(self.folder / f"tree-{version}", files)
        signer = self.signer
        return pack(
            Parts("fraud", version, tree, target.to_json(), {"goldens": True}, {}, lambda _: BILL),
            self.folder / f"bundle-{version}",
            Endorse(
                lambda message: (signer.release_key.sign(message),) if signed else (),
                (signer.signed,) if signed else (),
            ),
            lambda _: Entry(seq, "2026-11-22T17:00:00Z"),
            Silent(),
            [read_bundle(open_source(old)) for old in olds],
        ).path

    def export(self, bundle: Path, output: Path, *more: str) -> int:
        """`sealift export oci`; the exit code."""
        prefix = f"--prefix={self.folder / 'prefix'}"
        return run(
            ["export", "oci", str(bundle), "-o", str(output), "--trust", str(self.root), prefix, *more]
        )


def new_bench(folder: Path) -> Bench:
    """With keys of its own, and its root written."""
    bench = Bench(folder, make_signer())
    bench.root.write_bytes(bench.signer.signed.encode())
    return bench


@dataclass(frozen=True)
class Image:
    """An image in a layout folder, every digest of which was checked while it was read."""

    folder: Path
    descriptor: Mapping[str, Any]
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    model: Mapping[str, Any] | None

    @property
    def layers(self) -> list[str]:
        """Digests, the lowest first."""
        return [layer["digest"] for layer in self.manifest["layers"]]

    def members(self, index: int) -> dict[str, tarfile.TarInfo]:
        """What a layer's tar holds."""
        with self._tar(index) as tar:
            return {member.name: member for member in tar}

    def files(self) -> dict[str, tuple[bytes, tarfile.TarInfo]]:
        """Every file of the image; a layer hides those below it."""
        found = {}
        for index in range(len(self.layers)):
            with self._tar(index) as tar:
                for member in tar:
                    if member.isfile():
                        stream = tar.extractfile(member)
                        assert stream is not None
                        found[member.name] = (stream.read(), member)
        return found

    def _tar(self, index: int) -> tarfile.TarFile:
        layer = self.manifest["layers"][index]
        data = blob(self.folder, layer)
        plain = gzip.decompress(data) if layer["mediaType"].endswith("gzip") else data
        assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == self.config["rootfs"]["diff_ids"][index]
        return tarfile.open(fileobj=io.BytesIO(plain))


def blob(folder: Path, descriptor: Mapping[str, Any]) -> bytes:
    """The bytes that a descriptor names, its digest and size checked."""
    digest = str(descriptor["digest"]).removeprefix("sha256:")
    data = (folder / "blobs" / "sha256" / digest).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == descriptor["size"]
    return data


def read_image(folder: Path, name: str = "fraud:1.0") -> Image:
    """The image of that name."""
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_bytes())
    (entry,) = [each for each in index["manifests"] if each["annotations"][REF_NAME] == name]
    image, *model = json.loads(blob(folder, entry))["manifests"]
    manifest = json.loads(blob(folder, image))
    return Image(
        folder,
        image,
        manifest,
        json.loads(blob(folder, manifest["config"])),
        json.loads(blob(folder, model[0])) if model else None,
    )


def base_layout(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    architecture: str = "amd64",
    names: tuple[str, ...] = ("base:1",),
    compress: bool = True,
) -> Path:
    """An image to build on with these files, under each of `names`."""
    for name in names:
        with new_layout(folder) as layout:
            entries = [
                ImageFile(path, len(data), True, lambda sink, data=data: sink.write(data))  # type: ignore[misc]
                for path, data in files.items()
            ]
            layer: Layer = write_layer(layout, entries, "base", compress=compress)
            config = json_bytes(
                {
                    "architecture": architecture,
                    "os": "linux",
                    "rootfs": {"diff_ids": [layer.diff_id], "type": "layers"},
                }
            )
            config_type = "application/vnd.oci.image.config.v1+json"
            manifest = json_bytes(
                {
                    "config": layout.blob(lambda sink: sink.write(config)).as_(config_type),  # noqa: B023
                    "layers": [layer.descriptor],
                    "schemaVersion": 2,
                }
            )
            made = layout.blob(lambda sink: sink.write(manifest))  # noqa: B023
            layout.finish(name, made.as_(MANIFEST_TYPE, annotations={REF_NAME: name}))
    return folder


def own_libc() -> bytes:
    """The C library of this machine."""
    path = loaded_libc()
    assert path is not None
    return path.read_bytes()
