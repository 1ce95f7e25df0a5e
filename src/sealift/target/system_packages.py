"""Packages of the box's distribution that travel with a release: the list beside their files. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Protocol

from sealift import canonical
from sealift.errors import MalformedBundle

FORMAT: Final = "sealift-packages/1"
FOLDER: Final = "system-packages"
"""In the application layer; the files lie in its folder `deb` or `rpm`."""
LIST: Final = "packages.json"
PLACE: Final = f"application/{FOLDER}/{LIST}"
MOST: Final = 10_000

Kind = Literal["deb", "rpm"]
_FORMS: Final = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}"),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,99}"),
    "architecture": re.compile(r"[a-z0-9_]{1,20}"),
    "file": re.compile(r"(deb|rpm)/[A-Za-z0-9][A-Za-z0-9+._~^-]{0,240}\.(deb|rpm)"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "why": re.compile(r"[^\x00-\x1f\x7f]{1,200}"),
}
"""What a field looks like; nothing of it can be an option of a command, or leave the folder."""


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """`version` is as the package manager writes it, epoch included; `file` lies below `FOLDER`; `size` in bytes.

    `why`: `asked for`, or which package of the list needs it.
    """

    name: str
    version: str
    architecture: str
    file: str
    sha256: str
    size: int
    why: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class SystemPackages:
    """What travels, in the order of names. `kind` is also the box's package manager."""

    kind: Kind
    packages: tuple[SystemPackage, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(package.size for package in self.packages)


class Listed(Protocol):
    """An entry of a manifest."""

    @property
    def sha256(self) -> str: ...  # noqa: D102


class Listing(Protocol):
    """A bundle, as far as it is read here."""

    def files(self) -> Iterable[tuple[str, Listed]]:
        """Every file with its path, the layer first."""
        ...


def encode_list(carried: SystemPackages) -> bytes:
    """The document `packages.json`; the same packages give the same bytes."""
    packages = [asdict(package) for package in sorted(carried.packages, key=lambda each: each.name)]
    return canonical.encode({"format": FORMAT, "kind": carried.kind, "packages": packages})


def decode_list(data: bytes) -> SystemPackages:
    """Read `packages.json`.

    Raises: MalformedBundle: another format, or anything that is not in its form; the first of them is named.
    """
    doc = canonical.decode(data, PLACE)
    if set(doc) != {"format", "kind", "packages"} or doc["format"] != FORMAT:
        raise MalformedBundle(f"{PLACE}: expected format {FORMAT}", next_step="use a sealift that reads it")
    if doc["kind"] not in ("deb", "rpm") or not isinstance(doc["packages"], list):
        raise MalformedBundle(f"{PLACE}: expected packages of kind deb or rpm, found {doc['kind']!r}")
    if len(doc["packages"]) > MOST:
        raise MalformedBundle(f"{PLACE}: {len(doc['packages'])} packages, at most {MOST} are permitted")
    return SystemPackages(doc["kind"], tuple(_package(entry, doc["kind"]) for entry in doc["packages"]))


def packages_in_bundle(bundle: Listing, read: Callable[[str], bytes | None]) -> SystemPackages | None:
    """What a release that is not staged yet carries; None: no packages.

    Args:
        read: the bytes of an object by its digest; None: it is nowhere.
    Raises: MalformedBundle: not readable, or the list names a file that the release does not have.
    """
    files = {path: entry.sha256 for path, entry in bundle.files()}
    digest = files.get(PLACE)
    data = read(digest) if digest is not None else None
    if data is None:
        return None
    carried = decode_list(data)
    for package in carried.packages:
        if files.get(f"application/{FOLDER}/{package.file}") != package.sha256:
            raise MalformedBundle(f"{PLACE}: {package.file} is not in the release with that digest")
    return carried


def _package(entry: Any, kind: str) -> SystemPackage:
    names = {field.name for field in fields(SystemPackage)}
    if not isinstance(entry, dict) or set(entry) != names:
        raise MalformedBundle(f"{PLACE}: expected a package with {', '.join(sorted(names))}, found {entry!r}")
    for name, form in _FORMS.items():
        if not isinstance(entry[name], str) or not form.fullmatch(entry[name]):
            raise MalformedBundle(f"{PLACE}: {name} is {entry[name]!r}, expected the form {form.pattern}")
    if not entry["file"].startswith(f"{kind}/") or not entry["file"].endswith(f".{kind}"):
        raise MalformedBundle(f"{PLACE}: {entry['file']} is no file of kind {kind}")
    if isinstance(entry["size"], bool) or not isinstance(entry["size"], int) or entry["size"] < 0:
        raise MalformedBundle(f"{PLACE}: size is {entry['size']!r}, expected a count of bytes")
    return SystemPackage(**entry)
