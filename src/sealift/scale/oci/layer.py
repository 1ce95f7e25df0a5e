"""Files -> one layer: a tar whose bytes follow from paths, modes and contents alone.

Source: OCI image-spec 1.1, layer.md. Owner root, time 0, sorted; every folder above a file is told, 0755.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Final

from sealift.scale.oci.layout import Blob, Descriptor, Layout

PLAIN_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
GZIP_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEVEL: Final = 4
"""Of gzip: 6 is 3 % smaller and takes twice as long."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of a layer: `path` without a slash at its start; `copy` writes exactly `size` bytes."""

    path: str
    size: int
    executable: bool
    copy: Callable[[IO[bytes]], object]

    @property
    def mode(self) -> int:
        """Nobody writes into an image."""
        return 0o555 if self.executable else 0o444


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a manifest names it; `diff_id` is the digest of the plain tar; `about` a line of history."""

    descriptor: Descriptor
    diff_id: str
    about: str


def write_layer(
    layout: Layout,
    files: Iterable[ImageFile],
    about: str,
    *,
    compress: bool = True,
    folders: Mapping[str, int] | None = None,
) -> Layer:
    """Write one layer.

    Args:
        compress: gzip; what is plain can be shared with an artifact that names the tar itself.
        folders: path -> mode of folders that are told although they are empty, or not 0755.
    Raises: whatever a file's `copy` raises.
    """
    diff = hashlib.sha256()

    def write(sink: IO[bytes]) -> None:
        out = _Packed(sink, diff.update, compress=compress)
        for entry, file in _entries(sorted(files, key=lambda file: file.path), folders or {}):
            out.write(entry.tobuf(tarfile.PAX_FORMAT))
            if file is not None:
                file.copy(out)  # type: ignore[arg-type]
                out.write(bytes(-file.size % tarfile.BLOCKSIZE))
        out.write(bytes(2 * tarfile.BLOCKSIZE))
        out.end()

    blob: Blob = layout.blob(write)
    return Layer(blob.as_(GZIP_TYPE if compress else PLAIN_TYPE), f"sha256:{diff.hexdigest()}", about)


def _entries(
    files: Iterable[ImageFile], folders: Mapping[str, int]
) -> Iterator[tuple[tarfile.TarInfo, ImageFile | None]]:
    """Folders before what is in them, then files in order."""
    told: set[str] = set()
    for folder in sorted(folders):
        yield from ((_folder(each, folders), None) for each in _above(f"{folder}/", told))
    for file in files:
        yield from ((_folder(each, folders), None) for each in _above(file.path, told))
        entry = tarfile.TarInfo(file.path)
        entry.size, entry.mode = file.size, file.mode
        yield entry, file


def _above(path: str, told: set[str]) -> Iterator[str]:
    """Folders above `path` that were not told yet, the outermost first."""
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        folder = "/".join(parts[:depth])
        if folder not in told:
            told.add(folder)
            yield folder


def _folder(path: str, folders: Mapping[str, int]) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, folders.get(path, 0o755)
    return entry


class _Packed:
    """Tar bytes on their way: hashed plain, gathered, packed."""

    def __init__(self, sink: IO[bytes], seen: Callable[[bytes], object], *, compress: bool) -> None:
        self._sink = sink
        self._seen = seen
        # zlib's own gzip header: no name, no time.
        self._zip = zlib.compressobj(_LEVEL, wbits=_GZIP) if compress else None
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        if len(self._waiting) >= _CHUNK:
            self._pass_on()
        return len(data)

    def end(self) -> None:
        self._pass_on()
        if self._zip is not None:
            self._sink.write(self._zip.flush())

    def _pass_on(self) -> None:
        data = bytes(self._waiting)
        self._waiting.clear()
        self._seen(data)
        self._sink.write(data if self._zip is None else self._zip.compress(data))
