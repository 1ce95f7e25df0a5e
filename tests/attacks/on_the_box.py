"""Attacks with a bundle that is well signed and has no business on this box: replays, other machines, no room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.attacks.forge import Forge
from tests.attacks.scene import Scene
from tests.attacks.table import attack


@attack(
    "a replay of a lower sequence",
    24,
    "sequence 4 is older than what this box committed, sequence 5",
    about_bytes=False,
)
def replay(scene: Scene) -> Path:
    return scene.as_file(Forge(version="4.0", seq=4).parts())


@attack(
    "an equal sequence with another identity",
    24,
    "is another release than the one this box committed",
    about_bytes=False,
)
def equal_sequence(scene: Scene) -> Path:
    return scene.as_file(Forge(version="5.0.1", seq=5).parts())


@attack(
    "a sequence below the floor",
    24,
    "sequence 2 is below the floor: this box accepts 3 or higher",
    about_bytes=False,
)
def below_floor(scene: Scene) -> Path:
    return scene.as_file(Forge(version="2.0", seq=2).parts())


@attack(
    "a replay after one of the two records was lost",
    24,
    "is below the floor: this box accepts 3",
    about_bytes=False,
)
def replay_one_record(scene: Scene) -> Path:
    (scene.prefix / "state" / "trust" / "sequences.json").unlink()
    return scene.as_file(Forge(version="2.0", seq=2).parts())


@attack(
    "a replay after one of the two records was emptied",
    24,
    "is below the floor: this box accepts 3",
    about_bytes=False,
)
def replay_emptied_record(scene: Scene) -> Path:
    (scene.prefix / "store" / "sequences.json").write_bytes(b'{"format":"sealift-sequences/1","products":{}}')
    return scene.as_file(Forge(version="2.0", seq=2).parts())


@attack(
    "a replay after both records were lost",
    24,
    "is older than what this box committed, sequence 5",
    about_bytes=False,
)
def replay_no_record(scene: Scene) -> Path:
    (scene.prefix / "state" / "trust" / "sequences.json").unlink()
    (scene.prefix / "store" / "sequences.json").unlink()
    return scene.as_file(Forge(version="4.0", seq=4).parts())


def _for_another(name: str, words: str, **target: Any) -> None:
    @attack(
        name,
        31,
        words,
        about_bytes=False,
    )
    def make(scene: Scene) -> Path:
        return scene.as_file(Forge(target=target).parts())


_for_another(
    "a bundle for another platform", "No usable interpreter|platform: expected", platform="linux-aarch64"
)
_for_another("a bundle for a newer C library", "C library: expected glibc 9.9 or newer", glibc="9.9")
_for_another("a bundle for a newer kernel", "kernel: expected Linux 99.1 or newer", kernel="99.1")
_for_another("a bundle for another Python", "this release needs python3.99", python="3.99")
_for_another(
    "a bundle for an interpreter that is not here", "there is no such file", interpreter="/opt/none/python3"
)
_for_another("a bundle for another processor", "processor: expected avx9000", cpu=["avx9000"])
_for_another("a bundle for another implementation", "implementation", implementation="pypy")


@attack(
    "a bundle for a newer sealift",
    31,
    "sealift: expected 99.0 or newer",
    about_bytes=False,
)
def newer_sealift(scene: Scene) -> Path:
    return scene.as_file(Forge(bend_release=lambda doc: doc.update(min_sealift="99.0")).parts())


@attack(
    "a target that nobody can read",
    11,
    "The target of this release is not readable",
    about_bytes=False,
)
def unreadable_target(scene: Scene) -> Path:
    return scene.as_file(Forge(target={"python": 3, "glibc": None}).parts())


def _full(scene: Scene, **facts: int) -> Path:
    real = os.statvfs(scene.folder)
    known = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | facts

    class Facts:
        def __getattr__(self, name: str) -> int:
            return int(known[name])

    scene.patch.setattr(os, "statvfs", lambda path: Facts())
    return scene.as_file(Forge().parts())


@attack(
    "too little disk",
    32,
    "not enough room",
    about_bytes=False,
)
def no_disk(scene: Scene) -> Path:
    return _full(scene, f_bavail=512, f_frsize=4096)


@attack(
    "too few inodes",
    32,
    "needs [0-9]+ inodes, 1 are free",
    about_bytes=False,
)
def no_inodes(scene: Scene) -> Path:
    return _full(scene, f_files=1000, f_favail=1)
