"""Collected wheels -> the runtime and dependencies layers on disk."""

from __future__ import annotations

from pathlib import Path

from sealift.collect.box_side import copy_box_side
from sealift.collect.bytecode import compile_tree
from sealift.collect.leave_out import in_words
from sealift.collect.lock import Collected
from sealift.collect.unpack import Unpacked, layer_clashes, unpack_wheels
from sealift.collect.wheel import LockedWheel
from sealift.errors import UsageError
from sealift.events import Progress

SHOWN_SKIPPED = 3


def write_layers(collected: Collected, tree: Path, interpreter: Path, progress: Progress) -> tuple[str, ...]:
    """Write `tree/runtime` (sealift's box side and what it needs) and `tree/dependencies`, compiled.

    A bundled interpreter that lies in `tree/runtime/python` already is compiled along.

    Args:
        interpreter: the target's, to compile with.
    Returns: sentences for people about what was left out or does not compile.
    Raises: UsageError: wheels that collide, hide each other or are unsafe. HostError: the interpreter
        does not run.
    """
    runtime = _unpack(collected.runtime, tree / "runtime", progress)
    dependencies = _unpack(collected.dependencies, tree / "dependencies", progress)
    clashes = layer_clashes(runtime, dependencies)
    if clashes:
        raise UsageError(
            "The application's packages would be hidden by those of sealift's box side",
            problems=clashes,
            next_step="leave them out of the project's requirements",
        )
    if meddling := [name for name in runtime.files if name.startswith("python/")]:
        raise UsageError(
            "A wheel brings files into the folder of the bundled interpreter.", problems=meddling
        )
    copy_box_side(tree / "runtime")
    notes = [*runtime.notes, *dependencies.notes, *in_words((*runtime.left, *dependencies.left))]
    for layer in ("runtime", "dependencies"):
        progress.start(f"compile {layer}")
        skipped = compile_tree(tree / layer, interpreter).skipped
        if skipped:
            names = ", ".join(name for name, _ in skipped[:SHOWN_SKIPPED])
            notes.append(f"{layer}: {len(skipped)} file(s) are no Python for this interpreter: {names}")
    return tuple(notes)


def _unpack(wheels: tuple[LockedWheel, ...], folder: Path, progress: Progress) -> Unpacked:
    folder.mkdir(parents=True, exist_ok=True)
    progress.start(f"unpack {folder.name}")
    return unpack_wheels([wheel.path for wheel in wheels], folder)
