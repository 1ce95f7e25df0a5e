"""Where sealift lives on a box; only this file knows the paths (DESIGN 3)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.errors import NotInstalled, UsageError

SYSTEM_ROOT: Final = Path("/opt/sealift")
TOOL: Final = "sealift"
"""The product that is sealift itself: installed, switched and rolled back like any other, and no service."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The folders of one sealift installation.

    `root` holds store, releases and current on one file system; `state`, `etc` and `run` are inside it
    for a private prefix, and in the places of the file hierarchy standard for the system one.
    """

    root: Path
    state: Path
    etc: Path
    run: Path

    @property
    def objects(self) -> Path:
        """Content-addressed objects, `ab/abcd...` and `ab/abcd...-x`."""
        return self.root / "store" / "objects"

    @property
    def manifests(self) -> Path:
        """Layer manifests by digest, for bundles that leave unchanged layers out."""
        return self.root / "store" / "manifests"

    @property
    def bin(self) -> Path:
        """The prefix's own `sealift` command, run from the active release."""
        return self.root / "bin"

    def releases(self, name: str) -> Path:
        """The installed release trees of one service."""
        return self.root / "releases" / name

    def current(self, name: str) -> Path:
        """The symbolic link to the active release tree: the one truth about what is active."""
        return self.root / "current" / name

    def records(self, name: str) -> Path:
        """What is known about each installed release, one JSON file each."""
        return self.state / "releases" / name

    @property
    def pinned_root(self) -> Path:
        """The trust root of this prefix."""
        return self.state / "trust" / "root.json"

    @property
    def ledger(self) -> Path:
        """The hash-chained log of what was done here."""
        return self.state / "ledger.jsonl"

    @property
    def sequences(self) -> tuple[Path, Path]:
        """The highest sequence per product, anchored in two places: losing one lets no older bundle in."""
        return self.state / "trust" / "sequences.json", self.root / "store" / "sequences.json"

    def journal(self, name: str) -> Path:
        """What is being done about the active release of a service, and what was done last."""
        return self.state / "journal" / f"{name}.json"

    def watched(self, name: str) -> Path:
        """How far the watch of an active release has come."""
        return self.state / "watch" / f"{name}.json"

    @property
    def staging(self) -> Path:
        """There while the files of a release come in: found later, that was cut off."""
        return self.state / "staging.json"

    @property
    def receiving(self) -> Path:
        """There while a bundle comes in volumes: which one, and which of them are here."""
        return self.state / "receiving.json"

    @property
    def partials(self) -> Path:
        """What waits of objects that lie in several volumes."""
        return self.root / "store" / "receiving"

    def failures(self, name: str) -> Path:
        """How often each release of a service failed here, and why."""
        return self.state / "failures" / f"{name}.json"

    def evidence(self, name: str) -> Path:
        """What was seen when a release was taken back, the latest time, one JSON file for each tree."""
        return self.state / "evidence" / name

    def site(self, name: str) -> Path:
        """The settings of a service that belong to this box (TOML)."""
        return self.etc / f"{name}.toml"

    @property
    def stamp(self) -> Path:
        """Which format this prefix has."""
        return self.state / "prefix.json"

    @property
    def reserves(self) -> tuple[Path, Path]:
        """Space kept back for a rollback on a full disk, one file for each file system."""
        return self.state / "reserve", self.root / "store" / "reserve"

    def control(self, name: str) -> Path:
        """The supervisor's control socket."""
        return self.run / f"{name}.sock"

    @property
    def exists(self) -> bool:
        """True once something was installed here."""
        return self.state.is_dir() and self.root.is_dir()

    def services(self) -> tuple[str, ...]:
        """The names with an active release, sorted; the tool itself is none of them."""
        folder = self.root / "current"
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return tuple(sorted(name for name in names if _NAME.fullmatch(name) and name != TOOL))

    @property
    def has_tool(self) -> bool:
        """True where the prefix's own command is a release of the tool, not part of a service's release."""
        return self.current(TOOL).is_symlink()


def private(root: Path) -> Prefix:
    """A prefix of one's own: everything below `root`."""
    root = root.absolute()
    return Prefix(root, root / "state", root / "etc", root / "run")


def system() -> Prefix:
    """The system prefix: /opt/sealift, /var/lib/sealift, /etc/sealift, /run/sealift."""
    return Prefix(SYSTEM_ROOT, Path("/var/lib/sealift"), Path("/etc/sealift"), Path("/run/sealift"))


def choose(flag: Path | None, environ: Mapping[str, str] = os.environ) -> Prefix:
    """Flag, then SEALIFT_PREFIX, then the system prefix.

    Raises: UsageError: the chosen prefix is a file.
    """
    given = flag or (Path(environ["SEALIFT_PREFIX"]) if environ.get("SEALIFT_PREFIX") else None)
    if given is None or given.absolute() == SYSTEM_ROOT:
        return system()
    if given.exists() and not given.is_dir():
        raise UsageError(f"prefix {given}: a file, expected a folder")
    return private(given)


def choose_service(prefix: Prefix, name: str | None) -> str:
    """The named service, or the only one. Raises: NotInstalled, UsageError: none, several, or not it."""
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a service name")
    services = prefix.services()
    if name is not None and name not in services:
        known = ", ".join(services) or "nothing"
        raise NotInstalled(
            f"{name} is not installed under {prefix.root} (installed: {known})",
            next_step="sealift install BUNDLE, or name another prefix with --prefix",
        )
    if name is None and len(services) != 1:
        problem = "nothing is installed" if not services else f"several services: {', '.join(services)}"
        raise NotInstalled(
            f"prefix {prefix.root}: {problem}", next_step="name the service, or another --prefix"
        )
    return name or services[0]


def choose_product(prefix: Prefix, name: str | None) -> str:
    """As `choose_service`; the tool, too, where it is named and installed."""
    return TOOL if name == TOOL and prefix.has_tool else choose_service(prefix, name)
