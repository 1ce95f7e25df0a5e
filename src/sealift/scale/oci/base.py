"""An OCI layout that the user has -> layers to build on, and what is in them.

Source: OCI image-spec 1.1 (image-layout.md, manifest.md, config.md, layer.md for whiteouts). The layers are
taken as they are, every digest checked; of the configuration only `rootfs` counts.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from sealift.errors import DigestMismatch, MalformedBundle, MissingPart, SealiftError, UsageError
from sealift.scale.oci.layer import GZIP_TYPE, PLAIN_TYPE
from sealift.scale.oci.layout import BLOBS, INDEX, INDEX_TYPE, MANIFEST_TYPE, MARK, REF_NAME, Descriptor
from sealift.scale.oci.machine import glibc_of
from sealift.target.elf import read_elf

ZSTD_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
_DOCKER: Final = {"application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP_TYPE}
_MODES: Final = {GZIP_TYPE: "r|gz", PLAIN_TYPE: "r|"}
_MANIFESTS: Final = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES: Final = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
_MOST_DOCUMENT_BYTES: Final = 4 << 20
_MOST_LIBC_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Base:
    """An image to build on. `paths` are its files and links, without a slash at the start; `glibc` is `2.36`,
    None where there is none of `machine`'s in it."""

    name: str
    digest: str
    layers: tuple[tuple[Descriptor, str], ...]
    paths: frozenset[str]
    glibc: str | None
    folder: Path

    def blob(self, descriptor: Descriptor) -> Path:
        """The file of one of its layers."""
        return _path(self.folder, descriptor)


def read_base(folder: Path, architecture: str, machine: str) -> Base:
    """Read the one image of that architecture (`amd64`), every layer of it.

    Raises: UsageError: no layout, not one image, another architecture, or layers nobody here can read.
        MissingPart, DigestMismatch, MalformedBundle: a damaged layout.
    """
    if not (folder / MARK).is_file():
        raise UsageError(
            f"--base {folder}: expected an OCI layout, a folder with {MARK} in it",
            next_step="skopeo copy SOURCE oci:FOLDER:TAG writes one",
        )
    try:
        return _read(folder, architecture, machine)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedBundle(f"--base {folder}: a document that is none of an image: {error!r}") from error
    except OSError as error:
        raise UsageError(f"--base {error.filename or folder}: {error.strerror}") from error


def _read(folder: Path, architecture: str, machine: str) -> Base:
    name, descriptor, manifest = _image(folder, architecture)
    config = _document(folder, manifest["config"])
    found = (config.get("os"), config.get("architecture"))
    if found != ("linux", architecture):
        raise UsageError(
            f"--base {folder}: expected an image for linux/{architecture}, found {'/'.join(map(str, found))}"
        )
    diff_ids = config["rootfs"]["diff_ids"]
    if len(diff_ids) != len(manifest["layers"]):
        raise MalformedBundle(
            f"{folder}: {len(manifest['layers'])} layers, but {len(diff_ids)} digests of them"
        )
    layers = tuple(
        ({"mediaType": _type(folder, each), "digest": each["digest"], "size": each["size"]}, diff_id)
        for each, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    )
    seen = _Seen(machine)
    for each, diff_id in layers:
        seen.add(_path(folder, each), each, diff_id)
    return Base(name, descriptor["digest"], layers, frozenset(seen.paths), seen.glibc, folder)


def _image(folder: Path, architecture: str) -> tuple[str, Descriptor, Mapping[str, Any]]:
    """(name, descriptor, manifest) of the only image; within an index the one of that architecture."""
    listed = json.loads((folder / INDEX).read_bytes())["manifests"]
    if len(listed) != 1:
        names = [str(each.get("annotations", {}).get(REF_NAME, each["digest"])) for each in listed]
        raise UsageError(
            f"--base {folder}: expected one image in it, found {len(listed)}",
            problems=names,
            next_step=f"copy one out: skopeo copy oci:{folder}:NAME oci:base:NAME",
        )
    name = str(listed[0].get("annotations", {}).get(REF_NAME, ""))
    descriptor = listed[0]
    while descriptor["mediaType"] in _INDEXES:
        inner = [
            each
            for each in _document(folder, descriptor)["manifests"]
            if each.get("platform", {}).get("architecture") == architecture
        ]
        if len(inner) != 1:
            raise UsageError(
                f"--base {folder}: expected one image for {architecture} in it, found {len(inner)}"
            )
        descriptor = inner[0]
    if descriptor["mediaType"] not in _MANIFESTS:
        raise UsageError(f"--base {folder}: {descriptor['mediaType']} is no image")
    return name, descriptor, _document(folder, descriptor)


def _document(folder: Path, descriptor: Descriptor) -> Any:
    path = _path(folder, descriptor)
    if path.stat().st_size > _MOST_DOCUMENT_BYTES:
        raise MalformedBundle(f"{path}: more than {_MOST_DOCUMENT_BYTES} bytes")
    data = path.read_bytes()
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != descriptor["digest"]:
        raise DigestMismatch(f"{path}: its bytes are not those of its name")
    return json.loads(data)


def _path(folder: Path, descriptor: Descriptor) -> Path:
    kind, _, digits = str(descriptor["digest"]).partition(":")
    if kind != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise MalformedBundle(f"{folder}: expected a sha256 digest, found {descriptor['digest']!r}")
    path = folder / BLOBS / digits
    if not path.is_file():
        raise MissingPart(
            f"{folder}: the blob {descriptor['digest']} is missing", next_step="copy the layout again"
        )
    return path


def _type(folder: Path, descriptor: Descriptor) -> str:
    given = str(descriptor["mediaType"])
    kind = _DOCKER.get(given, given)
    if kind not in (*_MODES, ZSTD_TYPE):
        raise UsageError(f"--base {folder}: a layer of type {given}, which nobody here reads")
    return kind


@dataclass(slots=True)
class _Seen:
    """What the layers put on top of each other amount to."""

    machine: str
    paths: set[str] = field(default_factory=set)
    glibc: str | None = None

    def add(self, path: Path, descriptor: Descriptor, diff_id: str) -> None:
        """One more layer; its stored and its plain bytes are checked."""
        stored = hashlib.sha256()
        plain = hashlib.sha256()
        try:
            with path.open("rb") as stream, _plain(stream, stored, descriptor["mediaType"]) as bytes_of_tar:
                hashed = _Hashed(bytes_of_tar, plain)
                with tarfile.open(fileobj=hashed, mode="r|") as tar:  # type: ignore[call-overload]
                    for member in tar:
                        self._note(tar, member)
                hashed.drain()
        except (OSError, EOFError, tarfile.TarError, zstandard.ZstdError) as error:
            raise MalformedBundle(f"{path}: no readable layer: {error}") from error
        if f"sha256:{stored.hexdigest()}" != descriptor["digest"] or f"sha256:{plain.hexdigest()}" != diff_id:
            raise DigestMismatch(f"{path}: its bytes are not those that the image names")

    def _note(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member.name.removeprefix("./").strip("/")
        folder, _, last = name.rpartition("/")
        if last == ".wh..wh..opq":
            self.paths = {path for path in self.paths if not path.startswith(f"{folder}/")}
        elif last.startswith(".wh."):
            gone = f"{folder}/{last[4:]}".lstrip("/")
            self.paths = {path for path in self.paths if path != gone and not path.startswith(f"{gone}/")}
        elif not member.isdir():
            self.paths.add(name)
        if member.isfile() and (last == "libc.so.6" or (last.startswith("libc-2.") and last.endswith(".so"))):
            self._note_libc(tar, member)

    def _note_libc(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.size > _MOST_LIBC_BYTES:
            return
        stream = tar.extractfile(member)
        with tempfile.NamedTemporaryFile(prefix="sealift-libc-") as copy:
            copy.write(stream.read() if stream is not None else b"")
            copy.flush()
            with contextlib.suppress(SealiftError):
                elf = read_elf(Path(copy.name))
                if elf is not None and elf.machine == self.machine:
                    self.glibc = glibc_of(elf.defined) or self.glibc


@contextlib.contextmanager
def _plain(stream: IO[bytes], stored: Any, kind: str) -> Iterator[IO[bytes]]:
    hashed = _Hashed(stream, stored)
    if kind == ZSTD_TYPE:
        yield zstandard.ZstdDecompressor().stream_reader(hashed, read_across_frames=True)  # type: ignore[arg-type]
    elif kind == GZIP_TYPE:
        yield gzip.GzipFile(fileobj=hashed, mode="rb")  # type: ignore[call-overload]
    else:
        yield hashed  # type: ignore[misc]
    hashed.drain()


class _Hashed:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: Any, hasher: Any) -> None:
        self._stream = stream
        self._hasher = hasher

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._hasher.update(data)
        return data

    def drain(self) -> None:
        """Read to the end: a tar's reader stops before."""
        while self.read(1 << 20):
            pass
