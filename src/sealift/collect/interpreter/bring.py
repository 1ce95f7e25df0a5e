"""Wish + Target -> an interpreter in a folder of the runtime layer, which runs wherever the folder lies."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealift.collect.interpreter.archive import processor_note, unpacked_archive
from sealift.collect.interpreter.fetch import fetch_archive
from sealift.collect.interpreter.installed import installed_cpython
from sealift.collect.interpreter.lean import without_debug_symbols
from sealift.collect.interpreter.left_out import left_out
from sealift.collect.interpreter.libraries import elf_of, gather
from sealift.collect.interpreter.proof import prove
from sealift.collect.interpreter.relocate import clean_build_values, forget_folders, set_search_paths
from sealift.collect.interpreter.source import Source
from sealift.collect.interpreter.texts import FOLDER, licence_texts
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.target.elf import glibc_needed
from sealift.target.host import read_host
from sealift.target.interpreter import own_base
from sealift.target.target import Target, version_key


class InterpreterWish(Protocol):
    """The fields of `[target]` that are read here; its own room has checked their form."""

    @property
    def interpreter_archive(self) -> Path | str | None: ...  # noqa: D102
    @property
    def interpreter_sha256(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Brought:
    """What lies in the folder now.

    `version` is `3.11.7`; `glibc` is the oldest that every object of it runs with (`2.34`); `source` says
    where it came from; `libraries` are those of the system that travel along (`libssl.so.3`); `notes` are
    sentences for people.
    """

    version: str
    glibc: str
    source: str
    libraries: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def bring_interpreter(
    wish: InterpreterWish, target: Target, destination: Path, progress: Progress
) -> Brought:
    """Write `bin/pythonX.Y`, `lib/pythonX.Y` and the libraries they need into `destination`.

    The same source gives the same bytes, wherever and whenever. Nothing of the machine's packages travels.

    Args:
        wish: an archive, or none: then the CPython of that X.Y on this machine is made relocatable.
        destination: does not exist yet; its parents are made.
    Raises: UsageError: nothing for this target can be made of it, all problems at once. DigestMismatch: the
        archive. IncompatibleHost: no CPython of that X.Y on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="sealift-interpreter-") as scratch:
        source = _source(wish, target, Path(scratch), progress)
        progress.start(f"interpreter: {source.label}")
        made = Path(scratch) / "made"
        libraries = _make(source, target, made)
        lacking = _write_texts(source, libraries, made)
        floor = _floor(made, source, target)
        notes = (*prove(made, source.version, target, floor), *lacking)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, destination)
    notes += tuple(filter(None, [processor_note(source.label)]))
    return Brought(source.version, floor, source.label, tuple(libraries), notes)


def _source(wish: InterpreterWish, target: Target, scratch: Path, progress: Progress) -> Source:
    if wish.interpreter_archive is None:
        return installed_cpython(target, read_host(), os.environ, own_base())
    archive = fetch_archive(str(wish.interpreter_archive), wish.interpreter_sha256, scratch, progress)
    inside = scratch / "archive"
    inside.mkdir()
    return unpacked_archive(archive, target.python, inside, progress)


def _make(source: Source, target: Target, made: Path) -> dict[str, Path]:
    """Copy, gather, and let go of the machine; returns the gathered libraries, name -> where they were."""
    program = made / "bin" / f"python{source.python}"
    _copy(source.executable, program, executable=True)
    stdlib = made / source.platlibdir / f"python{source.python}"
    extensions = stdlib / "lib-dynload"
    origins = {program: source.executable}
    for path, name in _stdlib_files(source):
        _copy(path, stdlib / name, executable=False)
        if (stdlib / name).parent == extensions:
            origins[stdlib / name] = path
    extensions.mkdir(parents=True, exist_ok=True)  # getpath knows the folder by its name
    _refuse_foreign(program, source, target)
    found, problems = gather(list(origins.values()), source, target.machine)
    if problems:
        raise UsageError(f"{source.label} lacks libraries that it needs.", problems=problems)
    for name, path in found.items():
        _copy(path, made / "lib" / name, executable=False)
    _let_go(made, source, [*origins, *(made / "lib" / name for name in found)])
    return found


def _write_texts(source: Source, libraries: Mapping[str, Path], made: Path) -> tuple[str, ...]:
    texts, lacking = licence_texts(source, libraries)
    for name, path in texts.items():
        _copy(path, made / FOLDER / name, executable=False)
    found_none = f"no licence text was found on this machine for: {', '.join(lacking)}"
    return (found_none,) if lacking else ()


def _stdlib_files(source: Source) -> Iterator[tuple[Path, str]]:
    """Every file of the standard library that travels, and its path below `lib/pythonX.Y`."""
    for root, below in ((source.stdlib, ""), (source.extensions, "lib-dynload/")):
        for path in sorted(root.rglob("*")):
            name = below + path.relative_to(root).as_posix()
            is_inside = root == source.stdlib and path.is_relative_to(source.extensions)
            if path.is_file() and not is_inside and left_out(name) is None:
                yield path, name


def _copy(path: Path, to: Path, *, executable: bool) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)  # follows links: a bundle knows none
    to.chmod(0o755 if executable else 0o644)


def _refuse_foreign(program: Path, source: Source, target: Target) -> None:
    elf = elf_of(program)
    machine = elf.machine if elf is not None else "no ELF file"
    loader = (elf.interpreter if elf is not None else None) or ""
    if machine != target.machine or "ld-musl" in loader:
        raise UsageError(
            f"{source.label} is for another system: expected {target.machine} with glibc, found {machine}"
            f"{' with musl' if 'ld-musl' in loader else ''}.",
            next_step=f"take the archive for {target.machine}-unknown-linux-gnu",
        )


def _let_go(made: Path, source: Source, objects: list[Path]) -> None:
    for path in objects:
        path.write_bytes(without_debug_symbols(path.read_bytes()))
    set_search_paths(made, objects, made / "lib")
    for path in objects:
        path.write_bytes(forget_folders(path.read_bytes(), source.built_for))
    for path in sorted(made.glob("lib*/python3*/_sysconfigdata*.py")) if source.built_for else ():
        text = path.read_text(encoding="utf-8")
        path.write_text(clean_build_values(text, source.built_for), encoding="utf-8")


def _floor(made: Path, source: Source, target: Target) -> str:
    """The newest glibc that any object asks for. Raises: UsageError: the target's is older."""
    floors = {
        path.relative_to(made).as_posix(): floor
        for path in sorted(made.rglob("*"))
        if path.is_file() and (elf := elf_of(path)) is not None and (floor := glibc_needed(elf)) is not None
    }
    floor = max(floors.values(), key=version_key, default="2.17")
    if version_key(floor) > version_key(target.glibc):
        too_new = sorted(
            name for name, needs in floors.items() if version_key(needs) > version_key(target.glibc)
        )
        raise UsageError(
            f"{source.label} needs glibc {floor}; the target has {target.glibc}.",
            next_step="name an archive made for older systems in [target] interpreter_archive (those of "
            "python-build-standalone run from glibc 2.17), pack on a machine with the target's glibc, or name a path "
            "on the box in [target] interpreter",
            problems=[f"{name} needs glibc {floors[name]}" for name in too_new],
        )
    return floor
