"""The folder that `keys init` writes: private keys by role, their public halves, and every root so far.

root/1.pem release/key.pem officers/1.pem   private, encrypted, 0600; each with its NAME.pub
roots/VERSION.json                          every root so far; they travel in each bundle
root.json                                   the newest: what boxes pin
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from sealift import canonical
from sealift.errors import BadSignature, MalformedBundle, UsageError
from sealift.seal import keyfile
from sealift.seal.keyfile import SigningKey
from sealift.store.files import write_file
from sealift.trust.chain import follow
from sealift.trust.keys import PublicKey, key_from_json
from sealift.trust.root import Root, SignedRoot, decode_root

ROOT: Final = "root.json"
ROOTS: Final = "roots"


class Role(Enum):
    """What a key is for; the value is its folder."""

    ROOT = "root"
    RELEASE = "release"
    OFFICER = "officers"

    def ids(self, root: Root) -> tuple[str, ...]:
        """The keys that have this role in `root`."""
        roles = {Role.ROOT: root.root_keys, Role.RELEASE: root.release_keys, Role.OFFICER: root.officers}
        return tuple(roles[self])


def keys_folder(given: Path) -> Path:
    """The folder itself, where a person may have named its `release/`."""
    return given.parent if not (given / ROOT).is_file() and (given.parent / ROOT).is_file() else given


def private_keys(folder: Path, role: Role) -> tuple[Path, ...]:
    """The private keys of a role that lie there, `key.pem` first."""
    found = (folder / role.value).glob("*.pem")
    return tuple(sorted(found, key=lambda path: (path.stem != "key", len(path.stem), path.stem)))


def root_keys_readable(folder: Path) -> tuple[Path, ...]:
    """The root keys that this process could read beside the release key; they belong offline."""
    found = private_keys(keys_folder(folder), Role.ROOT)
    return tuple(path for path in found if os.access(path, os.R_OK))


def read_root_file(folder: Path) -> SignedRoot:
    """`root.json` of the folder.

    Raises: UsageError: it is not there. MalformedBundle, BadSignature: it is no root.
    """
    path = folder / ROOT
    try:
        return decode_root(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step=f"sealift keys init {folder}") from error


def read_roots(folder: Path) -> tuple[SignedRoot, ...]:
    """Every root of the folder by version, the newest last: what a bundle carries.

    Raises: UsageError, MalformedBundle, BadSignature, TrustError: they are not one chain.
    """
    newest = read_root_file(folder)
    by_version = {newest.root.version: newest}
    for path in (folder / ROOTS).glob("*.json"):
        signed = decode_root(path.read_bytes(), str(path))
        known = by_version.setdefault(signed.root.version, signed)
        if known.root.fingerprint != signed.root.fingerprint or path.stem != str(signed.root.version):
            raise MalformedBundle(f"{path}: holds another root than its name or root.json says")
    roots = tuple(by_version[version] for version in sorted(by_version))
    if follow(roots[0].root, roots).version != newest.root.version:
        raise BadSignature(f"{folder}: {ROOTS}/ leads beyond {ROOT}")
    return roots


def write_root(folder: Path, signed: SignedRoot) -> None:
    """Add a root to the folder and make it the newest."""
    data = signed.encode()
    write_file(folder / ROOTS / f"{signed.root.version}.json", data)
    write_file(folder / ROOT, data)


def save_key(folder: Path, role: Role, key: SigningKey, passphrase: bytes) -> Path:
    """Write a new key under the role's next free name, its public half beside it; returns the private file.

    Raises: UsageError: the passphrase is empty.
    """
    place = folder / role.value
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from error
    path = next(path for path in _names(place, role) if not _is_taken(path))
    keyfile.save(key, path, passphrase)
    write_public(path.with_suffix(".pub"), key.public)
    return path


def write_public(path: Path, key: PublicKey) -> None:
    """The public half: what the keeper of the root needs of a key that lives elsewhere."""
    write_file(path, canonical.encode(key.to_json()))


def log_of(folder: Path, role: Role) -> Path:
    """The log of what was done with the keys of a role."""
    return folder / role.value / "ledger.jsonl"


def read_public(path: Path) -> PublicKey:
    """A public key that a person named. Raises: UsageError, MalformedBundle."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return key_from_json(canonical.decode(data, str(path)), str(path))


def open_keys(folder: Path, role: Role, passphrases: Iterable[bytes]) -> dict[Path, SigningKey]:
    """The role's keys that one of the passphrases opens.

    Raises: UsageError: keys lie there and none opens.
    """
    paths, phrases = private_keys(folder, role), tuple(passphrases)
    opened: dict[Path, SigningKey] = {}
    for path in paths:
        for phrase in phrases:
            try:
                opened[path] = keyfile.load(path, phrase)
                break
            except keyfile.WrongPassphrase:
                continue
    if paths and not opened:
        raise UsageError(f"{folder / role.value}: wrong passphrase; none of {len(paths)} key(s) opens")
    return opened


def key_here(folder: Path, key_id: str) -> Path | None:
    """The private file of a key, found by the public half beside it."""
    for role in Role:
        for path in private_keys(folder, role):
            if _key_id(path) == key_id:
                return path
    return None


def put_away(folder: Path, before: Root, after: Root) -> tuple[Path, ...]:
    """Rename private keys that `after` no longer names to `NAME-ID.pem.retired`; keys unknown to `before` stay.

    `release/key.pem` is a release key in use, if one lies there at all. Returns: the new names.
    """
    gone = set(before.keys) - set(after.keys)
    retired = []
    for role in Role:
        for path in private_keys(folder, role):
            if _key_id(path) in gone:
                retired.append(_retire(path))
    main = folder / Role.RELEASE.value / "key.pem"
    if not main.exists():
        in_use = [path for path in private_keys(folder, Role.RELEASE) if _key_id(path) in after.release_keys]
        for path in in_use[:1]:
            path.rename(main)
            path.with_suffix(".pub").replace(main.with_suffix(".pub"))
    return tuple(retired)


def _key_id(path: Path) -> str | None:
    public = path.with_suffix(".pub")
    return read_public(public).key_id if public.is_file() else None


def _retire(path: Path) -> Path:
    public = path.with_suffix(".pub")
    name = f"{path.stem}-{read_public(public).key_id[:8]}"
    target = path.with_name(f"{name}.pem.retired")
    path.rename(target)
    public.rename(path.with_name(f"{name}.pub"))
    return target


def _names(place: Path, role: Role) -> Iterator[Path]:
    if role is Role.RELEASE:
        yield place / "key.pem"
    number = 1 if role is not Role.RELEASE else 2
    while True:
        yield place / f"{number}.pem"
        number += 1


def _is_taken(path: Path) -> bool:
    return path.exists() or path.with_suffix(".pub").exists()
