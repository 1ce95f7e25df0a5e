"""Source + Target -> which files travel, decided before one is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.collect.interpreter.left_out import left_out
from sealift.collect.interpreter.libraries import elf_of, gather
from sealift.collect.interpreter.source import Source
from sealift.errors import UsageError
from sealift.target.elf import glibc_needed
from sealift.target.target import Target, version_key


@dataclass(frozen=True, slots=True)
class Plan:
    """`files` maps a path below the interpreter's folder to the file it is copied from, sorted; `objects` are those
    of them that a loader reads; `libraries` the gathered ones by name; `glibc` the newest that any object needs."""

    program: str
    files: Mapping[str, Path]
    objects: tuple[str, ...]
    libraries: Mapping[str, Path]
    glibc: str


def plan_of(source: Source, target: Target) -> Plan:
    """What of `source` makes an interpreter for `target`.

    Raises: UsageError: it is for another system, lacks libraries, or needs a newer glibc; all of that kind at once.
    """
    _refuse_foreign(source, target)
    program = f"bin/python{source.python}"
    below = f"{source.platlibdir}/python{source.python}"
    files = {program: source.executable}
    files |= {f"{below}/{name}": path for path, name in _stdlib_files(source)}
    objects = [name for name in files if name == program or name.startswith(f"{below}/lib-dynload/")]
    libraries, problems = gather([files[name] for name in objects], source, target.machine)
    if problems:
        raise UsageError(f"{source.label} lacks libraries that it needs.", problems=problems)
    gathered = {f"lib/{name}": path for name, path in libraries.items()}
    files = dict(sorted((files | gathered).items()))
    objects = sorted([*objects, *gathered])
    floor = _floor({name: files[name] for name in objects}, source, target)
    return Plan(program, files, tuple(objects), libraries, floor)


def _stdlib_files(source: Source) -> Iterator[tuple[Path, str]]:
    """Every file of the standard library that travels, and its path below `lib/pythonX.Y`."""
    for root, below in ((source.stdlib, ""), (source.extensions, "lib-dynload/")):
        for path in sorted(root.rglob("*")):
            name = below + path.relative_to(root).as_posix()
            is_inside = root == source.stdlib and path.is_relative_to(source.extensions)
            if path.is_file() and not is_inside and left_out(name) is None:
                yield path, name


def _refuse_foreign(source: Source, target: Target) -> None:
    elf = elf_of(source.executable)
    machine = elf.machine if elf is not None else "no ELF file"
    loader = (elf.interpreter if elf is not None else None) or ""
    if machine != target.machine or "ld-musl" in loader:
        raise UsageError(
            f"{source.label} is for another system: expected {target.machine} with glibc, found {machine}"
            f"{' with musl' if 'ld-musl' in loader else ''}.",
            next_step=f"take the archive for {target.machine}-unknown-linux-gnu",
        )


def _floor(objects: Mapping[str, Path], source: Source, target: Target) -> str:
    """The newest glibc that any object asks for. Raises: UsageError: the target's is older."""
    floors = {
        name: floor
        for name, path in objects.items()
        if (elf := elf_of(path)) is not None and (floor := glibc_needed(elf)) is not None
    }
    floor = max(floors.values(), key=version_key, default="2.17")
    too_new = [name for name, needs in floors.items() if version_key(needs) > version_key(target.glibc)]
    if too_new:
        raise UsageError(
            f"{source.label} needs glibc {floor}; the target has {target.glibc}.",
            next_step="name an archive made for older systems in [target] interpreter_archive (those of "
            "python-build-standalone run from glibc 2.17), pack on a machine with the target's glibc, or name a path "
            "on the box in [target] interpreter",
            problems=[f"{name} needs glibc {floors[name]}" for name in too_new],
        )
    return floor
