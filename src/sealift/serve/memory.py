"""How much memory this process holds, and a second worker may still take on this box; standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_UNLIMITED: Final = "max"
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What can be had without swapping: of the machine and of every control group this process is in.

    None where neither tells. Sources: proc(5) MemAvailable; Linux, "Control Group v2", memory.max.
    """
    found = [*_machine(proc), *(left for folder in _groups(proc, groups) for left in _left(folder))]
    return min(found, default=None)


def _machine(proc: Path) -> Iterator[int]:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _groups(proc: Path, root: Path) -> Iterator[Path]:
    """The v2 group of this process and those around it; a limit of any of them holds."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        if line.startswith("0::/"):
            inner = Path(line.removeprefix("0::/"))
            yield from (root / folder for folder in (inner, *inner.parents) if ".." not in folder.parts)


def _left(folder: Path) -> Iterator[int]:
    limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
    if limit and used and limit != _UNLIMITED:
        yield max(0, int(limit) - int(used) + _file_cache(folder))


def _file_cache(folder: Path) -> int:
    """Files that were read count as used, although the kernel drops them as soon as memory is wanted."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, size = line.partition(" ")
        if name == "inactive_file":
            return int(size)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def resident_bytes() -> float:
    """Resident memory of this process; 0 where /proc is not mounted."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * _PAGE_BYTES
