"""Print a lock of the box side as lines for pip: `python constraints/lines.py X.Y` (the tier's glibc).

Every part is in it, and every line has its sha256: `pip install --require-hashes --no-deps -r`.
"""

from __future__ import annotations

import sys

from sealift.collect.runtime import PARTS, TIERS, BoxSide
from sealift.target.host import read_host
from sealift.target.target import Target

if __name__ == "__main__":
    (tier,) = (tier for tier in TIERS if tier.glibc == sys.argv[1])
    target = Target(read_host().platform, tier.pythons[0], tier.glibc)
    sys.stdout.write(
        "\n".join(pin.line() for pin in BoxSide(tier.lock, parts=frozenset(PARTS)).pins(target)) + "\n"
    )
