"""Which installed trees the processes of this machine run from."""

from __future__ import annotations

from pathlib import Path


def is_in_use(tree: Path) -> bool:
    """Claims that a process runs on an interpreter that lies in `tree`.

    As far as this user may look (proc(5), `/proc/PID/exe`): root sees all, and an owner of a prefix their own.
    """
    inside = f"{tree.resolve()}/"
    return any(_executable(process).startswith(inside) for process in Path("/proc").glob("[0-9]*"))


def _executable(process: Path) -> str:
    try:
        return str((process / "exe").readlink())
    except OSError:  # it has ended, or belongs to somebody else
        return ""
