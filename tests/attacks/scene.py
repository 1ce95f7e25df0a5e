"""Where an attack takes place: a box with an installed release, and the command line."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.attacks.forge import ROOT, Forge, Parts, write_file, write_folder

from sealift.cli.main import run


@dataclass
class Scene:
    """`prefix` is a box that trusts `ROOT` and runs release 5.0, sequence 5.

    An attack may change the box before it brings its bundle (`officers`), what the box has (`patch`), and
    the command line (`argv`).
    """

    folder: Path
    prefix: Path
    patch: pytest.MonkeyPatch
    argv: list[str] = field(default_factory=list)
    officers: int = 0

    def as_folder(self, parts: Parts) -> Path:
        return write_folder(self.folder / "bundle", parts)

    def as_file(self, parts: Parts, *, in_order: bool = True) -> Path:
        return write_file(self.folder / "x.sealift", parts, in_order=in_order)

    def ask_for_officers(self, count: int) -> None:
        self.officers = count
        assert run(["trust", "policy", "--officers", str(count), "--prefix", str(self.prefix)]) == 0

    def install(self, bundle: Path) -> int:
        return run(["install", str(bundle), "--prefix", str(self.prefix), "--no-input", *self.argv])


def make_box(folder: Path, *forges: Forge) -> Path:
    """A prefix with these releases, installed one after the other through the command line."""
    prefix, trust = folder / "box", folder / "root.json"
    trust.write_bytes(ROOT)
    for number, forge in enumerate(forges):
        bundle = write_file(folder / f"{number}.sealift", forge.parts())
        assert (
            run(["install", str(bundle), "--prefix", str(prefix), "--no-input", "--trust", str(trust)]) == 0
        )
    return prefix


def copy_box(box: Path, folder: Path) -> Path:
    """A box of one's own to attack."""
    return Path(shutil.copytree(box, folder / "box", symlinks=True))


UNTRACKED = ("state/ledger", "state/lock")
"""The log of refusals, and the lock's note of who held it last."""


def box_hash(prefix: Path) -> str:
    """A digest of every path, link, mode and byte of a box."""
    hasher = hashlib.sha256()
    for path in sorted(prefix.rglob("*")):
        name = path.relative_to(prefix).as_posix()
        if not name.startswith(UNTRACKED):
            info = path.lstat()
            hasher.update(f"{name}\0{info.st_mode:o}\0".encode())
            if path.is_symlink():
                hasher.update(str(path.readlink()).encode())
            elif path.is_file():
                hasher.update(path.read_bytes())
    return hasher.hexdigest()
