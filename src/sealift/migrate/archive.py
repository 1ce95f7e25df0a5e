"""A TorchServe archive (`.mar`, a zip) -> its folder. What could fill the disk or write elsewhere is refused first."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from sealift.errors import UsageError

_MOST_BYTES: Final = 16 * 10**9
_MOST_FILES: Final = 10_000
_FREE_BYTES: Final = 64 * 10**6
"""Below this no archive is called a bomb: a model of zeros compresses very well."""
_MOST_EXPANSION: Final = 100


def unpack_archive(archive: Path, folder: Path) -> Path:
    """Unpack into `folder`, which is made. Returns: `folder`.

    Raises: UsageError: no zip, damaged, a name that leads out of the folder, a link, or far more than the archive's
        own size; all problems at once, and nothing is unpacked.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            problems = list(_problems(opened, archive.stat().st_size))
            if problems:
                raise UsageError(f"{archive} is refused; nothing was unpacked", problems=problems[:20])
            for entry in opened.infolist():
                _write(opened, entry, folder / entry.filename)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise UsageError(f"{archive} cannot be unpacked: {error}", next_step="copy it again") from error
    return folder


def _problems(opened: zipfile.ZipFile, size_bytes: int) -> Iterator[str]:
    entries = opened.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_FILES:
        yield f"{len(entries)} files, at most {_MOST_FILES} are read"
    if total > _MOST_BYTES or total > max(_FREE_BYTES, _MOST_EXPANSION * size_bytes):
        yield f"it would grow from {size_bytes / 1e6:.1f} to {total / 1e6:.1f} MB (a zip bomb?)"
    seen: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts:
            yield f"{entry.filename!r}: its path leads out of the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield f"{entry.filename!r}: it is a link"
        if path.as_posix() in seen:
            yield f"{entry.filename!r}: it stands twice"
        seen.add(path.as_posix())


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile stops at the size that the directory states, which was counted above
    with opened.open(entry) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
