"""Interpreter + box side + its few wheels -> the tree of sealift's own release."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sealift import __version__
from sealift.cli.main import GROUPS, load_verb, parser_of
from sealift.cli.pack import wheel_cache
from sealift.collect.box_side import copy_box_side, is_box_side
from sealift.collect.bytecode import compile_tree
from sealift.collect.fetch import fetch_pins
from sealift.collect.interpreter.bring import bring_interpreter
from sealift.collect.lock import Collected
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.collect.sbom import software_bill
from sealift.collect.tags import glibc_floor
from sealift.collect.unpack import unpack_wheels
from sealift.collect.wheel import LockedWheel, read_wheel
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.project.project import TargetWish
from sealift.store.prefix import TOOL
from sealift.target.host import own_python, read_host
from sealift.target.interpreter import bundled_interpreter, find_interpreter, own_base
from sealift.target.presets import PRESETS
from sealift.target.target import BUNDLED, Target, version_key
from sealift.target.wish import target_for
from sealift.tool.make import ToolFacts, write_application

WHEELS: Final = ("cffi", "cryptography", "pycparser", "tomlkit", "zstandard")
"""What the tool on the box imports, of all that the box side's lock pins; the rest is for workers."""
_WIDTH: Final = 98


@dataclass(frozen=True, slots=True)
class ToolWish:
    """What the box will be and where the interpreter comes from; None: as on this machine."""

    preset: str | None = None
    platform: str | None = None
    glibc: str | None = None
    python: str | None = None
    interpreter_archive: str | None = None
    interpreter_sha256: str | None = None
    find_links: tuple[str, ...] = ()
    no_index: bool = False


@dataclass(frozen=True, slots=True)
class MadeTool:
    """A complete tree. `target` asks for the C library that its parts really need; `python` is `3.11.7`."""

    version: str
    python: str
    target: Target
    bill: Callable[[str], bytes]
    notes: tuple[str, ...]


def target_of(wish: ToolWish) -> Target:
    """Raises: UsageError, ProjectError: no such preset, or nothing can be made for it."""
    return target_for(_as_project(wish), read_host(), own_python())


def make_tool(wish: ToolWish, target: Target, tree: Path, progress: Progress) -> MadeTool:
    """Write `tree/runtime`, an empty `tree/dependencies` and `tree/application`.

    Raises: UsageError: no interpreter or no wheel for the target. HostError: this machine cannot compile it.
    """
    runtime = tree / "runtime"
    (tree / "dependencies").mkdir(parents=True)
    brought = bring_interpreter(wish, target, runtime / "python", progress)
    wheels, notes = _wheels(wish, target, runtime, progress)
    copy_box_side(runtime)
    progress.start("compile")
    compile_tree(runtime, _compiler(tree, target, brought.glibc))
    packages = {wheel.name: wheel.version for wheel in wheels}
    facts = ToolFacts(__version__, brought.version, packages)
    write_application(tree / "application", facts, help_pages())
    floor = glibc_floor([wheel.filename for wheel in wheels], target)
    needed = max(floor, brought.glibc, key=version_key)
    return MadeTool(
        version=__version__,
        python=brought.version,
        target=replace(target, glibc=needed) if wish.preset is None and wish.glibc is None else target,
        bill=_bill(wheels, needed),
        notes=(*brought.notes, *notes),
    )


def _as_project(wish: ToolWish) -> TargetWish:
    if wish.preset is not None and wish.preset not in PRESETS:
        raise UsageError(f"--target {wish.preset}: expected one of {', '.join(PRESETS)}")
    return TargetWish(
        preset=wish.preset,
        platform=wish.platform,
        glibc=wish.glibc or PRESETS.get(wish.preset or ""),
        python=wish.python,
        interpreter=BUNDLED,
    )


def _wheels(
    wish: ToolWish, target: Target, runtime: Path, progress: Progress
) -> tuple[tuple[LockedWheel, ...], tuple[str, ...]]:
    pins = [pin for pin in BoxSide().pins(target) if pin.name in WHEELS]
    with tempfile.TemporaryDirectory(prefix="sealift-tool-wheels-") as folder:
        options = CollectOptions(
            folder=Path(folder),
            cache=wheel_cache(),
            find_links=wish.find_links,
            no_index=wish.no_index,
            progress=progress,
        )
        paths = fetch_pins(pins, target, options, Path(folder) / "fetched")
        wheels = tuple(sorted((read_wheel(path).wheel for path in paths), key=lambda wheel: wheel.name))
        progress.start("unpack wheels")
        return wheels, unpack_wheels(paths, runtime).notes


def _compiler(tree: Path, target: Target, floor: str) -> Path:
    """The carried interpreter itself where it runs here; else this machine's of that X.Y."""
    host = read_host()
    new_enough = host.glibc is not None and version_key(floor) <= version_key(host.glibc)
    if host.platform == target.platform and new_enough:
        return bundled_interpreter(tree, target.python)
    here = replace(target, platform=host.platform, glibc=host.glibc or target.glibc, interpreter="system")
    return find_interpreter(here, environ=os.environ, own_base=own_base()).path


class _Plain(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_WIDTH)


def help_pages() -> Mapping[str, str]:
    """The help of every verb that a box has, as it would print it."""
    names = [name for verbs in GROUPS.values() for name in verbs if is_box_side(f"cli/{name}.py")]
    pages: dict[str, str] = {}
    for name in names:
        verb = load_verb(name)
        if verb is not None:
            parser = parser_of(name, verb)
            parser.formatter_class = _Plain  # the same width whatever the terminal
            pages[name] = parser.format_help()
    return pages


def _bill(wheels: tuple[LockedWheel, ...], glibc: str) -> Callable[[str], bytes]:
    collected = Collected(wheels, (), frozenset(), glibc)

    def bill(created: str) -> bytes:
        return software_bill(TOOL, __version__, collected, (), datetime.fromisoformat(created))

    return bill
