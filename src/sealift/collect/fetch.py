"""Locked wheels -> files: from the cache by digest, else through pip, which checks the digest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sealift.collect.pip_download import CollectOptions, Request, download
from sealift.collect.pylock import Pin
from sealift.collect.wheel import sha256_of
from sealift.target.target import Target


def fetch_pins(
    pins: Sequence[Pin],
    target: Target,
    options: CollectOptions,
    folder: Path,
    pip_options: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Put the wheel of every pin into the empty `folder`.

    Args:
        pip_options: whole option lines for the head of pip's requirements file.
    Raises: as `pip_download.download`; no Conflict, for dependencies are not looked at.
    """
    folder.mkdir(parents=True)
    missing = [pin for pin in pins if not _from_cache(pin, options.cache, folder)]
    if missing:
        lines = [*pip_options, *(pin.line() for pin in missing)]
        request = Request(lines, dependencies=False)
        for wheel in download(request, target, options, folder / "downloaded"):
            _into_cache(wheel, options.cache)
            wheel.rename(folder / wheel.name)
        (folder / "downloaded").rmdir()
    return tuple(sorted(folder.glob("*.whl")))


def _from_cache(pin: Pin, cache: Path | None, folder: Path) -> bool:
    """Claims that the pin's wheel was in the cache, unharmed, and is now in `folder`."""
    if cache is None or len(pin.hashes) != 1:  # of several, only the index knows which one pip would take
        return False
    for wheel in sorted((cache / pin.hashes[0]).glob("*.whl")):
        if sha256_of(wheel) == pin.hashes[0]:
            shutil.copyfile(wheel, folder / wheel.name)
            return True
    return False


def _into_cache(wheel: Path, cache: Path | None) -> None:
    if cache is None:
        return
    home = cache / sha256_of(wheel)
    home.mkdir(parents=True, exist_ok=True)
    # Several packs may share a cache: a file appears whole, or not at all.
    handle, name = tempfile.mkstemp(dir=home)
    os.close(handle)
    shutil.copyfile(wheel, name)
    Path(name).replace(home / wheel.name)
