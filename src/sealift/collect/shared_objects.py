"""Assembled tree + Target -> every shared object will load there, or the pack ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealift.errors import UsageError
from sealift.target.elf import glibc_key, glibc_needed
from sealift.target.resolve import Finding, read_objects, resolve
from sealift.target.target import Target

OLDEST = "2.17"
"""What is said of a tree that needs less: no system that is known has an older one."""


def check_shared_objects(tree: Path, target: Target) -> tuple[str, ...]:
    """Read the headers of every shared object of a release tree, and decide whether it loads on the target.

    Args:
        tree: with the layers as `write_layers` leaves them.
        target: as the project asks for it, before the glibc that is recorded is lowered to what wheels need.
    Returns: notes for those that may stay unresolved, one per library and reason.
    Raises: UsageError: objects that need a newer glibc or libstdc++ than the target has, are for another
        processor, broken, or need a library that is neither in the release nor on the target; all are named.
    """
    found = resolve(tree, target)
    if found.problems:
        raise UsageError(
            f"{len({problem.path for problem in found.problems})} of {found.objects} shared objects do not "
            f"load on the target ({target}).",
            problems=[str(problem) for problem in found.problems],
            next_step="ask for versions whose wheels were built for it, build them on a machine like the box, "
            "or choose another [target]; a library of the system's own: [target.packages]",
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


def glibc_floor_of(tree: Path) -> str:
    """The oldest glibc that every shared object below `tree` loads with, by its symbol versions.

    A wheel's tag may promise more or less. At least `OLDEST`.
    """
    objects, _ = read_objects(tree)
    needed = [floor for elf in objects.values() if (floor := glibc_needed(elf)) is not None]
    return max((OLDEST, *needed), key=lambda floor: glibc_key(f"GLIBC_{floor}") or ())
