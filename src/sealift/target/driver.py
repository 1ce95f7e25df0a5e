"""The installer of NVIDIA's driver that a release may carry: its name says what it is. Standard library only."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Protocol

from sealift.target.cuda import driver_problem
from sealift.target.target import Target

FOLDER: Final = "driver"
"""In the application layer; one file lies there."""
SUFFIXES: Final = (".run", ".deb", ".rpm")
_PLACE: Final = f"application/{FOLDER}/"
_VERSION: Final = re.compile(r"(?<![0-9.])([0-9]{3}\.[0-9]{2,3}(\.[0-9]{2})?)(?![0-9])")
"""As NVIDIA names drivers since 2008: 470.57.02, 535.104.05, 580.126."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~-]{0,199}")
_MACHINES: Final = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "sbsa": "aarch64",
}


class Entry(Protocol):
    """A file of a release."""

    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class Listing(Protocol):
    """A bundle, as far as it is read here."""

    def files(self) -> Iterable[tuple[str, Entry]]:
        """Every file with its path, the layer first."""
        ...


@dataclass(frozen=True, slots=True)
class Installer:
    """One that a release carries; `size` in bytes."""

    name: str
    sha256: str
    size: int


def installer_version(name: str) -> str | None:
    """`NVIDIA-Linux-x86_64-470.57.02.run` -> `470.57.02`; None where the name says none."""
    found = _VERSION.search(name)
    return found[1] if found else None


def installer_problems(name: str, target: Target) -> tuple[str, ...]:
    """Why this file cannot be the driver's installer for that target; empty where it can."""
    problems = []
    if PurePath(name).suffix not in SUFFIXES or not _NAME.fullmatch(name):
        problems.append(f"expected a {', '.join(SUFFIXES)} file named in plain letters, got {name!r}")
    machine = next((word for word in _MACHINES if word in name), None)
    if machine is not None and _MACHINES[machine] != target.machine:
        problems.append(f"expected an installer for {target.machine}, got {name}")
    version = installer_version(name)
    if version is None:
        problems.append(f"expected the driver's version in the name, as in 470.57.02; got {name!r}")
    elif target.cuda is not None and (older := driver_problem(target.cuda, version)) is not None:
        problems.append(f"{older} in {name}")
    return tuple(problems)


def installer_in_bundle(bundle: Listing) -> Installer | None:
    """What a release carries; None: nothing, or nothing that a person should run."""
    for path, entry in bundle.files():
        name = path.removeprefix(_PLACE)
        if name != path and _NAME.fullmatch(name) and PurePath(name).suffix in SUFFIXES:
            return Installer(name, entry.sha256, entry.size)
    return None


def install_command(path: PurePath) -> str:
    """What root types to install the driver from `path`, as NVIDIA's README, dpkg(1) and rpm(8) say."""
    quoted = shlex.quote(str(path))
    return {
        ".run": f"sh {quoted} --silent",
        ".deb": f"dpkg --install {quoted}",
        ".rpm": f"rpm --upgrade {quoted}",
    }[path.suffix]
