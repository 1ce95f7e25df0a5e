"""The running sealift -> its own files for the box."""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import sealift
from sealift.errors import UsageError

CONNECTED_ONLY = (
    "carry/*",
    "cli/against.py",
    "cli/assembling.py",
    "cli/carrying.py",
    "cli/demo.py",
    "cli/explaining.py",
    "cli/export*.py",
    "cli/init.py",
    "cli/keys.py",
    "cli/lock.py",
    "cli/optimize.py",
    "cli/pack.py",
    "cli/recording.py",
    "cli/signing.py",
    "cli/tool_making.py",
    "collect/*",
    "demo/*",
    "migrate/*",
    "model/graph_*.py",
    "model/onnx_graph.py",
    "optimize/*",
    "pack/*",
    "project/forward.py",
    "project/optimized.py",
    "project/scaffold.py",
    "project/served.py",
    "project/templates.py",
    "project/weights_scaffold.py",
    "tool/head.sh",
    "tool/make.py",
    "tool/runfile.py",
    "scale/*",
)
"""What stays on the connected machine: patterns of paths inside the package; `*` spans folders.

These alone may import the packages of the extra `pack` that the box does not have (onnx, pip, installer,
packaging, cyclonedx)."""
PACKAGE = Path(sealift.__file__).resolve().parent
BOOT = "boot.py"


def is_box_side(path: str) -> bool:
    """Claims that a file of the package (`serve/worker.py`) travels to the box."""
    return not any(fnmatchcase(path, pattern) for pattern in CONNECTED_ONLY)


def box_side_files(package: Path = PACKAGE) -> tuple[str, ...]:
    """Paths inside the package that travel, sorted; compiled files and editors' leavings do not."""
    files = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return tuple(sorted(str(p) for p in files if is_box_side(p.as_posix()) and not _is_leaving(p)))


def _is_leaving(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts) or path.name.endswith(
        "~"
    )


def copy_box_side(destination: Path) -> tuple[str, ...]:
    """Write `sealift/...` and `boot.py` into the root of the runtime layer.

    Returns: the paths written, below `destination`, sorted.
    Raises: UsageError: a wheel has put a file of these names there already.
    """
    wanted = {f"sealift/{name}": PACKAGE / name for name in box_side_files()}
    wanted[BOOT] = PACKAGE / "collect" / BOOT
    taken = [name for name in wanted if (destination / name).exists()]
    if taken:
        raise UsageError("A wheel of the runtime layer brings files of sealift's own names.", problems=taken)
    for name, source in wanted.items():
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(0o644)
    return tuple(sorted(wanted))
