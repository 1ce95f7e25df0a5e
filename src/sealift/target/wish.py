"""`[target]` of the project + this machine -> Target. Standard library only."""

from __future__ import annotations

from typing import Protocol

from sealift.errors import ProjectError
from sealift.target.host import Host
from sealift.target.target import PLATFORMS, Target, is_version

PYTHONS = ("3.11", "3.12", "3.13")
"""The interpreters that sealift's own box side is locked for."""
PRESETS = {
    "debian-11": "2.31",
    "debian-12": "2.36",
    "debian-13": "2.41",
    "kylin-v10": "2.28",
    "openeuler-22.03": "2.34",
    "rhel-8": "2.28",
    "rhel-9": "2.34",
    "rhel-10": "2.39",
    "ubuntu-20.04": "2.31",
    "ubuntu-22.04": "2.35",
    "ubuntu-24.04": "2.39",
}
"""Distribution -> its glibc. The interpreter is asked for separately: few ship a recent one."""


class Wish(Protocol):
    """The fields of `project.TargetWish` that are read here."""

    @property
    def preset(self) -> str | None: ...  # noqa: D102
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
    Raises: ProjectError: a value is out of range or not offered yet; all are named.
    """
    target = Target(
        platform=wish.platform or host.platform,
        python=wish.python or python,
        glibc=wish.glibc or PRESETS.get(wish.preset or "") or host.glibc or "2.28",
        interpreter=wish.interpreter,
        cpu=wish.cpu,
        kernel=wish.kernel,
        cuda=wish.cuda,
    )
    problems = [*_unknown(wish, target), *_not_offered(wish)]
    if problems:
        raise ProjectError("[target] asks for something that cannot be packed.", problems=problems)
    return target


def _unknown(wish: Wish, target: Target) -> list[str]:
    problems = []
    if wish.preset is not None and wish.preset not in PRESETS:
        problems.append(f"[target] preset: expected one of {', '.join(PRESETS)}; got {wish.preset!r}")
    if target.platform not in PLATFORMS:
        problems.append(f"[target] platform: expected one of {', '.join(PLATFORMS)}; got {target.platform!r}")
    if target.python not in PYTHONS:
        problems.append(f"[target] python: expected one of {', '.join(PYTHONS)}; got {target.python!r}")
    for name, value in (("glibc", target.glibc), ("kernel", target.kernel), ("cuda", target.cuda)):
        if value is not None and not is_version(value):
            problems.append(f"[target] {name}: expected a version like 2.31, got {value!r}")
    return problems


def _not_offered(wish: Wish) -> list[str]:
    problems = []
    if wish.interpreter == "bundled":
        problems.append(
            '[target] interpreter: "bundled" is not at hand yet; use "system" or an absolute path'
        )
    elif wish.interpreter != "system" and not wish.interpreter.startswith("/"):
        expected = '"system" or an absolute path on the box'
        problems.append(f"[target] interpreter: expected {expected}, got {wish.interpreter!r}")
    if wish.cuda is not None:
        problems.append("[target] cuda: packing for a GPU is not offered yet; leave it out")
    return problems
