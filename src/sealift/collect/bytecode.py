"""Compile a layer: the same bytes wherever, whenever and in whatever order it happens."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import HostError

# One process for each slice of the files. `unchecked-hash` makes the interpreter trust the file without a
# look at the source; the name compiled in is relative, so that the layer can live anywhere.
_DRIVER = """
import json, os, py_compile, sys, warnings
warnings.simplefilter("ignore")
os.chdir(sys.argv[1])
skipped = []
for name in json.load(sys.stdin):
    try:
        py_compile.compile(name, dfile=name, doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except (py_compile.PyCompileError, RecursionError, MemoryError) as error:
        skipped.append((name, str(error).strip().splitlines()[-1]))
json.dump(skipped, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Compiled:
    """`files`: how many were compiled. `skipped`: (path, reason) of those that are no Python for this
    interpreter (templates, test data, other versions); they stay as source."""

    files: int
    skipped: tuple[tuple[str, str], ...]


def compile_tree(root: Path, interpreter: Path, processes: int | None = None) -> Compiled:
    """Write `__pycache__` files for every `.py` below `root`.

    Args:
        interpreter: the target's own; its version decides the format.
        processes: how many at once; None for one per core.
    Raises: HostError: the interpreter does not run.
    """
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py") if path.is_file())
    if not names:
        return Compiled(0, ())
    count = max(1, min(processes or os.cpu_count() or 1, len(names) // 50 + 1))
    running = [_start(interpreter, root) for _ in range(count)]
    skipped: list[tuple[str, str]] = []
    for number, process in enumerate(running):
        assert process.stdin is not None  # noqa: S101  asked for in _start
        process.stdin.write(json.dumps(names[number::count]))
        process.stdin.close()
        process.stdin = None
    for process in running:
        output, errors = process.communicate()
        if process.returncode != 0:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            raise HostError(f"{interpreter} could not compile {root}: {last}")
        skipped += [(name, reason) for name, reason in json.loads(output)]
    return Compiled(len(names) - len(skipped), tuple(sorted(skipped)))


def _start(interpreter: Path, root: Path) -> subprocess.Popen[str]:
    # Not -I: it would ignore PYTHONHASHSEED, and the order of a set constant can reach the file.
    command = [str(interpreter), "-S", "-s", "-P", "-B", "-c", _DRIVER, str(root.absolute())]
    try:
        return subprocess.Popen(
            command,
            env={"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", os.defpath)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise HostError(f"{interpreter} does not start: {error.strerror}") from error
