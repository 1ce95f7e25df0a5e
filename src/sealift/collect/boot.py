"""Start sealift from a release, on its own interpreter and on nothing else of this machine.

Copied to `RELEASE/runtime/boot.py`; run as `PYTHON -I -S -B RELEASE/runtime/boot.py VERB ...`.
The standard library stays first, as it is everywhere: a back-port among the wheels must not replace it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def _main() -> int:
    if not (sys.flags.isolated and sys.flags.no_site):
        print("boot.py: run as PYTHON -I -S -B RELEASE/runtime/boot.py VERB ...", file=sys.stderr)  # noqa: T201
        return 2
    # Resolved: what is imported late must come from this release even after `current` points elsewhere.
    runtime = Path(__file__).resolve().parent
    sys.path += [str(runtime), str(runtime.parent / "dependencies")]
    from sealift.__main__ import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
