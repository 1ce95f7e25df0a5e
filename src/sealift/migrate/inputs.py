"""What a person names as inputs -> the files."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from sealift.errors import UsageError


def expand_inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Files as they are named, folders as all files in them, patterns as what they match; each sorted.

    Hidden files of a folder are left out. `-` stays. Raises: UsageError: what is not there, or holds nothing; all of
    them at once.
    """
    found: list[str] = []
    problems = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
            continue
        files = _inside(path) if path.is_dir() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        problems += [] if files else [f"{name}: {'an empty folder' if path.is_dir() else 'no such file'}"]
        found += [file for file in files if Path(file).is_file()]
    if problems:
        raise UsageError("inputs that are not there", problems=problems)
    return tuple(found)


def _inside(folder: Path) -> list[str]:
    return sorted(
        str(entry) for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")
    )
