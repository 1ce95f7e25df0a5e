"""Every benchmark in turn: ratios side by side in one run, on this machine (docs quote medians with it)."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVING = (
    (HERE / "serving" / "run.py", ("--peers", "none")),
    (HERE / "serving" / "startup.py", ()),
    (HERE / "serving" / "overload.py", ()),
)
"""Ours, the limit and the bare loop; the peers are installed and asked for by hand (benchmarks/serving/README.md)."""
OPTIMIZE = ((HERE / "optimize" / "run.py", ()),)
SIZE = ((HERE / "runtime_size" / "run.py", ()),)


def main() -> int:
    """Run `benchmarks/*.py` but this file, then those of the folders; returns the number of those that failed."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    print(f"{platform.platform()}, Python {platform.python_version()}, {cpu.partition(':')[2].strip()}")
    failed = 0
    for path, words in [
        *((path, ()) for path in sorted(HERE.glob("*.py")) if path.name != Path(__file__).name),
        *SERVING,
        *OPTIMIZE,
        *SIZE,
    ]:
        title = (path.read_text().splitlines() or [""])[0].strip(chr(34))
        print(f"\n== {path.relative_to(HERE).with_suffix('')}: {title}", flush=True)
        failed += subprocess.run([sys.executable, str(path), *words], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
