"""How large a file may be: what `--volumes` asks for, and what the medium's file system takes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import UsageError

FAT32_FILE_BYTES: Final = 2**32 - 1
"""A FAT directory entry holds 32 bits of size (Microsoft, "FAT: General Overview of On-Disk Format", 1.03)."""
DVD_BYTES: Final = 4_700_372_992 - 16 * 2**20
"""A single-layer DVD+R (2,295,104 sectors of 2,048 bytes; ECMA-349), less 16 MiB for the file system and the papers."""
_UNITS: Final = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_SIZE: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_FAT: Final = ("vfat", "msdos", "fat")


def volume_bytes(text: str) -> int:
    """`fat32`, `dvd`, `700MB`, `4.3GiB` -> the most bytes of one file. Raises: UsageError: none of these."""
    named = {"fat32": FAT32_FILE_BYTES, "dvd": DVD_BYTES}
    if text.lower() in named:
        return named[text.lower()]
    found = _SIZE.fullmatch(text)
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise UsageError(
            f"--volumes {text!r}: expected fat32, dvd or a size",
            next_step="for example: --volumes fat32, --volumes 700MB, --volumes 2GiB",
        )
    return int(float(found[1]) * _UNITS[found[2]])


@dataclass(frozen=True, slots=True)
class Room:
    """What a folder's file system takes: its kind, the bytes that are free, and the most that one file may have."""

    kind: str
    free: int
    most_per_file: int | None


def room_of(folder: Path, mounts: Path = _MOUNTS) -> Room:
    """Look at the medium; nothing is written. Raises: OSError."""
    kind = file_system_of(folder, mounts)
    facts = os.statvfs(folder)
    return Room(kind, facts.f_bavail * facts.f_frsize, FAT32_FILE_BYTES if kind in _FAT else None)


def file_system_of(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of file system that a folder lies on (`vfat`, `ext4`); `unknown` where the system does not say."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    for line in lines:  # proc(5): id, parent, major:minor, root, mount point, options, ... - type, source
        before, _, after = line.partition(" - ")
        if after and before.split()[2] == wanted:
            return after.split()[0]
    return "unknown"
