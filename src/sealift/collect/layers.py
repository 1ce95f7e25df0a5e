"""Collected wheels -> the runtime and dependencies layers on disk."""

from __future__ import annotations

from pathlib import Path

from sealift.collect.box_side import copy_box_side
from sealift.collect.bytecode import compile_tree
from sealift.collect.lock import Collected
from sealift.collect.unpack import unpack_wheels
from sealift.events import Progress


def write_layers(collected: Collected, tree: Path, interpreter: Path, progress: Progress) -> tuple[str, ...]:
    """Write `tree/runtime` (sealift's box side and what it needs) and `tree/dependencies`, compiled.

    Args:
        interpreter: the target's, to compile with.
    Returns: sentences for people about what was left out.
    Raises: UsageError: wheels that collide or are unsafe. HostError: the interpreter does not run.
    """
    notes: list[str] = []
    parts = (("runtime", collected.runtime), ("dependencies", collected.dependencies))
    for layer, wheels in parts:
        (tree / layer).mkdir(parents=True)
        progress.start(f"unpack {layer}")
        notes += unpack_wheels([wheel.path for wheel in wheels], tree / layer).notes
    copy_box_side(tree / "runtime")
    for layer, _ in parts:
        progress.start(f"compile {layer}")
        compile_tree(tree / layer, interpreter)
    return tuple(notes)
