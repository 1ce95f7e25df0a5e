"""An installed CPython of this machine -> Source."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sealift.collect.interpreter.source import Source
from sealift.errors import IncompatibleHost, UsageError
from sealift.target.host import Host
from sealift.target.interpreter import Interpreter, find_interpreter
from sealift.target.target import Target

_ASK = """
import json, os, sys, sysconfig
stdlib = os.path.dirname(os.__file__)
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "stdlib": stdlib,
    "extensions": sysconfig.get_config_var("DESTSHARED") or os.path.join(stdlib, "lib-dynload"),
    "platlibdir": sys.platlibdir,
    "built_for": [sysconfig.get_config_var(name) or "" for name in ("prefix", "abs_srcdir", "abs_builddir")],
    "libraries": [sysconfig.get_config_var("LIBDIR") or ""],
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""
OF_EVERY_MACHINE = {"", ".", "/usr", "/usr/local"}
"""Folders that are no secret of the machine that built it, and need no other name."""


def installed_cpython(
    target: Target, host: Host, environ: Mapping[str, str], own_base: Path | None
) -> Source:
    """The CPython of `target.python` that `find_interpreter` finds here.

    Raises: UsageError: this machine has another processor than the target. IncompatibleHost: none of that X.Y.
    """
    if host.platform != target.platform:
        raise UsageError(
            f"A bundled interpreter for {target.platform} cannot be made from one of this machine ({host.platform}).",
            next_step=f"name an archive for {target.machine} in [target] interpreter_archive",
        )
    try:
        found = find_interpreter(replace(target, interpreter="system"), environ=environ, own_base=own_base)
    except IncompatibleHost as error:
        raise IncompatibleHost(
            f"No CPython {target.python} on this machine to make the bundled interpreter from.",
            next_step=f"install python{target.python} here, or name an archive in [target] interpreter_archive",
            problems=error.problems,
        ) from error
    return source_of(found)


def source_of(found: Interpreter) -> Source:
    """Where the parts of an interpreter lie, as it says itself.

    Raises: UsageError: a build that a release does not run on.
    """
    # -S: what the machine's site-packages do at start-up is no part of it.
    command = [str(found.path), "-I", "-S", "-c", _ASK]
    lean = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        answer = json.loads(subprocess.run(command, env=lean, capture_output=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise UsageError(f"{found.path} does not say where its parts lie: {error}") from error
    if answer["free_threaded"]:
        raise UsageError(
            f"{found.path} is a free-threaded build; the wheels of a release are for the usual one."
        )
    folders = {folder.rstrip("/") for folder in answer["built_for"]} - OF_EVERY_MACHINE
    return Source(
        label=f"CPython {found.version} of the packing machine",
        version=found.version,
        platlibdir=answer["platlibdir"],
        executable=Path(answer["executable"]),
        stdlib=Path(answer["stdlib"]),
        extensions=Path(answer["extensions"]),
        built_for=tuple(sorted(folders, key=lambda folder: (-len(folder), folder))),
        libraries=tuple(Path(folder) for folder in answer["libraries"] if folder),
        borrows=True,
    )
