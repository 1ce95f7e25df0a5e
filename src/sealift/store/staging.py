"""VerifiedBundle -> a release tree on this box, complete or not there.

While files come in, a note says so (`state/staging.json`). Objects are written and named without a sync each;
one syncfs stands before the tree gets its name. An object that was here already is hashed again: the note of
an unclean stop, bit rot and a power cut need no other care.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.documents import FileEntry, encode_manifest
from sealift.bundle.read import VerifiedBundle, require_base
from sealift.bundle.source import document
from sealift.errors import BundleError, DigestMismatch, HostError, MissingPart, StoreError, TrustError
from sealift.events import Progress
from sealift.store.files import (
    make_folder,
    read_document,
    remove_file,
    storing,
    sync_folder,
    write_document,
    write_file,
)
from sealift.store.objects import ObjectStore, require_space, store_of
from sealift.store.prefix import Prefix
from sealift.store.reserve import RESERVE_BYTES, reserve_whole
from sealift.store.steps import Step, reached

PARTIAL: Final = ".partial"
CONDEMNED: Final = ".condemned"
_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Missing:
    """What a release needs and this box lacks: each object once, and how many of the others are damaged."""

    entries: tuple[FileEntry, ...]
    damaged: int

    @property
    def size(self) -> int:
        """Bytes to be written."""
        return sum(entry.size for entry in self.entries)


def tree_of(prefix: Prefix, bundle: VerifiedBundle) -> Path:
    """Where a release's tree lies: the version for people, eight digits of the identity for certainty."""
    release = bundle.release
    return prefix.releases(release.product) / f"{release.version}-{bundle.identity[:8]}"


def missing_objects(prefix: Prefix, bundle: VerifiedBundle) -> Missing:
    """What must come in; nothing is changed.

    Raises: MissingPart: an object neither travels nor is here (or is damaged here): names what to carry.
    """
    store = store_of(prefix)
    wanted = {(entry.sha256, entry.executable): entry for _, entry in bundle.files()}
    present = [entry for entry in wanted.values() if store.has(entry)]
    with ThreadPoolExecutor(_THREADS) as pool:
        whole = dict(
            zip([(e.sha256, e.executable) for e in present], pool.map(store.is_whole, present), strict=True)
        )
    missing = [entry for key, entry in wanted.items() if not whole.get(key, False)]
    damaged = sum(not is_whole for is_whole in whole.values())
    _require_travelling(bundle, missing, whole)
    for source in {bundle.bundle.objects[entry.sha256].source for entry in missing}:
        if source is not None:
            require_base(bundle.bundle, source, store.base)  # before anything is written
    return Missing(tuple(missing), damaged)


def require_room(prefix: Prefix, bundle: VerifiedBundle, missing: Missing) -> None:
    """Refuse before the first byte. Raises: NoSpace: bytes or inodes. HostError: noexec."""
    _require_exec(prefix)
    reserve = 0 if reserve_whole(prefix) else RESERVE_BYTES
    count = sum(1 for _ in bundle.files())
    require_space(prefix, missing.size + reserve, len(missing.entries) + count // 8)


def stage_tree(prefix: Prefix, bundle: VerifiedBundle, missing: Missing, progress: Progress) -> Path:
    """Bring `missing` in and link the tree; the caller holds the prefix's lock and noted the staging.

    Returns: the tree, its files durable.
    Raises: DigestMismatch, MissingPart, StoreError, NoSpace: nothing has the tree's name then, and a bundle
        that turned out to be bad has left no object.
    """
    tree = tree_of(prefix, bundle)
    if tree.is_dir():
        _require_identity(tree, bundle.identity)
        return tree
    store = store_of(prefix)
    progress.start("copy objects", missing.size)
    _take_in(store, bundle, missing.entries, progress)
    building = tree.with_name(tree.name + PARTIAL)
    with storing(building):
        shutil.rmtree(building, ignore_errors=True)
        make_folder(building)
        reached(Step.TREE_BEGUN, building)
        _link(store, bundle, building, progress)
        reached(Step.TREE_LINKED, building)
        sync_filesystem(building)
        reached(Step.TREE_SYNCED, building)
        building.rename(tree)
        reached(Step.TREE_NAMED, tree)
        sync_folder(tree.parent)
        reached(Step.TREE_DURABLE, tree)
    return tree


def note_staging(prefix: Prefix, bundle: VerifiedBundle, now: float) -> None:
    """Say durably that files of this release come in."""
    release = bundle.release
    note = {"at": int(now), "name": release.product, "tree": tree_of(prefix, bundle).name}
    write_document(prefix.staging, {**note, "version": release.version})


def noted_staging(prefix: Prefix) -> Mapping[str, str] | None:
    """What was coming in when the last command ended uncleanly; None after a clean one."""
    if not prefix.staging.is_file():
        return None
    doc = read_document(prefix.staging)
    return {key: str(doc.get(key, "")) for key in ("name", "tree", "version")}


def end_staging(prefix: Prefix) -> None:
    """The release is whole and recorded, or nothing of it has a name."""
    remove_file(prefix.staging)


def sync_filesystem(folder: Path) -> None:
    """One syncfs instead of an fsync per file: 3,000 files cost 0.2 s instead of 2.7 s."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed", str(folder))
    finally:
        os.close(handle)


def _link(store: ObjectStore, bundle: VerifiedBundle, building: Path, progress: Progress) -> None:
    progress.start("link the release tree", sum(ref.files for ref in bundle.release.layers.values()))
    made: set[str] = set()
    for path, entry in bundle.files():
        final = f"{building}/{path}"
        folder = os.path.dirname(final)  # noqa: PTH120 - 30,000 times: a Path each would cost a second
        if folder not in made:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            made.add(folder)
        store.link(entry, final)
        progress.advance()
    (building / "release.json").write_bytes(bundle.release.encode())


def keep_manifests(prefix: Prefix, bundle: VerifiedBundle) -> None:
    """Layer manifests stay, for bundles that leave unchanged layers out, and to know what a release needs."""
    for layer, files in bundle.bundle.manifests.items():
        digest = bundle.release.layers[layer].manifest
        path = prefix.manifests / f"{digest}.json"
        if not path.is_file():
            write_file(path, _travelled(bundle, layer, digest) or encode_manifest(files))


def _travelled(bundle: VerifiedBundle, layer: str, digest: str) -> bytes | None:
    """The manifest's bytes as they lie in the bundle: encoding 9 MB again takes most of a second."""
    if layer not in bundle.bundle.carried:
        return None
    data = document(bundle.bundle.source, layout.manifest(digest))
    return data if canonical.digest(data) == digest else None


def _take_in(
    store: ObjectStore, bundle: VerifiedBundle, missing: Sequence[FileEntry], progress: Progress
) -> None:
    """Copy objects in on two threads; a bundle that turns out to be bad leaves none of them behind."""

    def take(entry: FileEntry) -> int:
        store.add(entry, partial(bundle.copy_object, entry.sha256, base=store.base))
        return entry.size

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for size in pool.map(take, missing):
                progress.advance(size)
        except (BundleError, TrustError):
            pool.shutdown(cancel_futures=True)
            for entry in missing:
                store.discard(entry)
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _require_identity(tree: Path, identity: str) -> None:
    """A tree's name has 8 of the identity's 64 digits: two releases could be made to share them."""
    with storing(tree / "release.json"):
        found = canonical.digest((tree / "release.json").read_bytes())
    if found != identity:
        raise StoreError(
            f"{tree} holds another release ({canonical.short(found)}) than its name says",
            next_step="do not install this bundle; have it packed under another version",
        )


def _require_travelling(
    bundle: VerifiedBundle, missing: Sequence[FileEntry], here: Mapping[tuple[str, bool], bool]
) -> None:
    absent = {entry.sha256: entry for entry in missing if entry.sha256 not in bundle.bundle.objects}
    if not absent:
        return
    size = sum(entry.size for entry in absent.values())
    damaged = [sha256 for sha256, entry in absent.items() if (sha256, entry.executable) in here]
    made_for = _made_for(bundle)
    next_step = (
        "carry the full bundle, or a delta made --from a release that is whole on this box (sealift status)"
    )
    if damaged:
        raise DigestMismatch(
            f"{len(damaged)} object(s) of a release on this box are damaged, and this delta builds on them"
            f"{made_for}; nothing was changed",
            problems=[f"object {canonical.short(sha256)}" for sha256 in damaged[:10]],
            next_step=next_step,
        )
    raise MissingPart(
        f"{len(absent)} object(s), {size / 1e6:.1f} MB, neither travel nor are on this box: this delta was{made_for}; "
        "nothing was changed",
        next_step=next_step,
    )


def _made_for(bundle: VerifiedBundle) -> str:
    bases = [f"{base.version} ({canonical.short(base.identity)})" for base in bundle.bases]
    where = f"a box that has {bundle.release.product} {' or '.join(bases)}" if bases else "another box"
    return f" made for {where}"


def _require_exec(prefix: Prefix) -> None:
    folder = prefix.root
    while not folder.exists():
        folder = folder.parent
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise HostError(
            f"{folder} is on a file system mounted noexec: a release's libraries cannot be loaded from there; "
            "nothing was changed",
            next_step="mount it with exec (mount -o remount,exec), or choose another place with --prefix",
        )


def sweep_partial(folder: Path) -> Iterator[Path]:
    """Remove what was never finished or is condemned below `releases/NAME`; yields what it removed."""
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if path.name.endswith((PARTIAL, CONDEMNED)):
                shutil.rmtree(path, ignore_errors=True)
                reached(Step.TREE_GONE, path)
                yield path
