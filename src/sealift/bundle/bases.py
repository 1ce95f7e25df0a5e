"""Older bundles as what a box would have: their manifests, and their objects as files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from sealift.bundle.documents import encode_manifest
from sealift.bundle.read import UnverifiedBundle, copy_from
from sealift.errors import SealiftError


class BundleObjects:
    """The objects of some bundles as files below `folder`, written when one is first asked for and checked then.

    The folder is the caller's, who removes it. Calls may come from several threads.
    """

    def __init__(self, bundles: Sequence[UnverifiedBundle], folder: Path) -> None:
        self._bundles = bundles
        self._folder = folder
        self._lock = threading.Lock()

    def __call__(self, sha256: str) -> Path | None:
        """As `read.FindBase`. Raises: DigestMismatch, MalformedBundle: the bundle is damaged there."""
        bundle = next((bundle for bundle in self._bundles if _whole_in(bundle, sha256)), None)
        if bundle is None:
            return None
        path = self._folder / sha256
        with self._lock:
            if not path.exists():
                _extract(bundle, sha256, path)
        return path


def _extract(bundle: UnverifiedBundle, sha256: str, path: Path) -> None:
    building = path.with_suffix(".partial")
    try:
        with building.open("wb") as sink:
            copy_from(bundle, sha256, sink)
    except SealiftError as error:
        message = f"{bundle.source.name}: {error.message}"
        raise type(error)(message, next_step=error.next_step, problems=error.problems) from error
    building.rename(path)


def _whole_in(bundle: UnverifiedBundle, sha256: str) -> bool:
    stored = bundle.objects.get(sha256)
    return stored is not None and stored.source is None


def manifest_in(bundle: UnverifiedBundle, digest: str) -> bytes | None:
    """The bytes of a layer manifest of that bundle, as `read.Known`."""
    for name, ref in bundle.release.layers.items():
        if ref.manifest == digest and name not in bundle.lacking:
            return encode_manifest(bundle.manifests[name])
    return None
