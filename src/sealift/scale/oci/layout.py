"""Blobs and an index -> an OCI image layout: a folder, or the same as one tar file.

Source: OCI image-spec 1.1, image-layout.md. Nothing of what is written depends on time, user or umask: a tar
file holds every blob in the order in which it was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from sealift import canonical
from sealift.bundle import layout as bundle_layout
from sealift.errors import NoSpace, UsageError

MARK: Final = "oci-layout"
INDEX: Final = "index.json"
BLOBS: Final = "blobs/sha256"
REF_NAME: Final = "org.opencontainers.image.ref.name"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_MARK_BYTES: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MARGIN_BYTES: Final = 16 * 2**20

Descriptor = dict[str, Any]
"""`mediaType`, `digest`, `size` and what else the image-spec allows there (descriptor.md)."""

Write = Callable[[IO[bytes]], object]
"""Writes one blob's bytes to the stream."""


@dataclass(frozen=True, slots=True)
class Blob:
    """`digest` is `sha256:` and 64 hex digits."""

    digest: str
    size: int

    def as_(self, media_type: str, **more: object) -> Descriptor:
        """Its descriptor."""
        return {"mediaType": media_type, "digest": self.digest, "size": self.size, **more}


class Layout(Protocol):
    """Where an image goes."""

    def blob(self, write: Write) -> Blob:
        """Keep what `write` writes; bytes that are there already are kept once."""
        ...

    def finish(self, name: str, descriptor: Descriptor) -> None:
        """Write the index: from now on `name` is `descriptor`."""
        ...


@contextlib.contextmanager
def new_layout(path: Path) -> Iterator[Layout]:
    """A layout to fill; whatever was at `path` before is as it was unless `finish` was reached.

    A folder that is a layout keeps its other images. A file is replaced in one rename.
    Raises: UsageError: something else is there, or it cannot be written. NoSpace: the disk is full.
    """
    refuse_place(path)
    layout: _Archive | _Folder | None = None
    try:
        layout = _Archive(path) if path.suffix == ".tar" else _Folder(path)
        yield layout
    except OSError as error:
        if layout is not None:
            layout.give_up()
        if error.errno in (28, 122):
            raise NoSpace(
                f"{path}: the disk is full; nothing was written", next_step="free space, then again"
            ) from error
        raise UsageError(f"{error.filename or path}: {error.strerror}") from error
    except BaseException:
        if layout is not None:
            layout.give_up()
        raise


def refuse_place(path: Path) -> None:
    """Raises: UsageError: writing there would spoil what is no OCI layout, or there is no folder for it."""
    whole = path.absolute().parent.resolve() / path.name
    if not whole.parent.is_dir():
        raise UsageError(
            f"{path}: the folder {path.parent} does not exist", next_step=f"mkdir -p {path.parent}"
        )
    if any((folder / bundle_layout.RELEASE).is_file() for folder in (whole, *whole.parents)):
        raise UsageError(f"{path}: lies in a bundle and would spoil it", next_step="another -o")
    if path.exists() and not (_is_archive(path) if path.suffix == ".tar" else _is_folder_to_fill(path)):
        wanted = "OCI archive" if path.suffix == ".tar" else "OCI layout and no empty folder"
        raise UsageError(
            f"{path} is there and is no {wanted}; it was left as it is",
            next_step="another -o: a new folder, or a new name that ends in .tar",
        )


def require_room(path: Path, needed_bytes: int) -> None:
    """Raises: NoSpace: says how much is needed and how much is free."""
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed_bytes + _MARGIN_BYTES:
        raise NoSpace(
            f"{path}: not enough room",
            problems=[f"needs up to {needed_bytes / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"],
            next_step="free space, or another -o; nothing was written",
        )


def _is_archive(path: Path) -> bool:
    try:
        with tarfile.open(path) as tar:
            return tar.next() is not None and MARK in tar.getnames()
    except (OSError, tarfile.TarError):
        return False


def _is_folder_to_fill(path: Path) -> bool:
    if not path.is_dir():
        return False
    return _images_in(path) is not None if (path / MARK).is_file() else not any(path.iterdir())


def _images_in(folder: Path) -> list[Descriptor] | None:
    """What the index of a layout names; None: it is not readable."""
    try:
        images = json.loads((folder / INDEX).read_bytes())["manifests"]
        return [
            image for image in images if image["digest"] and dict(image.get("annotations", {})) is not None
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


class _Counted:
    """Hashes and counts what goes through."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hasher.update(data)
        self.size += len(data)
        return self._stream.write(data)

    @property
    def hex(self) -> str:
        return self._hasher.hexdigest()


class _Folder:
    """The layout as a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_new = not path.exists()
        self._made: list[Path] = []

    def blob(self, write: Write) -> Blob:
        """As `Layout.blob`."""
        folder = self._path / BLOBS
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".new-{os.getpid()}"
        self._made.append(temporary)
        with temporary.open("wb") as stream:
            write(counted := _Counted(stream))  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        if not (folder / counted.hex).exists():
            self._made.append(temporary.rename(folder / counted.hex))
        return Blob(f"sha256:{counted.hex}", counted.size)

    def finish(self, name: str, descriptor: Descriptor) -> None:
        """As `Layout.finish`."""
        index = self._path / INDEX
        others = _images_in(self._path) or []
        others = [other for other in others if other.get("annotations", {}).get(REF_NAME) != name]
        (self._path / MARK).write_bytes(_MARK_BYTES)
        temporary = index.with_name(f".{INDEX}.new")
        with temporary.open("wb") as stream:
            stream.write(_index([*others, descriptor]))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(index)
        (self._path / BLOBS / f".new-{os.getpid()}").unlink(missing_ok=True)

    def give_up(self) -> None:
        """Take back whatever was not there before."""
        for path in self._made:
            path.unlink(missing_ok=True)
        if self._is_new:
            shutil.rmtree(self._path, ignore_errors=True)


class _Archive:
    """The layout as one tar file; a blob's header is written when its digest is known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.new-{os.getpid()}")
        self._stream = self._temporary.open("w+b")
        self._known: dict[str, Blob] = {}
        self._add(MARK, _MARK_BYTES)
        for folder in ("blobs", BLOBS):
            self._stream.write(_header(folder, 0, tarfile.DIRTYPE))

    def blob(self, write: Write) -> Blob:
        """As `Layout.blob`."""
        begin = self._stream.tell()
        self._stream.write(bytes(tarfile.BLOCKSIZE))
        write(counted := _Counted(self._stream))  # type: ignore[arg-type]
        if counted.hex in self._known:
            self._stream.seek(begin)
            self._stream.truncate()
            return self._known[counted.hex]
        self._stream.write(bytes(-counted.size % tarfile.BLOCKSIZE))
        end = self._stream.tell()
        self._stream.seek(begin)
        self._stream.write(_header(f"{BLOBS}/{counted.hex}", counted.size))
        self._stream.seek(end)
        self._known[counted.hex] = Blob(f"sha256:{counted.hex}", counted.size)
        return self._known[counted.hex]

    def finish(self, name: str, descriptor: Descriptor) -> None:  # noqa: ARG002 - it holds this one image
        """As `Layout.finish`."""
        self._add(INDEX, _index([descriptor]))
        self._stream.write(bytes(2 * tarfile.BLOCKSIZE))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._temporary.replace(self._path)

    def give_up(self) -> None:
        """The old file, if there was one, stands."""
        self._stream.close()
        self._temporary.unlink(missing_ok=True)

    def _add(self, name: str, data: bytes) -> None:
        self._stream.write(_header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE))


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """One block: GNU's form, which alone has sizes from 8 GiB up without a second one."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)


def _index(manifests: list[Descriptor]) -> bytes:
    ordered = sorted(
        manifests, key=lambda each: (each.get("annotations", {}).get(REF_NAME, ""), each["digest"])
    )
    return json_bytes({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered})


def json_bytes(value: object) -> bytes:
    """The one encoding of every document of an image."""
    return canonical.encode(value)
