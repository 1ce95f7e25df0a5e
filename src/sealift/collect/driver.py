"""`[target] driver_installer` -> a file of the application layer."""

from __future__ import annotations

import shutil
from pathlib import Path

from sealift.errors import UsageError
from sealift.project.project import Project
from sealift.target.driver import FOLDER, installer_problems, installer_version
from sealift.target.target import Target


def carry_driver(project: Project, target: Target, application: Path) -> tuple[str, ...]:
    """Copy the driver's installer into `application`/driver, under its own name.

    Returns: a sentence for the engineer; none where no installer is named.
    Raises: UsageError: it is none, is for another machine, or its driver is too old for `[target] cuda`.
    """
    source = project.target.driver_installer
    if source is None:
        return ()
    problems = list(installer_problems(source.name, target))
    if target.cuda is None:
        problems.append(
            'expected [target] cuda beside it, such as "11.8": without a GPU nobody needs a driver'
        )
    if problems:
        raise UsageError(
            f"[target] driver_installer {source.name} does not fit this target.",
            problems=problems,
            next_step="give the installer of a newer driver, or another [target] cuda",
        )
    (application / FOLDER).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, application / FOLDER / source.name)
    version = installer_version(source.name)
    return (
        f"the installer of NVIDIA driver {version} travels; install offers it where the box's driver does not do",
    )
