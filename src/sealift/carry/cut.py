"""A bundle -> volumes: the cut, and each volume as parts to write (clause 12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sealift.bundle import layout, tar
from sealift.bundle.codec import CHUNK
from sealift.bundle.documents import MAX_OBJECT_BYTES
from sealift.bundle.read import UnverifiedBundle
from sealift.bundle.source import Source, document, reading
from sealift.bundle.volumes import MAX_VOLUMES, Stream, encode_volume, name_of, stream_of
from sealift.canonical import digest
from sealift.errors import UsageError

_WIDEST: Final = "f" * 64


@dataclass(frozen=True, slots=True)
class Cutting:
    """A bundle that is cut: its documents, and where its stream is cut."""

    source: Source
    stream: Stream
    documents: Mapping[str, bytes]

    @property
    def count(self) -> int:
        """How many volumes there are."""
        return self.stream.cut.count

    def name(self, stem: str, number: int) -> str:
        """How volume `number` is called."""
        return name_of(stem, number, self.count)

    def size(self, number: int) -> int:
        """The bytes of volume `number` as a file."""
        own = len(self._volume(number, _WIDEST))
        return _file_size(self.documents, own, self.stream.cut.extent(number)[1])

    def parts(self, number: int) -> list[tuple[str, int, Iterator[bytes]]]:
        """(name, size, chunks) of every part; the piece is read twice, first for its digest. Raises: BundleError."""
        hasher = hashlib.sha256()
        for chunk in self._piece(number):
            hasher.update(chunk)
        own = self._volume(number, hasher.hexdigest())
        documents = {layout.VOLUME: own, **self.documents}
        parts = [(name, len(data), iter((data,))) for name, data in documents.items()]
        return [*parts, (layout.PIECE, self.stream.cut.extent(number)[1], self._piece(number))]

    def _volume(self, number: int, sha256: str) -> bytes:
        release, transport = (digest(self.documents[name]) for name in (layout.RELEASE, layout.TRANSPORT))
        return encode_volume((number, sha256), self.stream, release, transport)

    def _piece(self, number: int) -> Iterator[bytes]:
        offset, size = self.stream.cut.extent(number)
        for sha256, start in self.stream.offsets.items():
            begin = max(start, offset)
            end = min(start + self.stream.sizes[sha256], offset + size)
            if begin < end:
                yield from _bytes_of(self.source, layout.object_(sha256), begin - start, end - begin)


def _bytes_of(source: Source, name: str, skip: int, size: int) -> Iterator[bytes]:
    with reading(source.name), source.open(name) as stream:
        while skip and (passed := stream.read(min(CHUNK, skip))):
            skip -= len(passed)
        while size and (chunk := stream.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


def cut(bundle: UnverifiedBundle, most_bytes: int) -> Cutting | None:
    """Cut a bundle into files of at most `most_bytes`; None where it is none larger as one file.

    Raises: UsageError: files of that size have no room for the bundle's documents, or there would be over 999.
    """
    source = bundle.source
    sizes = source.parts()
    documents = {name: document(source, name) for name in sizes if layout.is_document(name)}
    whole = sum(tar.BLOCK + size + tar.padding(size) for size in sizes.values()) + len(tar.END)
    if whole <= most_bytes:
        return None
    span = _span(documents, most_bytes)
    stream = stream_of(bundle.objects, span) if span > 0 else None
    if stream is None or stream.cut.count > MAX_VOLUMES:
        raise UsageError(
            f"volumes of {most_bytes} bytes are too small for this bundle: each carries its documents "
            f"({most_bytes - span} bytes), and there are at most {MAX_VOLUMES}",
            next_step="give --volumes a larger size",
        )
    return Cutting(source, stream, documents)


def _span(documents: Mapping[str, bytes], most_bytes: int) -> int:
    """The bytes of the stream for one volume, by the longest volume.json that there can be."""
    room = most_bytes - most_bytes % tar.BLOCK - _file_size(documents, layout.MAX_VOLUME_BYTES // 4, 0)
    return min(room, MAX_OBJECT_BYTES - MAX_OBJECT_BYTES % tar.BLOCK)


def _file_size(documents: Mapping[str, bytes], own: int, piece: int) -> int:
    sizes = [*(len(data) for data in documents.values()), own, piece]
    return sum(tar.BLOCK + size + tar.padding(size) for size in sizes) + len(tar.END)
