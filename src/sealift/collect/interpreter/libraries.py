"""Where this machine keeps a shared library, as its loader would find it. Nothing is executed but `ldconfig`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from sealift.collect.interpreter.source import Source
from sealift.errors import MalformedBundle
from sealift.target.elf import Elf, read_elf

OF_THE_SYSTEM: Final = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
        "libanl.so.1",
        "libc.so.6",
        "libdl.so.2",
        "libgcc_s.so.1",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
        "libstdc++.so.6",
        "libutil.so.1",
    }
)
"""Never gathered: glibc's own parts must be of one version, and the compiler's libraries are shared with every
wheel, which may want newer ones than this machine's."""
_FOLDERS: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")


def gather(objects: Sequence[Path], source: Source, machine: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """What `objects` need beside the C library, and what that needs in turn.

    Args:
        machine: `x86_64`; a library for another one does not count as found.
    Returns: name as it is asked for (`libssl.so.3`) -> the file; and a sentence for each that is not to be had.
    """
    found: dict[str, Path] = {}
    problems: list[str] = []
    waiting = list(objects)
    missing: set[str] = set()
    while waiting:
        path = waiting.pop(0)
        elf = elf_of(path)
        for wanted in elf.needed if elf is not None else ():
            name = Path(wanted).name
            if name in OF_THE_SYSTEM or name in found or name in missing:
                continue
            place = _find(wanted, path, elf, source, machine)
            if place is None:
                missing.add(name)
                problems.append(f"{name}: needed by {path.name}, found nowhere")
            else:
                found[name] = place
                waiting.append(place)
    return dict(sorted(found.items())), tuple(sorted(problems))


def elf_of(path: Path) -> Elf | None:
    """As `read_elf`; None also for a file that begins as ELF and is none."""
    try:
        return read_elf(path)
    except MalformedBundle:
        return None


def _find(name: str, path: Path, elf: Elf | None, source: Source, machine: str) -> Path | None:
    # python-build-standalone asks for `$ORIGIN/../lib/libpython3.11.so.1.0`: a path, looked for nowhere else.
    places = [""] if "/" in name else _folders(path, elf, source)
    for folder in places:
        candidate = Path(folder) / _from(path, name)
        if candidate.is_file():
            found = elf_of(candidate)
            if found is not None and found.machine == machine:
                return candidate.resolve()
    return None


def _folders(path: Path, elf: Elf | None, source: Source) -> Iterator[str]:
    own = (*elf.rpath, *elf.runpath) if elf is not None else ()
    for folder in own:
        yield _from(path, folder)
    yield from map(str, source.libraries)
    if source.borrows:
        yield from _loader_folders()


def _from(path: Path, text: str) -> str:
    return text.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(path.parent))


@cache
def _loader_folders() -> tuple[str, ...]:
    """The folders in the loader's cache, in its order; then those that it searches without being told."""
    known: dict[str, None] = {}
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if os.access(program, os.X_OK):
            done = subprocess.run([program, "-p"], capture_output=True, text=True, check=False)
            places = (line.partition("=> ")[2].strip() for line in done.stdout.splitlines())
            known.update((str(Path(place).parent), None) for place in places if place)
            break
    return (*known, *(folder for folder in _FOLDERS if folder not in known))
