"""Installed releases: what is recorded about each, and which one is active."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift.errors import NotInstalled, StoreError, UsageError
from sealift.store.files import point_link, read_document, storing, write_document
from sealift.store.prefix import Prefix


@dataclass(frozen=True, slots=True)
class InstalledRelease:
    """One release tree on this box and its record.

    `interpreter` is the absolute path that checks and workers run with. `check` is the check report
    as JSON. Times are seconds since the epoch, by the box's clock.
    """

    name: str
    version: str
    identity: str
    seq: int
    tree: Path
    interpreter: Path
    installed_at: int
    total_size: int
    signers: tuple[str, ...]
    check: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        """The argv that runs the release's own sealift: nothing outside the tree but the interpreter."""
        return release_command(self.interpreter, self.tree, *arguments)


def release_command(interpreter: Path, tree: Path, *arguments: str) -> list[str]:
    """`-I -S`: no user site, no site-packages, no PYTHON* variables; `-B`: the tree is never written."""
    return [str(interpreter), "-I", "-S", "-B", str(tree / "runtime" / "boot.py"), *arguments]


def known_manifest(prefix: Prefix, digest: str) -> bytes | None:
    """The bytes of a layer manifest that an earlier release brought, for a bundle that leaves it out."""
    path = prefix.manifests / f"{digest}.json"
    with storing(path):
        return path.read_bytes() if path.is_file() else None


def record(prefix: Prefix, release: InstalledRelease) -> None:
    """Write down what is known about a staged release."""
    write_document(
        prefix.records(release.name) / f"{release.tree.name}.json",
        {
            "check": release.check,
            "identity": release.identity,
            "installed_at": release.installed_at,
            "interpreter": str(release.interpreter),
            "name": release.name,
            "seq": release.seq,
            "signers": list(release.signers),
            "total_size": release.total_size,
            "version": release.version,
        },
    )


def activate(prefix: Prefix, release: InstalledRelease) -> None:
    """Switch `current` in one rename."""
    point_link(prefix.current(release.name), release.tree)


def active_tree(prefix: Prefix, name: str) -> str | None:
    """The name of the tree that `current` points to; None: nothing is active."""
    link = prefix.current(name)
    return link.readlink().name if link.is_symlink() else None


def release_at(prefix: Prefix, name: str, tree: str) -> InstalledRelease:
    """The installed release of that tree name. Raises: NotInstalled, StoreError."""
    if not (prefix.records(name) / f"{tree}.json").is_file():
        raise NotInstalled(f"{name}: no release {tree} is installed", next_step=f"sealift status {name}")
    return _load(prefix, name, prefix.releases(name) / tree)


def find_release(prefix: Prefix, name: str, version: str) -> InstalledRelease:
    """The installed release of that version (or tree name, where two share a version).

    Raises: NotInstalled: not here; lists what is. UsageError: several releases have that version.
    """
    installed = installed_releases(prefix, name)
    found = [release for release in installed if version in (release.version, release.tree.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{name} {version}: {len(found)} installed releases have that version",
            problems=[release.tree.name for release in found],
            next_step="name one of them as it stands here",
        )
    known = ", ".join(release.version for release in installed) or "nothing"
    raise NotInstalled(
        f"{name} {version} is not installed under {prefix.root} (installed: {known})",
        next_step="sealift install its bundle",
    )


def active_release(prefix: Prefix, name: str) -> InstalledRelease:
    """The release that `current` points to. Raises: NotInstalled, StoreError."""
    link = prefix.current(name)
    if not link.is_symlink():
        raise NotInstalled(
            f"{name} has no active release under {prefix.root}", next_step="sealift install BUNDLE"
        )
    return _load(prefix, name, link.resolve())


def installed_releases(prefix: Prefix, name: str) -> tuple[InstalledRelease, ...]:
    """Every recorded release of a service, newest sequence first."""
    folder = prefix.records(name)
    if not folder.is_dir():
        return ()
    found = [_load(prefix, name, prefix.releases(name) / path.stem) for path in sorted(folder.glob("*.json"))]
    return tuple(sorted(found, key=lambda release: (release.seq, release.installed_at), reverse=True))


def _load(prefix: Prefix, name: str, tree: Path) -> InstalledRelease:
    path = prefix.records(name) / f"{tree.name}.json"
    if not path.is_file():
        raise StoreError(
            f"{name}: {tree} is not recorded here ({path} is missing)",
            next_step=f"install its bundle again, or go back: sealift rollback {name}",
        )
    doc = read_document(path)
    try:
        return InstalledRelease(
            name=doc["name"],
            version=doc["version"],
            identity=doc["identity"],
            seq=doc["seq"],
            tree=tree,
            interpreter=Path(doc["interpreter"]),
            installed_at=doc["installed_at"],
            total_size=doc["total_size"],
            signers=tuple(doc["signers"]),
            check=doc["check"],
        )
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path}: written by another sealift ({error})") from error
