"""Giving space back: trees that are no release, and what no release needs any more.

Everything is derived from the records: running it again after a cut finishes it, and it never removes what a
recorded release needs. The caller holds the prefix's lock.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealift.bundle.documents import decode_manifest, decode_release
from sealift.errors import BundleError, StoreError
from sealift.store.files import remove_file, storing, sync_folder
from sealift.store.prefix import Prefix
from sealift.store.receiving import read_receiving
from sealift.store.releases import installed_releases
from sealift.store.staging import CONDEMNED, sweep_partial
from sealift.store.steps import Step, reached

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What was given back: bytes and files of objects that nothing needs."""

    objects: int = 0
    size: int = 0


def forget_release(prefix: Prefix, name: str, tree: str) -> None:
    """The record first, durably: from then on the tree is nobody's; then the tree itself."""
    remove_file(prefix.records(name) / f"{tree}.json")
    condemn_tree(prefix.releases(name) / tree)


def condemn_tree(tree: Path) -> None:
    """Remove a tree in two steps: a half-removed one never has a release's name."""
    condemned = tree.with_name(tree.name + CONDEMNED)
    with storing(tree):
        if tree.is_dir():
            tree.rename(condemned)
            sync_folder(tree.parent)
            reached(Step.TREE_CONDEMNED, tree)
        shutil.rmtree(condemned, ignore_errors=True)
        reached(Step.TREE_GONE, tree)


def sweep(prefix: Prefix) -> Swept:
    """Remove unfinished and unrecorded trees, then manifests and objects that no recorded release needs.

    A release that comes in volumes counts as one.

    Where a recorded release's own documents cannot be read, nobody knows what it needs: then all objects stay.
    """
    folder = prefix.root / "releases"
    for service in sorted(folder.iterdir()) if folder.is_dir() else ():
        sweep_trees(prefix, service)
    try:
        manifests, needed = _needed(prefix)
    except (StoreError, BundleError) as error:
        log.warning("no space is given back: %s", error.message)
        return Swept()
    for path in _files_of(prefix.manifests):
        if path.name.startswith(".") or path.stem not in manifests:
            path.unlink()
            reached(Step.MANIFEST_GONE, path)
    count = size = 0
    for shard in sorted(prefix.objects.iterdir()) if prefix.objects.is_dir() else ():
        for path in _files_of(shard):
            if path.name not in needed:
                count, size = count + 1, size + path.stat().st_size
                path.unlink()
                reached(Step.OBJECT_GONE, path)
        if not any(shard.iterdir()):
            shard.rmdir()
    return Swept(count, size)


def sweep_trees(prefix: Prefix, service: Path) -> None:
    """Remove unfinished, condemned and unrecorded trees of one service."""
    for _ in sweep_partial(service):
        pass
    recorded = {release.tree.name for release in installed_releases(prefix, service.name)}
    for tree in sorted(service.iterdir()):
        if tree.name not in recorded:
            condemn_tree(tree)
    if not any(service.iterdir()):
        service.rmdir()


def _needed(prefix: Prefix) -> tuple[set[str], set[str]]:
    """(manifest digests, names of objects) of every recorded release, and of one that comes in volumes."""
    manifests: set[str] = set()
    folder = prefix.state / "releases"
    for service in sorted(folder.iterdir()) if folder.is_dir() else ():
        for release in installed_releases(prefix, service.name):
            with storing(release.tree):
                document = decode_release((release.tree / "release.json").read_bytes())
            manifests |= {ref.manifest for ref in document.layers.values()}
    coming = read_receiving(prefix)
    manifests |= set(coming.manifests) if coming is not None else set()
    objects: set[str] = set()
    for digest in manifests:
        path = prefix.manifests / f"{digest}.json"
        with storing(path):
            data = path.read_bytes()
        files = decode_manifest(data, f"manifest {digest[:8]}")
        objects |= {entry.sha256 + ("-x" if entry.executable else "") for entry in files.values()}
    return manifests, objects


def _files_of(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.is_file() or path.is_symlink())
