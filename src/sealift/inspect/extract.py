"""A bundle -> plain files under their real names, for the virus scanner; never anything that can run."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sealift.bundle.documents import FileEntry
from sealift.bundle.read import FindBase, UnverifiedBundle, copy_from, no_base
from sealift.errors import HostError, NoSpace, UsageError
from sealift.events import Progress
from sealift.inspect.listing import listed
from sealift.inspect.visible import counted, visible


@dataclass(frozen=True, slots=True)
class Extracted:
    """What lies under `folder` now. `left_out` files do not travel; `patches` do, made from what is not here."""

    folder: Path
    files: int
    size: int
    left_out: int
    patches: int


def extract(
    bundle: UnverifiedBundle, destination: Path, progress: Progress, base: FindBase = no_base
) -> Extracted:
    """Write every file that travels as `destination/layer/path`, mode 0644, each digest checked on the way.

    The folder appears whole or not at all.

    Raises: UsageError: the destination is a link, a file, a folder with something in it, or has no parent.
        NoSpace, HostError: the disk refuses. DigestMismatch, MalformedBundle: damaged objects.
    """
    refuse_destination(destination)
    files = listed(bundle)
    here = [(path, entry) for path, entry in files if _is_at_hand(bundle, entry.sha256, base)]
    size = sum(entry.size for _, entry in here)
    _require_space(destination.parent, size)
    progress.start("extract", size)
    try:
        building = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
        try:
            _write(bundle, building, here, base, progress)
            _publish(building, destination)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise _refusal(destination, error) from error
    left_out = sum(entry.sha256 not in bundle.objects for _, entry in files)
    return Extracted(destination, len(here), size, left_out, len(files) - len(here) - left_out)


def _is_at_hand(bundle: UnverifiedBundle, sha256: str, base: FindBase) -> bool:
    stored = bundle.objects.get(sha256)
    return stored is not None and (stored.source is None or base(stored.source) is not None)


def refuse_destination(destination: Path) -> None:
    """Raises: UsageError: anything but a new name, or an empty folder, in a folder that exists."""
    what = f"--extract {destination}"
    if destination.is_symlink():
        raise UsageError(f"{what}: a link", next_step="name a new folder")
    if not destination.absolute().parent.is_dir():
        raise UsageError(f"{what}: {destination.absolute().parent} is no folder", next_step="make it first")
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{what}: exists and is not an empty folder", next_step="name a new folder")


def _write(
    bundle: UnverifiedBundle,
    building: Path,
    files: list[tuple[str, FileEntry]],
    base: FindBase,
    progress: Progress,
) -> None:
    first: dict[str, Path] = {}
    for name, entry in files:
        path = building.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x": a name that this file system takes for an earlier one fails instead of writing over it.
        with path.open("xb") as sink:
            if entry.sha256 in first:
                with first[entry.sha256].open("rb") as source:
                    shutil.copyfileobj(source, sink, 1 << 20)
            else:
                copy_from(bundle, entry.sha256, sink, base)
        path.chmod(0o644)
        first.setdefault(entry.sha256, path)
        progress.advance(entry.size)


def _publish(building: Path, destination: Path) -> None:
    for base, folders, _ in os.walk(building):
        for folder in folders:
            Path(base, folder).chmod(0o755)
    building.chmod(0o755)
    if destination.exists():
        destination.rmdir()
    building.rename(destination)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpace(
            f"{folder}: not enough room",
            problems=[f"needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"],
            next_step="free space, or name another place with --extract",
        )


def _refusal(destination: Path, error: OSError) -> HostError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{destination}: the disk is full", next_step="free space, then again")
    where = visible(str(error.filename or destination))
    return HostError(f"{where}: {error.strerror}", next_step="name another place with --extract")


def in_words(extracted: Extracted) -> str:
    """What lies there now, and what does not."""
    text = f"extracted {counted(extracted.files, 'file')} to {extracted.folder}, every digest checked"
    if extracted.left_out:
        text += f"; not in this bundle: {counted(extracted.left_out, 'file')}"
    if extracted.patches:
        text += (
            f"; NOT EXTRACTED: {counted(extracted.patches, 'file')} that travel as patches of what is not here "
            "(name the bundle that the box has with --against OLD)"
        )
    return text
