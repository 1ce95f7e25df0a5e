"""`[target] preset`: the C library and platform of systems that boxes run.

Sources: the glibc version that each distribution's release ships, from its own package lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Preset:
    """`glibc` bounds the wheels that may travel; `[target] platform` may name another platform."""

    glibc: str
    platform: str = "linux-x86_64"


PRESETS: Final[dict[str, Preset]] = {
    "ubuntu-20.04": Preset("2.31"),
    "ubuntu-22.04": Preset("2.35"),
    "ubuntu-24.04": Preset("2.39"),
    "debian-11": Preset("2.31"),
    "debian-12": Preset("2.36"),
    "rhel-8": Preset("2.28"),
    "rhel-9": Preset("2.34"),
    "kylin-v10": Preset("2.28"),
    "openeuler-22.03": Preset("2.34"),
}
