"""Real apt, in a folder of its own: its lists, its state, its cache. This machine's apt is not touched.

apt verifies the signed lists and each file's digest against them (apt-secure(8)).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.collect.system_packages.base import installed_stanzas, stanzas, status_text
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.project.project import SystemPackages
from sealift.target.system_packages import SystemPackage
from sealift.target.target import Target

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_BASE: Final = ("?essential", "?priority(required)")
"""What no system of Debian's kind is without (Debian Policy 2.5, 3.8)."""
_MACHINE: Final = Path("/etc/apt")
_NEEDS: Final = ("Pre-Depends", "Depends")


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with everything it reads and writes below `root`, for boxes of `architecture`."""

    root: Path
    architecture: str

    def run(self, program: str, *arguments: str) -> str:
        """What it printed. Raises: UsageError: it failed; its own words are the problems."""
        environment = os.environ | {"APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C.UTF-8"}
        environment |= {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        said = [line[3:] for line in done.stderr.splitlines() if line.startswith("E: ")]
        raise UsageError(
            "apt cannot give the packages of [target.packages].",
            problems=said or done.stderr.splitlines()[-3:],
            next_step="correct deb or deb_sources in [target.packages]",
        )

    def show(self, names: Iterable[str]) -> str:
        """The stanzas of the packages that the lists know."""
        known = sorted(set(names))
        return self.run("apt-cache", "show", "--no-all-versions", *known) if known else ""


def collect_debs(
    wish: SystemPackages, target: Target, preset: str | None, folder: Path, scratch: Path, progress: Progress
) -> tuple[SystemPackage, ...]:
    """Download `wish.deb` and all that they need beyond what the box has into `folder`/deb.

    Args:
        preset: what the box runs; this machine's own sources will do only if it is the same.
        scratch: an empty folder for apt's lists.
    Raises: UsageError: no apt here, no sources, unknown packages, demands that exclude each other, or a repository
        that cannot be reached or is not signed by a known key.
    """
    if shutil.which("apt-get") is None:
        raise UsageError(
            "apt is not here, and it resolves what [target.packages] deb asks for.",
            next_step="pack on a machine with apt (any Debian or Ubuntu), or in such a container",
        )
    apt = Apt(scratch, ARCHITECTURES[target.machine])
    _write_root(apt, wish, preset)
    progress.start("read the lists of packages")
    apt.run("apt-get", "update", "-q")
    (scratch / "status").write_text(_status(apt, wish), encoding="utf-8")
    progress.start("download system packages")
    apt.run("apt-get", "install", "-q", "--yes", "--no-upgrade", "--download-only", *wish.deb)
    return _kept(apt, wish, folder)


def _write_root(apt: Apt, wish: SystemPackages, preset: str | None) -> None:
    for name in (
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/sources.list.d",
        "lists/partial",
        "archives/partial",
    ):
        (apt.root / name).mkdir(parents=True, exist_ok=True)
    (apt.root / "status").touch()
    if wish.deb_sources:
        text = "".join(f"{line}\n" for line in wish.deb_sources)
        (apt.root / "etc/sources.list").write_text(_copying(text), encoding="utf-8")
    else:
        for path in _own_sources(preset):
            text = path.read_text(encoding="utf-8")
            (apt.root / "etc/sources.list.d" / path.name).write_text(_copying(text), encoding="utf-8")
    (apt.root / "apt.conf").write_text("\n".join([*_settings(apt, wish), ""]), encoding="utf-8")


def _copying(sources: str) -> str:
    """Packages of a `file:` repository would stay where they are (sources.list(5)); they shall be in the cache."""
    return re.sub(r"(^|\s)file:", r"\1copy:", sources)


def _settings(apt: Apt, wish: SystemPackages) -> list[str]:
    """Source: apt.conf(5). How this machine reaches its mirrors (proxies, passwords) holds here too."""
    places = {
        "Dir::State": "", "Dir::State::lists": "lists", "Dir::State::status": "status", "Dir::Cache": "",
        "Dir::Cache::archives": "archives", "Dir::Etc": "etc", "Dir::Log": "log",
    }  # fmt: skip
    trusted = wish.keyring.absolute() if wish.keyring is not None else _MACHINE / "trusted.gpg"
    parts = apt.root / "etc" if wish.keyring is not None else _MACHINE / "trusted.gpg.d"
    return [
        *(f'{name} "{apt.root / below}";' for name, below in places.items()),
        f'Dir::Etc::trusted "{trusted}";',
        f'Dir::Etc::trustedparts "{parts}";',
        f'Dir::Etc::netrc "{_MACHINE / "auth.conf"}";',
        f'Dir::Etc::netrcparts "{_MACHINE / "auth.conf.d"}";',
        f'APT::Architecture "{apt.architecture}";',
        f'APT::Architectures {{ "{apt.architecture}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Update::Error-Mode "any";',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        *_reaching(),
    ]


def _reaching() -> list[str]:
    """This machine's own settings of proxies and the like."""
    wanted = re.compile(r'Acquire::(https?|ftp|Retries|Check-Valid-Until)(::\S*)? "[^"]+";', re.IGNORECASE)
    try:
        dump = subprocess.run(
            ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line for line in dump.splitlines() if wanted.fullmatch(line) and "::methods" not in line]


def _own_sources(preset: str | None) -> list[Path]:
    """This machine's own, of its distribution only: a vendor's repository beside them is not the box's.

    Raises: UsageError: this machine is something else than the box.
    """
    try:
        own = platform.freedesktop_os_release()
    except OSError:
        own = {}
    name = f"{own.get('ID', '')}-{own.get('VERSION_ID', '')}"
    codename = own.get("VERSION_CODENAME", "")
    found = [_MACHINE / "sources.list", *sorted((_MACHINE / "sources.list.d").glob("*"))]
    usable = [
        path
        for path in found
        if path.is_file()
        and path.suffix in (".list", ".sources")
        and codename in path.read_text(encoding="utf-8")
    ]
    if preset not in (None, name) or not codename or not usable:
        raise UsageError(
            f"[target.packages] deb: this machine's own repositories are for {name}, the box is {preset or 'unknown'}.",
            next_step='name the box\'s own: deb_sources = ["deb MIRROR CODENAME main"], keyring = "its-keys.gpg"',
        )
    return usable


def _status(apt: Apt, wish: SystemPackages) -> str:
    if wish.installed is not None:
        return status_text(wish.installed, apt.architecture, apt.show)
    plan = apt.run("apt-get", "install", "-q", "--simulate", "--yes", *_BASE)
    return installed_stanzas(stanzas(apt.show(re.findall(r"^Inst (\S+)", plan, re.MULTILINE))))


def _kept(apt: Apt, wish: SystemPackages, folder: Path) -> tuple[SystemPackage, ...]:
    """Move what was downloaded, under names that any medium can hold."""
    files = sorted((apt.root / "archives").glob("*.deb"))
    (folder / "deb").mkdir(parents=True, exist_ok=True)
    entries = [(path, stanzas(apt.run("dpkg-deb", "--field", str(path)))[0]) for path in files]
    found = []
    for path, entry in entries:
        version = entry["Version"].partition(":")[2] or entry["Version"]  # no `:` in a path
        place = f"deb/{entry['Package']}_{version}_{entry['Architecture']}.deb"
        shutil.move(path, folder / place)
        data = (folder / place).read_bytes()
        found.append(
            SystemPackage(
                name=entry["Package"],
                version=entry["Version"],
                architecture=entry["Architecture"],
                file=place,
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
                why=_why(entry, wish.deb, [other for _, other in entries]),
            )
        )
    return tuple(found)


def _why(entry: dict[str, str], asked: Sequence[str], all_of_them: Sequence[dict[str, str]]) -> str:
    if entry["Package"] in asked:
        return "asked for"
    names = {entry["Package"], *re.findall(r"[a-z0-9][a-z0-9+.-]+(?=[\s,(]|$)", entry.get("Provides", ""))}
    for other in all_of_them:
        demands = ",".join(other.get(key, "") for key in _NEEDS)
        wanted = {part.split()[0].partition(":")[0] for part in re.split(r"[,|]", demands) if part.strip()}
        if wanted & names and other is not entry:
            return f"{other['Package']} needs it"
    return "needed"
