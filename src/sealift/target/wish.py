"""`[target]` of the project + this machine -> Target. Standard library only."""

from __future__ import annotations

from typing import Protocol

from sealift.errors import ProjectError
from sealift.target.host import Host
from sealift.target.target import Target

PYTHONS = ("3.11", "3.12", "3.13")
"""The interpreters that sealift's own box side is locked for."""
OLDEST_GLIBC = "2.28"
"""What the wheels of sealift's own box side need at least; taken on a machine without glibc."""


class Wish(Protocol):
    """The fields of `project.TargetWish` that are read here; its own room has checked their form."""

    @property
    def platform(self) -> str | None: ...  # noqa: D102
    @property
    def glibc(self) -> str | None: ...  # noqa: D102
    @property
    def kernel(self) -> str | None: ...  # noqa: D102
    @property
    def cpu(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def python(self) -> str | None: ...  # noqa: D102
    @property
    def interpreter(self) -> str: ...  # noqa: D102
    @property
    def cuda(self) -> str | None: ...  # noqa: D102


def target_for(wish: Wish, host: Host, python: str) -> Target:
    """What the project asks for, completed from the packing machine.

    Args:
        python: `X.Y` of the running tool, taken when the project names none.
    Raises: ProjectError: something that cannot be packed yet; all of it is named.
    """
    target = Target(
        platform=wish.platform or host.platform,
        python=wish.python or python,
        glibc=wish.glibc or host.glibc or OLDEST_GLIBC,
        interpreter=wish.interpreter,
        cpu=wish.cpu,
        kernel=wish.kernel,
        cuda=wish.cuda,
    )
    problems = []
    if target.python not in PYTHONS:
        problems.append(f"[target] python: expected one of {', '.join(PYTHONS)}; got {target.python!r}")
    if wish.cuda is not None:
        problems.append("[target] cuda: packing for a GPU is not offered yet; leave it out")
    if problems:
        raise ProjectError("[target] asks for something that cannot be packed.", problems=problems)
    return target
