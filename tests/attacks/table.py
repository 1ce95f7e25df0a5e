"""The table of attacks: each module beside this one adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.attacks.scene import Scene

Make = Callable[[Scene], Path]


@dataclass(frozen=True)
class Attack:
    """`make` prepares the bundle and returns it; install must refuse it with `code` and the pattern `words`.

    `about_bytes`: the bundle itself is wrong, whatever the box: any reader must refuse it.
    """

    name: str
    make: Make
    code: int
    words: str
    about_bytes: bool


ATTACKS: Final[dict[str, Attack]] = {}


def attack(name: str, code: int, words: str, *, about_bytes: bool = True) -> Callable[[Make], Make]:
    """Enter a function in the table."""

    def enter(make: Make) -> Make:
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, make, code, words, about_bytes)
        return make

    return enter
