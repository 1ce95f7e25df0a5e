"""Real dnf, on an empty root of its own: nothing of this machine's packages counts or is touched."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sealift.collect.system_packages.base import rpm_names
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.project.project import SystemPackages
from sealift.target.system_packages import SystemPackage
from sealift.target.target import Target

_QUERY: Final = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"
_MACHINE: Final = Path("/etc/yum.repos.d")


def collect_rpms(
    wish: SystemPackages, target: Target, preset: str | None, folder: Path, scratch: Path, progress: Progress
) -> tuple[SystemPackage, ...]:
    """Download `wish.rpm` and all that they need, what `wish.installed` names left out, into `folder`/rpm.

    Args:
        preset: what the box runs; its last number is dnf's `$releasever`.
        scratch: an empty folder for dnf's root and cache.
    Raises: UsageError: no dnf here, no sources, unknown packages, demands that exclude each other, or a repository
        that cannot be reached or is not signed by the keyring.
    """
    for program in ("dnf", "rpm"):
        if shutil.which(program) is None:
            raise UsageError(
                f"{program} is not here, and it resolves what [target.packages] rpm asks for.",
                next_step="apt install dnf rpm (or pack on a machine of the box's kind)",
            )
    progress.start("download system packages")
    for name in ("packages", "log"):
        (scratch / name).mkdir()
    _dnf(_arguments(wish, target, preset, scratch))
    present = rpm_names(wish.installed) if wish.installed is not None else frozenset()
    (folder / "rpm").mkdir(parents=True, exist_ok=True)
    found = (_kept(path, wish, present, folder) for path in sorted((scratch / "packages").glob("*.rpm")))
    return tuple(package for package in found if package is not None)


def _arguments(wish: SystemPackages, target: Target, preset: str | None, scratch: Path) -> list[str]:
    repositories = scratch / "repos"
    repositories.mkdir()
    if wish.rpm_sources:
        (repositories / "sources.repo").write_text(_repositories(wish), encoding="utf-8")
    elif _MACHINE.is_dir() and any(_MACHINE.glob("*.repo")):
        shutil.copytree(_MACHINE, repositories, dirs_exist_ok=True)
    else:
        raise UsageError(
            "[target.packages] rpm: this machine has no repositories of RPM packages.",
            next_step='name the box\'s: rpm_sources = ["https://MIRROR/BaseOS/x86_64/os/"]',
        )
    settings = {
        "reposdir": repositories, "cachedir": scratch / "cache", "logdir": scratch / "log",
        "persistdir": scratch / "state", "install_weak_deps": "False", "pluginpath": scratch / "none",
    }  # fmt: skip
    options = [f"--setopt={name}={value}" for name, value in settings.items()]
    options += [f"--releasever={preset.rpartition('-')[2]}"] if preset else []
    options += [f"--forcearch={target.machine}", f"--installroot={scratch / 'root'}"]
    return ["-y", "-q", *options, "install", "--downloadonly", f"--destdir={scratch / 'packages'}", *wish.rpm]


def _repositories(wish: SystemPackages) -> str:
    """Source: dnf.conf(5). Without a keyring nothing says who signed; the release's own signature covers the rest."""
    checks = (
        f"gpgcheck=1\ngpgkey=file://{wish.keyring.absolute()}" if wish.keyring is not None else "gpgcheck=0"
    )
    return "\n".join(
        f"[source{number}]\nname=source{number}\nbaseurl={address}\nenabled=1\nskip_if_unavailable=0\n{checks}\n"
        for number, address in enumerate(wish.rpm_sources)
    )


def _dnf(arguments: list[str]) -> None:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["dnf", *arguments], env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        wanted = [line for line in lines if re.match(r"(Error|No match|- |Problem|Failed|Errors)", line)]
        raise UsageError(
            "dnf cannot give the packages of [target.packages].",
            problems=wanted or lines[-3:],
            next_step="correct rpm or rpm_sources in [target.packages]",
        )


def _kept(path: Path, wish: SystemPackages, present: frozenset[str], folder: Path) -> SystemPackage | None:
    query = ["rpm", "--query", "--package", "--nosignature", "--queryformat", _QUERY, str(path)]
    answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    name, epoch, version, architecture = answer.rstrip("\n").split("\t")
    if name in present and name not in wish.rpm:
        return None
    place = f"rpm/{path.name.replace(':', '.')}"
    shutil.move(path, folder / place)
    data = (folder / place).read_bytes()
    return SystemPackage(
        name=name,
        version=version if epoch == "0" else f"{epoch}:{version}",
        architecture=architecture,
        file=place,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        why="asked for" if name in wish.rpm else f"{', '.join(wish.rpm)} needs it"[:200],
    )
