"""`[target.packages]` -> files and their list in the application layer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from sealift.collect.system_packages.apt import collect_debs
from sealift.collect.system_packages.dnf import collect_rpms
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.project.project import Project
from sealift.target.system_packages import (
    FOLDER,
    LIST,
    Kind,
    SystemPackage,
    SystemPackages,
    encode_list,
)
from sealift.target.target import Target

_SHOWN = 8


def collect_packages(
    project: Project, target: Target, application: Path, progress: Progress
) -> tuple[str, ...]:
    """Write `application`/system-packages: the packages that the project asks of the box, and all that they need.

    Args:
        application: the folder of the application layer.
    Returns: sentences for the engineer; none where nothing is asked for.
    Raises: UsageError: as `collect_debs` and `collect_rpms`.
    """
    wish, preset = project.target.packages, project.target.preset
    asked = wish.deb or wish.rpm
    if not asked:
        return ()
    kind: Kind = "deb" if wish.deb else "rpm"
    folder = application / FOLDER
    with tempfile.TemporaryDirectory(prefix="sealift-packages-") as scratch:
        if kind == "deb":
            found = collect_debs(wish, target, preset, folder, Path(scratch), progress)
        else:
            found = collect_rpms(wish, target, preset, folder, Path(scratch), progress)
    _refuse_twice(found)
    carried = SystemPackages(kind, found)
    (folder / LIST).write_bytes(encode_list(carried))
    return _notes(carried, asked, signed=kind == "deb" or wish.keyring is not None)


def _refuse_twice(found: Sequence[SystemPackage]) -> None:
    """Raises: UsageError: one package in two builds; the box's package manager would take either."""
    names = [package.name for package in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("[target.packages] gives packages in two builds.", problems=twice)


def _notes(carried: SystemPackages, asked: Sequence[str], *, signed: bool) -> tuple[str, ...]:
    names = [package.name for package in carried.packages]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    travel = "1 system package travels" if len(names) == 1 else f"{len(names)} system packages travel"
    notes = [f"{travel}, {carried.size / 1e6:.1f} MB: {shown}"] if names else []
    there = [name for name in asked if name not in names]
    if there:
        notes.append(f"the box has already, so it does not travel: {', '.join(there)}")
    if names:
        notes.append("each system package has its licence in itself (/usr/share/doc or /usr/share/licenses)")
    if names and not signed:
        notes.append("[target.packages] names no keyring: nobody has checked who signed the RPM packages")
    return tuple(notes)
