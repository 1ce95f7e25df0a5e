"""How long `sealift --help` takes beside a bare interpreter; medians of one interleaved run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 21
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "sealift --help": [sys.executable, "-m", "sealift", "--help"],
    "sealift install --help": [sys.executable, "-m", "sealift", "install", "--help"],
    "sealift status": [sys.executable, "-m", "sealift", "status", "--prefix", "/nonexistent"],
}


def timed(command: list[str]) -> float:
    """Wall-clock seconds of one run."""
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print one row per command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(timed(command))
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':<24} {'median ms':>10} {'over bare ms':>13}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<24} {median * 1000:>10.1f} {(median - bare) * 1000:>13.1f}")


if __name__ == "__main__":
    main()
