"""Wish + Target -> an interpreter in a folder of the runtime layer, which runs wherever the folder lies."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealift.collect.interpreter.archive import processor_note, unpacked_archive
from sealift.collect.interpreter.fetch import fetch_archive
from sealift.collect.interpreter.installed import installed_cpython
from sealift.collect.interpreter.lean import without_debug_symbols
from sealift.collect.interpreter.plan import Plan, plan_of
from sealift.collect.interpreter.proof import prove
from sealift.collect.interpreter.relocate import clean_build_values, forget_folders, set_search_paths
from sealift.collect.interpreter.source import Source
from sealift.collect.interpreter.texts import FOLDER, licence_texts
from sealift.events import Progress
from sealift.target.host import read_host
from sealift.target.interpreter import own_base
from sealift.target.target import Target


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
        archive. IncompatibleHost: no CPython of that X.Y on this machine. FileExistsError: `destination` is there.
    """
    if destination.exists():
        raise FileExistsError(destination)
    with tempfile.TemporaryDirectory(prefix="sealift-interpreter-") as scratch:
        source = _source(wish, target, Path(scratch), progress)
        progress.start(f"interpreter: {source.label}")
        made = Path(scratch) / "made"
        plan = plan_of(source, target)
        _write(plan, source, made)
        lacking = _write_texts(source, plan.libraries, made)
        notes = (*prove(made, source.version, target, plan.glibc), *lacking)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, destination)
    notes += tuple(filter(None, [processor_note(source.label)]))
    return Brought(source.version, plan.glibc, source.label, tuple(plan.libraries), notes)


def _source(wish: InterpreterWish, target: Target, scratch: Path, progress: Progress) -> Source:
    if wish.interpreter_archive is None:
        return installed_cpython(target, read_host(), os.environ, own_base())
    archive = fetch_archive(str(wish.interpreter_archive), wish.interpreter_sha256, scratch, progress)
    inside = scratch / "archive"
    inside.mkdir()
    return unpacked_archive(archive, target.python, inside, progress)


def _write(plan: Plan, source: Source, made: Path) -> None:
    """Copy, and let go of the machine."""
    for name, path in plan.files.items():
        _copy(path, made / name, executable=name == plan.program)
    objects = [made / name for name in plan.objects]
    for path in objects:
        path.write_bytes(without_debug_symbols(path.read_bytes()))
    set_search_paths(made, objects, made / "lib")
    for path in objects:
        path.write_bytes(forget_folders(path.read_bytes(), source.built_for))
    for path in sorted(made.glob("lib*/python3*/_sysconfigdata*.py")) if source.built_for else ():
        text = path.read_text(encoding="utf-8")
        path.write_text(clean_build_values(text, source.built_for), encoding="utf-8")


def _write_texts(source: Source, libraries: Mapping[str, Path], made: Path) -> tuple[str, ...]:
    texts, lacking = licence_texts(source, libraries)
    for name, path in texts.items():
        _copy(path, made / FOLDER / name, executable=False)
    found_none = f"no licence text was found on this machine for: {', '.join(lacking)}"
    return (found_none,) if lacking else ()


def _copy(path: Path, to: Path, *, executable: bool) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)  # follows links: a bundle knows none
    to.chmod(0o755 if executable else 0o644)
