"""`[target]` of the project + this machine -> Target. Standard library only."""

from __future__ import annotations

from typing import Protocol

from sealift.errors import ProjectError
from sealift.target.cuda import cuda_problem
from sealift.target.host import Host
from sealift.target.presets import Preset, presets
from sealift.target.target import BUNDLED, SYSTEM, Target

PYTHONS = ("3.11", "3.12", "3.13")
"""The interpreters that sealift's own box side is locked for."""
OLDEST_GLIBC = "2.28"
"""What the wheels of sealift's own box side need at least; taken on a machine without glibc."""


class Wish(Protocol):
    """The fields of `project.TargetWish` that are read here; its own room has checked their form."""

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
    def interpreter(self) -> str | None: ...  # noqa: D102
    @property
    def cuda(self) -> str | None: ...  # noqa: D102


def target_for(wish: Wish, host: Host, python: str) -> Target:
    """What the project asks for, completed from its preset and from the packing machine.

    Args:
        python: `X.Y` of the running tool, taken when the project names none.
    Raises: ProjectError: something that no box has, or that cannot be packed; all of it is named.
    """
    preset = presets()[wish.preset] if wish.preset is not None else None
    wanted = wish.python or python
    target = Target(
        platform=wish.platform or host.platform,
        python=wanted,
        glibc=wish.glibc or (preset.glibc if preset else host.glibc) or OLDEST_GLIBC,
        interpreter=wish.interpreter or _default_interpreter(preset, wanted),
        cpu=wish.cpu,
        kernel=wish.kernel,  # nothing in a release asks for a preset's: its system runs in containers too
        cuda=wish.cuda,
    )
    problems = _problems(target, preset)
    if problems:
        raise ProjectError("[target] asks for something that cannot be packed.", problems=problems)
    return target


def _default_interpreter(preset: Preset | None, python: str) -> str:
    """The box's own where the system is known to ship that X.Y, or nothing is known of it."""
    return SYSTEM if preset is None or preset.python == python else BUNDLED


def _problems(target: Target, preset: Preset | None) -> list[str]:
    problems = []
    if target.python not in PYTHONS:
        problems.append(f"[target] python: expected one of {', '.join(PYTHONS)}; got {target.python!r}")
    if preset is not None and target.platform not in preset.platforms:
        offered = " or ".join(preset.platforms)
        problems.append(f"[target] platform: {preset.name} is {offered}; got {target.platform!r}")
    if preset is not None and target.interpreter == SYSTEM and preset.python != target.python:
        problems.append(
            f"[target] interpreter: {preset.name} ships Python {preset.python}, expected {target.python}; write "
            f'interpreter = "{BUNDLED}", or its path on the box, such as "/opt/python/bin/python{target.python}"'
        )
    if target.cuda is not None and (problem := cuda_problem(target.cuda)) is not None:
        problems.append(f"[target] cuda: {problem}")
    return problems
