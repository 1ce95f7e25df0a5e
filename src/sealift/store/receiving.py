"""What has come in of a bundle in volumes: a record of it, whole objects in the store, and the rest in partials.

An object that one medium holds goes straight into the store. What crosses a cut waits in `store/receiving/`, one
sparse file for each such object, every byte at its own place: an object that is stored raw becomes itself by a
rename. The record keeps all of it from being swept; it is written after what it says is durable.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.documents import FileEntry
from sealift.bundle.read import VerifiedBundle
from sealift.bundle.slices import opened
from sealift.bundle.source import reading
from sealift.bundle.transport import RAW
from sealift.bundle.volumes import Volumes
from sealift.errors import DigestMismatch, MalformedBundle, StoreError
from sealift.events import Progress
from sealift.store.files import make_folder, read_document, remove_file, storing, write_document
from sealift.store.objects import ObjectStore, store_of
from sealift.store.prefix import Prefix
from sealift.store.staging import keep_manifests, sync_filesystem

_FORMAT: Final = "sealift-receiving/1"
_THREADS: Final = 2
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Receiving:
    """A bundle that comes in volumes: which one, how it is cut, and the numbers whose bytes are here."""

    product: str
    version: str
    key: tuple[str, str, int]
    count: int
    received: frozenset[int]
    manifests: tuple[str, ...]

    @property
    def words(self) -> str:
        """`fraud 1.0: 2 of 4 volumes`."""
        return f"{self.product} {self.version}: {len(self.received)} of {self.count} volumes"


def read_receiving(prefix: Prefix) -> Receiving | None:
    """What is coming in; None: nothing is. Raises: StoreError: the record is damaged."""
    if not prefix.receiving.is_file():
        return None
    doc = read_document(prefix.receiving)
    try:
        if doc["format"] != _FORMAT:
            raise ValueError(doc["format"])
        return Receiving(
            product=str(doc["product"]),
            version=str(doc["version"]),
            key=(str(doc["release"]), str(doc["transport"]), int(doc["span"])),
            count=int(doc["count"]),
            received=frozenset(int(number) for number in doc["received"]),
            manifests=tuple(str(digest) for digest in doc["manifests"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{prefix.receiving}: not what this sealift writes ({error})",
            next_step="give up what was coming in: sealift install PLACE --forget",
        ) from error


def begin_receiving(prefix: Prefix, bundle: VerifiedBundle, volumes: Volumes) -> Receiving:
    """The record of this bundle, a new one where none is there; the caller holds the prefix's lock.

    Raises: StoreError: the record is one of another bundle.
    """
    found = read_receiving(prefix)
    if found is not None and found.key == volumes.key:
        return found
    if found is not None:
        raise StoreError(
            f"{found.words} are here, and these are volumes of {bundle.release.product} {bundle.release.version} "
            f"({canonical.short(volumes.key[0])}); nothing was taken",
            next_step="bring a medium of the first, or give it up: the same command with --forget",
        )
    release = bundle.release
    manifests = tuple(sorted({ref.manifest for ref in release.layers.values()}))
    record = Receiving(release.product, release.version, volumes.key, volumes.count, frozenset(), manifests)
    with storing(prefix.receiving):
        shutil.rmtree(prefix.partials, ignore_errors=True)
        make_folder(prefix.partials)
    keep_manifests(prefix, bundle)
    _write(prefix, record)
    return record


def end_receiving(prefix: Prefix, product: str | None = None) -> bool:
    """Forget what came in (of `product`; None: whatever it is); objects that a release needs are its own by now.

    Returns: True if there was something.
    Raises: StoreError.
    """
    if not prefix.receiving.is_file():
        return False
    if product is not None:
        found = read_receiving(prefix)
        if found is None or found.product != product:
            return False
    remove_file(prefix.receiving)
    with storing(prefix.partials):
        shutil.rmtree(prefix.partials, ignore_errors=True)
    return True


def wanted_volumes(
    prefix: Prefix, record: Receiving, volumes: Volumes, missing: Iterable[FileEntry]
) -> tuple[int, ...]:
    """The numbers that still must come: those with bytes of an object that is neither here nor waits whole."""
    wanted: set[int] = set()
    for sha256 in {entry.sha256 for entry in missing}:
        holders = set(volumes.stream.numbers(sha256))
        left = holders - record.received
        waits = len(holders) > 1 and left and _partial(prefix, sha256).is_file()
        wanted |= left if waits else holders
    return tuple(sorted(wanted))


def waiting_bytes(bundle: VerifiedBundle, volumes: Volumes, missing: Iterable[FileEntry]) -> int:
    """The most that partials take beside the objects themselves: what crosses a cut and is not stored raw."""
    objects = bundle.bundle.objects
    crossing = {
        entry.sha256
        for entry in missing
        if len(volumes.stream.numbers(entry.sha256)) > 1 and objects[entry.sha256].codec != RAW
    }
    return sum(objects[sha256].stored_size for sha256 in crossing)


def take_volumes(
    prefix: Prefix, bundle: VerifiedBundle, volumes: Volumes, missing: Sequence[FileEntry], progress: Progress
) -> tuple[FileEntry, ...]:
    """Take what these volumes hold of `missing`, and record them; the caller holds the lock and checked their pieces.

    Returns: what is still missing.
    Raises: BundleError: a medium that cannot be read. DigestMismatch: bytes that were not signed. StoreError, NoSpace.
        What was taken before stays.
    """
    record = read_receiving(prefix)
    assert record is not None, "begun before"  # noqa: S101 - the caller's order, not a state of the disk
    here = set(volumes.volumes)
    lost = set(
        wanted_volumes(prefix, record, volumes, missing)
    )  # recorded, and yet something of them is not here
    record = replace(record, received=record.received - lost | here)
    arrived = _Arrived(prefix, volumes, record)
    bundle = replace(bundle, bundle=replace(bundle.bundle, source=arrived))
    touched = [e for e in missing if arrived.brings(e.sha256)]
    progress.start("copy objects", sum(entry.size for entry in touched if not arrived.lacking(entry.sha256)))
    for sha256 in dict.fromkeys(entry.sha256 for entry in touched):
        if arrived.crosses(sha256):
            _keep_fragments(prefix, volumes, sha256)
    ready = [entry for entry in touched if not arrived.lacking(entry.sha256)]
    _take_in(store_of(prefix), bundle, arrived, ready, progress)
    with storing(prefix.root):
        sync_filesystem(prefix.root)
    _write(prefix, record)
    for sha256 in {entry.sha256 for entry in ready}:
        _partial(prefix, sha256).unlink(missing_ok=True)
    taken = {(entry.sha256, entry.executable) for entry in ready}
    return tuple(entry for entry in missing if (entry.sha256, entry.executable) not in taken)


class _Arrived:
    """The stored bytes of what is here by now: in the volumes at hand, or waiting whole in a partial."""

    def __init__(self, prefix: Prefix, volumes: Volumes, record: Receiving) -> None:
        self._prefix, self._volumes, self._record = prefix, volumes, record
        self._names = {layout.object_(sha256): sha256 for sha256 in volumes.stream.offsets}

    @property
    def name(self) -> str:
        return self._volumes.name

    def parts(self) -> Mapping[str, int]:
        return self._volumes.parts()

    def lacking(self, sha256: str) -> set[int]:
        """The volumes that must still come before the object is whole."""
        return set(self._volumes.stream.numbers(sha256)) - self._record.received

    def brings(self, sha256: str) -> bool:
        """Claims that the volumes at hand hold something of it, or that it is empty."""
        numbers = self._volumes.stream.numbers(sha256)
        return not numbers or any(number in self._volumes.volumes for number in numbers)

    def crosses(self, sha256: str) -> bool:
        """Claims that not all of it lies in the volumes at hand."""
        return not set(self._volumes.stream.numbers(sha256)) <= set(self._volumes.volumes)

    def said(self, sha256: str) -> DigestMismatch:
        """The refusal of an object that several volumes hold together."""
        numbers = ", ".join(str(number) for number in self._volumes.stream.numbers(sha256))
        return DigestMismatch(
            f"object {canonical.short(sha256)}, which volumes {numbers} hold together, is not the one that was "
            "signed; what waited of it is given up",
            next_step="bring these volumes again; if it happens again, copy them to the media again",
        )

    def open(self, name: str) -> IO[bytes]:
        sha256 = self._names.get(name)
        if sha256 is None or not self.crosses(sha256):
            return self._volumes.open(name)
        return self.partial(sha256).open("rb")

    def partial(self, sha256: str) -> Path:
        """Where an object waits that crosses a cut."""
        return _partial(self._prefix, sha256)


def _keep_fragments(prefix: Prefix, volumes: Volumes, sha256: str) -> None:
    """Write what is at hand of an object to its place in the partial. Raises: BundleError, StoreError, NoSpace."""
    path = _partial(prefix, sha256)
    with storing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b") as sink:
            sink.truncate(volumes.stream.sizes[sha256])
            for number in set(volumes.stream.numbers(sha256)) & set(volumes.volumes):
                place, piece = volumes.piece(sha256, number)
                sink.seek(place)
                with opened([piece]) as source:
                    _copy(source, sink, str(piece.path))


def _copy(source: IO[bytes], sink: IO[bytes], what: str) -> None:
    while True:
        with reading(what):
            chunk = source.read(_CHUNK)
        if not chunk:
            return
        sink.write(chunk)


def _take_in(
    store: ObjectStore,
    bundle: VerifiedBundle,
    arrived: _Arrived,
    entries: Sequence[FileEntry],
    progress: Progress,
) -> None:
    """Objects into the store on two threads; each counts by its own signed digest, so what is in stays."""

    uses = Counter(entry.sha256 for entry in entries)

    def take(entry: FileEntry) -> int:
        sha256 = entry.sha256
        try:
            if arrived.crosses(sha256) and uses[sha256] == 1 and bundle.bundle.objects[sha256].codec == RAW:
                bundle.copy_object(sha256, None)
                store.adopt(entry, arrived.partial(sha256))
            else:
                store.add(entry, partial(bundle.copy_object, sha256, base=store.base))
        except (DigestMismatch, MalformedBundle) as error:
            if not arrived.crosses(sha256):
                raise
            arrived.partial(sha256).unlink(missing_ok=True)
            raise arrived.said(sha256) from error
        return entry.size

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for size in pool.map(take, entries):
                progress.advance(size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _partial(prefix: Prefix, sha256: str) -> Path:
    return prefix.partials / f"{sha256}.part"


def _write(prefix: Prefix, record: Receiving) -> None:
    write_document(
        prefix.receiving,
        {
            "count": record.count,
            "format": _FORMAT,
            "manifests": list(record.manifests),
            "product": record.product,
            "received": sorted(record.received),
            "release": record.key[0],
            "span": record.key[2],
            "transport": record.key[1],
            "version": record.version,
        },
    )
