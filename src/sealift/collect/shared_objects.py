"""Assembled tree + Target -> every shared object will load there, or the pack ends."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.target.base import excuses
from sealift.target.elf import Elf, glibc_needed
from sealift.target.presets import gcc_runtime_of, presets
from sealift.target.resolve import Allowance, Finding, read_objects, resolve
from sealift.target.system_packages import FOLDER
from sealift.target.target import Target, version_key

OLDEST = "2.17"
"""What is said of a tree that needs less: no system that is known has an older one."""


_LIST: Final = {".deb": ("dpkg-deb", "--contents"), ".rpm": ("rpm", "--query", "--list", "--package")}
"""How the files in a package are listed."""


def check_shared_objects(tree: Path, target: Target, never_loaded: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Read the headers of every shared object of a release tree, and decide whether it loads on the target.

    Args:
        tree: with the layers as `write_layers` leaves them.
        target: as the project asks for it, before the glibc that is recorded is lowered to what wheels need.
        never_loaded: the project's `[target] never_loaded`.
    Returns: notes for those that may stay unresolved, one per library and reason.
    Raises: UsageError: objects that need a newer glibc or libstdc++ than the target has, are for another
        processor, broken, or need a library that is neither in the release nor on the target; all are named.
    """
    found = resolve(tree, target, Allowance(never_loaded, _brought(tree)))
    if found.problems:
        raise UsageError(
            f"{len({problem.path for problem in found.problems})} of {found.objects} shared objects do not "
            f"load on the target ({target}).",
            problems=[str(problem) for problem in found.problems],
            next_step="ask for versions whose wheels were built for it, or build them on a machine like the box; a "
            "library of the system's own travels by [target.packages]; an object that the service never loads "
            "is named in [target] never_loaded",
        )
    return _notes(found.excused)


def _notes(excused: Sequence[Finding]) -> tuple[str, ...]:
    """One sentence for each missing thing and reason, with how many objects lack it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in excused:
        groups.setdefault((finding.expected, finding.reason), []).append(finding.path)
    return tuple(
        f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: without {what}: {reason}"
        for (what, reason), paths in groups.items()
    )


def _brought(tree: Path) -> frozenset[str]:
    """Names of the libraries in the system packages that travel; of a package that cannot be listed, none."""
    names: set[str] = set()
    for path in sorted((tree / "application" / FOLDER).glob("*/*")):
        command = _LIST.get(path.suffix)
        if command is None or shutil.which(command[0]) is None:
            continue
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        # dpkg-deb prints a long listing, and "NAME -> TARGET" for a link.
        listed = (line.partition(" -> ")[0].rpartition("/")[2] for line in done.stdout.splitlines())
        names.update(name for name in listed if ".so" in name)
    return frozenset(names)


def glibc_floor_of(tree: Path, never_loaded: tuple[str, ...] = ()) -> str:
    """The oldest glibc that every shared object below `tree` loads with, by its symbol versions.

    A wheel's tag may promise more or less. libstdc++ and libgcc_s count by the oldest known system that has
    what is needed of them, unless they travel along. At least `OLDEST`.
    """
    allowance = Allowance(never_loaded)
    objects = {
        path: elf for path, elf in read_objects(tree)[0].items() if not _is_left_aside(path, allowance)
    }
    needed = [floor for elf in objects.values() if (floor := glibc_needed(elf)) is not None]
    floor = max((OLDEST, *needed), key=version_key)
    systems = {
        preset.glibc for preset in presets().values() if version_key(preset.glibc) > version_key(floor)
    }
    runtime = _needed_of_gcc(objects.values())
    for glibc in (floor, *sorted(systems, key=version_key)):
        levels = gcc_runtime_of(glibc).levels
        if all(version_key(levels[prefix]) >= key for prefix, key in runtime.items()):
            return glibc
    return floor


def _is_left_aside(path: str, allowance: Allowance) -> bool:
    """Claims that nobody minds if the object does not load on its C library."""
    inside = path.partition("/")[2]
    return allowance.skips(path) or any(x.excuses(inside, "libc.so.6", cuda=True) for x in excuses())


def _needed_of_gcc(objects: Collection[Elf]) -> dict[str, tuple[int, ...]]:
    """Prefix of a symbol version -> the newest that is asked of the box's own libstdc++ and libgcc_s."""
    carried = {elf.soname for elf in objects}
    found: dict[str, tuple[int, ...]] = {}
    for elf in objects:
        for library in {"libstdc++.so.6", "libgcc_s.so.1"} - carried:
            for version in elf.versions.get(library, ()):
                prefix, _, number = version.rpartition("_")
                if f"{prefix}_" in gcc_runtime_of(OLDEST).levels:
                    found[f"{prefix}_"] = max(found.get(f"{prefix}_", ()), version_key(number))
    return found
