"""System packages that came with a release -> installed by the box's own package manager, from these files only.

Nothing is fetched: dpkg and rpm know no repositories. A package that the box has in the same or a newer version is
left as it is; nothing is removed and nothing goes back to an older version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import HostError
from sealift.target.system_packages import FOLDER, Kind, SystemPackage, SystemPackages

LONGEST_S: Final = 1800.0
WAIT_FOR_LOCK_S: Final = 60.0
_LOCKED: Final = re.compile(
    r"lock.*(locked by another process|is used by|waiting for|Resource temporarily)", re.DOTALL
)
_HOLDER: Final = re.compile(r"pid (\d+)")
_LAST_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Machine:
    """Where packages go. `root` is the root of the file system that the package manager works on."""

    root: Path = Path("/")
    wait_s: float = WAIT_FOR_LOCK_S
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Lacking:
    """A package that the box lacks; `found` is an older version of it there, or empty."""

    package: SystemPackage
    found: str = ""

    def __str__(self) -> str:
        wanted = f"{self.package.name} {self.package.version}"
        return f"system package: expected {wanted} or newer, found {self.found or 'none'}"


THIS: Final = Machine()


def lacking(carried: SystemPackages, machine: Machine = THIS) -> tuple[Lacking, ...]:
    """What the box lacks of a release's packages.

    Raises: HostError: the package manager of this kind is not here, or does not answer.
    """
    if not carried.packages:
        return ()
    installed = _INSTALLED[carried.kind](carried.packages, machine)
    found = []
    for package in carried.packages:
        versions = installed.get((package.name, package.architecture), [])
        if not any(_is_enough(carried.kind, version, package.version, machine) for version in versions):
            found.append(Lacking(package, versions[-1] if versions else ""))
    return tuple(found)


def install(carried: SystemPackages, missing: Sequence[Lacking], tree: Path, machine: Machine = THIS) -> None:
    """Install `missing` from the files of a staged release.

    First the package manager is asked whether it could, without doing anything; then it does it.

    Args:
        tree: the release tree: its objects were verified when they came in.
    Raises: HostError: it refuses, another package manager holds its lock, or a package's own script failed; what it
        said is in the problems.
    """
    folder = tree / "application" / FOLDER
    files = [str(folder / each.package.file) for each in missing]
    with tempfile.TemporaryDirectory(prefix="sealift-packages-") as scratch:
        trials = _TRIALS[carried.kind](files, machine, Path(scratch))
        refused = next((said for trial in trials if (said := _run_unlocked(trial, machine))), [])
    if refused:
        raise HostError(
            "The box's package manager refuses the release's packages; none was installed.",
            problems=refused,
            next_step="pack again with [target.packages] installed: what this box has",
        )
    real = _COMMANDS[carried.kind](files, machine)
    failed = _run_unlocked(real, machine)
    if failed or lacking(carried, machine):
        raise HostError(
            "The release's system packages are not all installed; the release was not activated.",
            problems=failed or [str(each) for each in lacking(carried, machine)],
            next_step="dpkg --configure -a, then install again" if carried.kind == "deb" else "rpm -Va",
        )


def _run_unlocked(command: Sequence[str], machine: Machine) -> list[str]:
    """Run to the end, waiting while another package manager works; its last words where it failed.

    Raises: HostError: it still works after `machine.wait_s`.
    """
    until = machine.clock() + machine.wait_s
    while True:
        code, said = _run(command)
        if code == 0:
            return []
        if not _LOCKED.search(said):
            return [line.strip() for line in said.splitlines() if line.strip()][-_LAST_LINES:]
        if machine.clock() >= until:
            holder = _HOLDER.search(said)
            raise HostError(
                f"Another package manager works on this box{f' (process {holder[1]})' if holder else ''}; nothing was "
                "installed.",
                next_step="let it end, then install again",
            )
        machine.sleep(1.0)


def _run(command: Sequence[str]) -> tuple[int, str]:
    plain = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            list(command), env=plain, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False, timeout=LONGEST_S,
        )  # fmt: skip
    except OSError as error:
        raise HostError(
            f"{command[0]} does not start: {error.strerror}.",
            next_step="the release's packages are for another kind of system: pack it for this one",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{command[0]}: not done in {LONGEST_S:.0f} s.", next_step="look what it waits for"
        ) from error
    return done.returncode, done.stdout


def _dpkg_installed(packages: Sequence[SystemPackage], machine: Machine) -> dict[tuple[str, str], list[str]]:
    form = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Status}\\n"
    names = [
        f"{package.name}:{package.architecture}" for package in packages if package.architecture != "all"
    ]
    names += [package.name for package in packages if package.architecture == "all"]
    folder = machine.root / "var/lib/dpkg"
    _, said = _run(["dpkg-query", f"--admindir={folder}", "-W", "-f", form, *names])
    found: dict[tuple[str, str], list[str]] = {}
    for line in said.splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[3] == "installed":
            found.setdefault((fields[0], fields[1]), []).append(fields[2])
    return found


def _rpm_installed(packages: Sequence[SystemPackage], machine: Machine) -> dict[tuple[str, str], list[str]]:
    form = "%{NAME}\\t%{ARCH}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\n"
    _, said = _run(
        ["rpm", "--root", str(machine.root), "-q", "--qf", form, *(each.name for each in packages)]
    )
    found: dict[tuple[str, str], list[str]] = {}
    for line in said.splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            version = fields[3] if fields[2] == "0" else f"{fields[2]}:{fields[3]}"
            found.setdefault((fields[0], fields[1]), []).append(version)
    return found


def _is_enough(kind: Kind, found: str, wanted: str, machine: Machine) -> bool:
    if found == wanted:
        return True
    if kind == "deb":
        return _run(["dpkg", "--compare-versions", found, "ge", wanted])[0] == 0
    # Both are in the form that their document permits: no quote can stand in them.
    code, said = _run(
        ["rpm", "--root", str(machine.root), "--eval", f'%{{lua: print(rpm.vercmp("{found}", "{wanted}"))}}']
    )
    return code == 0 and said.strip() in ("0", "1")


def _dpkg(files: Sequence[str], machine: Machine) -> list[str]:
    """Source: dpkg(1). A configuration file that somebody changed here stays as it is."""
    keep = ["--refuse-downgrade", "--force-confdef", "--force-confold"]
    return ["dpkg", f"--root={machine.root}", *keep, "--install", *files]


def _dpkg_trials(files: Sequence[str], machine: Machine, scratch: Path) -> list[list[str]]:
    """apt sees what is missing before dpkg has unpacked anything; it knows no repository here, and is asked only."""
    trials = [["dpkg", f"--root={machine.root}", "--no-act", "--refuse-downgrade", "--install", *files]]
    if shutil.which("apt-get") is not None:
        places = {"Dir::State": scratch, "Dir::Cache": scratch, "Dir::Etc": scratch}
        places |= {"Dir::State::status": machine.root / "var/lib/dpkg/status"}
        options = [word for name, place in places.items() for word in ("-o", f"{name}={place}")]
        asked = ["--simulate", "--no-download", "--no-remove", "--no-install-recommends", "--yes"]
        trials.append(["apt-get", "-q", *options, "install", *asked, *files])
    return trials


def _rpm(files: Sequence[str], machine: Machine) -> list[str]:
    """Source: rpm(8). Signatures are judged by this box's own policy."""
    return ["rpm", "--root", str(machine.root), "--upgrade", *files]


def _rpm_trials(files: Sequence[str], machine: Machine, _: Path) -> list[list[str]]:
    return [["rpm", "--root", str(machine.root), "--upgrade", "--test", *files]]


_INSTALLED: Final = {"deb": _dpkg_installed, "rpm": _rpm_installed}
_TRIALS: Final = {"deb": _dpkg_trials, "rpm": _rpm_trials}
_COMMANDS: Final = {"deb": _dpkg, "rpm": _rpm}
