"""A bundle in several files, each of which says what it is (clause 12)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Final

from sealift import canonical
from sealift.bundle import layout, tar
from sealift.bundle.documents import MAX_OBJECT_BYTES
from sealift.bundle.fields import DIGEST, count, exactly, of_format, text
from sealift.bundle.slices import Piece, opened
from sealift.bundle.source import document, reading
from sealift.bundle.transport import StoredObject, decode_transport
from sealift.errors import DigestMismatch, MalformedBundle, MissingPart

VOLUME_FORMAT: Final = "sealift-volume/1"
MAX_VOLUMES: Final = 999
COPY_AGAIN: Final = "copy that file to the medium again; the other volumes are not affected"
_CHUNK: Final = 1 << 20
_KEYS: Final = {"count", "format", "number", "offset", "release", "sha256", "size", "span", "transport"}


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a stream of `total` bytes is cut: every `span` bytes (clause 12.1)."""

    total: int
    span: int

    @property
    def count(self) -> int:
        """How many volumes there are."""
        return -(-self.total // self.span)

    def extent(self, number: int) -> tuple[int, int]:
        """(offset, size) of the piece of volume `number`, from 1."""
        offset = (number - 1) * self.span
        return offset, min(self.span, self.total - offset)

    def numbers(self, offset: int, size: int) -> range:
        """The volumes that hold these bytes of the stream; none for no bytes."""
        return range(offset // self.span + 1, (offset + size - 1) // self.span + 2) if size else range(0)


@dataclass(frozen=True, slots=True)
class Stream:
    """The stored bytes of all objects in their one order: where each begins, and where it is cut."""

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    cut: Cut

    def numbers(self, sha256: str) -> range:
        """The volumes that hold bytes of that object."""
        return self.cut.numbers(self.offsets[sha256], self.sizes[sha256])


def stream_of(objects: Mapping[str, StoredObject], span: int) -> Stream:
    """The stream of what travels, cut every `span` bytes."""
    offsets: dict[str, int] = {}
    total = 0
    for sha256 in sorted(objects):
        offsets[sha256] = total
        total += objects[sha256].stored_size
    sizes = {sha256: stored.stored_size for sha256, stored in objects.items()}
    return Stream(offsets, sizes, Cut(total, span))


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume as it lies there: what it says of itself, and where its parts are.

    `documents` is a digest of the documents' names and bytes: the same in every volume of a set.
    """

    path: Path
    number: int
    count: int
    offset: int
    size: int
    sha256: str
    key: tuple[str, str, int]
    documents: str
    index: Mapping[str, tar.Extent]

    @property
    def name(self) -> str:
        """As `Source.name`."""
        return str(self.path)

    @property
    def says(self) -> str:
        """`volume 2 of 4 of sha256:9f31-c2a0`."""
        return f"volume {self.number} of {self.count} of {canonical.short(self.key[0])}"

    def parts(self) -> Mapping[str, int]:
        """As `Source.parts`: the documents alone."""
        return {name: self.index[name].size for name in _documents_of(self.index)}

    def open(self, name: str) -> IO[bytes]:
        """A part's bytes, of the piece, too. Raises: BundleError."""
        return _open_part(self.path, self.index[name])


def _documents_of(index: Mapping[str, tar.Extent]) -> tuple[str, ...]:
    return tuple(name for name in index if name not in (layout.VOLUME, layout.PIECE))


def _open_part(path: Path, extent: tar.Extent) -> IO[bytes]:
    return opened([Piece(path, extent.offset, extent.size)])


def encode_volume(volume: tuple[int, str], stream: Stream, release: str, transport: str) -> bytes:
    """The canonical bytes of volume.json; `volume` is (number, sha256 of the piece)."""
    number, sha256 = volume
    offset, size = stream.cut.extent(number)
    return canonical.encode(
        {
            "count": stream.cut.count,
            "format": VOLUME_FORMAT,
            "number": number,
            "offset": offset,
            "release": release,
            "sha256": sha256,
            "size": size,
            "span": stream.cut.span,
            "transport": transport,
        }
    )


def _index_of(path: Path) -> Mapping[str, tar.Extent]:
    try:
        return tar.index_of(path, layout.volume_rank)
    except MalformedBundle as error:
        raise MalformedBundle(f"{path}: {error.message}", next_step=COPY_AGAIN) from error


def read_volume(path: Path) -> Volume:
    """Read what a volume says of itself and hash its documents; its piece is not read.

    Raises: MalformedBundle: not the one encoding of a volume. DigestMismatch: not the documents that it names.
        BundleError: it cannot be read.
    """
    with reading(str(path)):
        index = _index_of(path)
        for name in (layout.VOLUME, layout.RELEASE, layout.TRANSPORT, layout.PIECE):
            if name not in index:
                raise MalformedBundle(f"{path}: a volume without {name}", next_step=COPY_AGAIN)
        with _open_part(path, index[layout.VOLUME]) as stream:
            own = stream.read()
    what = f"{path}: {layout.VOLUME}"
    doc = canonical.decode(own, what)
    exactly(doc, _KEYS, what)
    of_format(doc, VOLUME_FORMAT, what)
    digests = {name: digest_of(_open_part(path, index[name]), str(path)) for name in _documents_of(index)}
    volume = Volume(
        path=path,
        number=count(doc["number"], "number", what, MAX_VOLUMES),
        count=count(doc["count"], "count", what, MAX_VOLUMES),
        offset=count(doc["offset"], "offset", what),
        size=count(doc["size"], "size", what, MAX_OBJECT_BYTES),
        sha256=text(doc["sha256"], DIGEST, "sha256", what),
        key=(
            text(doc["release"], DIGEST, "release", what),
            text(doc["transport"], DIGEST, "transport", what),
            count(doc["span"], "span", what, MAX_OBJECT_BYTES),
        ),
        documents=canonical.digest(canonical.encode(digests)),
        index=index,
    )
    _require_documents(volume, digests)
    if not 1 <= volume.number <= volume.count or not volume.key[2]:
        raise MalformedBundle(f"{what}: number {volume.number} of {volume.count}", next_step=COPY_AGAIN)
    return volume


def _require_documents(volume: Volume, digests: Mapping[str, str]) -> None:
    for name, expected in ((layout.RELEASE, volume.key[0]), (layout.TRANSPORT, volume.key[1])):
        if digests[name] != expected:
            raise DigestMismatch(
                f"{volume.path}: {name} is not the one that its {layout.VOLUME} names", next_step=COPY_AGAIN
            )


def digest_of(stream: IO[bytes], what: str, advance: Callable[[int], None] = lambda _: None) -> str:
    """The digest of a whole stream, which is closed. Raises: BundleError."""
    hasher = hashlib.sha256()
    with reading(what), stream:
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
            advance(len(chunk))
    return hasher.hexdigest()


def check_piece(volume: Volume, advance: Callable[[int], None] = lambda _: None) -> None:
    """Hold a piece to its digest: damage is found with the name of the file that has it.

    Raises: DigestMismatch: other bytes. BundleError: it cannot be read to its end.
    """
    found = digest_of(volume.open(layout.PIECE), str(volume.path), advance)
    if found != volume.sha256:
        raise DigestMismatch(
            f"{volume.path} ({volume.says}) is damaged: its bytes are not those that were written",
            next_step=COPY_AGAIN,
        )


class Volumes:
    """Volumes of one set as a source: all of them are the bundle; of what others hold, it says which.

    Args:
        volumes: of one set, one for each number, at least one.
    Raises: MalformedBundle: their cut is not the one that transport.json gives.
    """

    def __init__(self, volumes: Iterable[Volume]) -> None:
        self.volumes = {volume.number: volume for volume in sorted(volumes, key=lambda v: v.number)}
        self._first = next(iter(self.volumes.values()))
        self.count = self._first.count
        transport = decode_transport(document(self._first, layout.TRANSPORT))
        self.stream = stream_of(transport.objects, self._first.key[2])
        for volume in self.volumes.values():
            self._require_cut(volume)

    def _require_cut(self, volume: Volume) -> None:
        cut = self.stream.cut
        says = (volume.count, volume.offset, volume.size, volume.index[layout.PIECE].size)
        is_there = volume.number <= cut.count
        if not is_there or says != (cut.count, *cut.extent(volume.number), cut.extent(volume.number)[1]):
            raise MalformedBundle(
                f"{volume.path}: its piece is not the one that transport.json gives for volume {volume.number}",
                next_step=COPY_AGAIN,
            )

    @property
    def name(self) -> str:
        """The folder that they lie in."""
        return str(self._first.path.parent)

    @property
    def key(self) -> tuple[str, str, int]:
        """What volumes that belong together have in common: release, transport, span."""
        return self._first.key

    @property
    def missing(self) -> tuple[int, ...]:
        """The numbers that are not here."""
        return tuple(number for number in range(1, self.count + 1) if number not in self.volumes)

    @cached_property
    def _objects(self) -> Mapping[str, str]:
        return {layout.object_(sha256): sha256 for sha256 in self.stream.offsets}

    def parts(self) -> Mapping[str, int]:
        """As `Source.parts`; objects count as there, whichever volumes hold them."""
        objects = {name: self.stream.sizes[sha256] for name, sha256 in self._objects.items()}
        return {**self._first.parts(), **objects}

    def open(self, name: str) -> IO[bytes]:
        """As `Source.open`. Raises: MissingPart: names the volumes that hold it and are not here."""
        sha256 = self._objects.get(name)
        if sha256 is not None:
            return opened(list(self.pieces_of(sha256)))
        if name not in self._first.parts():
            raise MissingPart(f"{self.name}: {name} is missing", next_step=COPY_AGAIN)
        return self._first.open(name)

    def pieces_of(self, sha256: str) -> Iterator[Piece]:
        """The bytes of an object, volume by volume. Raises: MissingPart."""
        numbers = self.stream.numbers(sha256)
        if lacking := [number for number in numbers if number not in self.volumes]:
            raise missing_volumes(self.volumes.values(), lacking)
        for number in numbers:
            yield self.piece(sha256, number)[1]

    def piece(self, sha256: str, number: int) -> tuple[int, Piece]:
        """What one volume has of an object: (place in the stored object, bytes in the file)."""
        volume = self.volumes[number]
        start = self.stream.offsets[sha256]
        begin = max(start, volume.offset)
        end = min(start + self.stream.sizes[sha256], volume.offset + volume.size)
        at = volume.index[layout.PIECE].offset + begin - volume.offset
        return begin - start, Piece(volume.path, at, end - begin)


def missing_volumes(here: Iterable[Volume], numbers: Sequence[int]) -> MissingPart:
    """The refusal that names the files to bring."""
    found = sorted(here, key=lambda volume: volume.number)
    first = found[0]
    return MissingPart(
        f"{first.path.parent}: {len(numbers)} of {first.count} volumes are not here",
        problems=[f"volume {number}: {file_name(first, number)}" for number in numbers],
        next_step="copy them into that folder; a box also takes volumes one medium at a time: sealift install",
    )


def name_of(stem: str, number: int, count: int) -> str:
    """`fraud-1.0.v01-of-04.sealift`."""
    digits = max(2, len(str(count)))
    return f"{stem}.v{number:0{digits}}-of-{count:0{digits}}{layout.SUFFIX}"


def file_name(known: Volume, number: int) -> str:
    """How volume `number` is called where `known` has the name that it was written with."""
    own = name_of("", known.number, known.count)
    if known.path.name.endswith(own):
        return name_of(known.path.name.removesuffix(own), number, known.count)
    return f"*{name_of('', number, known.count)}"
