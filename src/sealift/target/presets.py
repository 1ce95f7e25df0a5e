"""`[target] preset`: the C library of systems that boxes run. Standard library only.

Sources: the glibc version that each distribution's release ships, from its own package lists.
"""

from __future__ import annotations

from typing import Final

PRESETS: Final[dict[str, str]] = {
    "ubuntu-20.04": "2.31",
    "ubuntu-22.04": "2.35",
    "ubuntu-24.04": "2.39",
    "debian-11": "2.31",
    "debian-12": "2.36",
    "rhel-8": "2.28",
    "rhel-9": "2.34",
    "kylin-v10": "2.28",
    "openeuler-22.03": "2.34",
}
"""Distribution -> its glibc. The interpreter is asked for separately: few ship a recent one."""
