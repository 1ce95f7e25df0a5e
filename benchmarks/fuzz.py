"""Fuzzing of every parser of the bundle format: executions and findings (with atheris where it is installed)."""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "src")]

SECONDS = 20
KEPT = 5


class Tally:
    """Executions, inputs that both readers accept, and findings, per target."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.runs: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.findings: dict[str, list[str]] = {}

    def try_one(self, name: str, data: bytes) -> None:
        """One execution; a finding is kept, not raised, so that one does not hide the next."""
        self.runs[name] += 1
        try:
            self.accepted[name] += TARGETS[name].run(data)
        except Exception as error:  # noqa: BLE001 - whatever comes out is a finding
            found = self.findings.setdefault(name, [])
            if len(found) < KEPT:
                found.append(f"{type(error).__name__}: {str(error)[:2000]}\n    input {data!r}"[:4000])

    def report(self, how: str) -> int:
        """Print one row per target; returns the number of targets with findings."""
        print(f"{how}, {time.monotonic() - self.began:.0f} s, {sum(self.runs.values()):,} executions")
        print(f"{'parser':<12} {'executions':>12} {'accepted':>10} {'findings':>9}")
        for name in TARGETS:
            found = self.findings.get(name, [])
            print(f"{name:<12} {self.runs[name]:>12,} {self.accepted[name]:>10,} {len(found):>9}")
            for text in found:
                print(f"  {text}")
        return len(self.findings)


def with_random_changes(seconds: float, number: int) -> int:
    """Seeds with a few changes, target after target."""
    draw, tally = random.Random(number), Tally()
    while time.monotonic() - tally.began < seconds:
        for name, target in TARGETS.items():
            for _ in range(50):
                tally.try_one(name, mutated(draw.choice(target.seeds), draw))
    return tally.report(f"random changes, seed {number}")


def with_atheris(seconds: float, number: int) -> int:
    """Coverage guides: half of the changes are ours, half are the fuzzer's. The first byte chooses the target."""
    import atheris

    names, tally = list(TARGETS), Tally()

    def run(data: bytes) -> None:
        if time.monotonic() - tally.began >= seconds:
            code = min(tally.report(f"atheris, seed {number}"), 1)
            sys.stdout.flush()
            os._exit(code)  # libFuzzer catches SystemExit
        if data:
            tally.try_one(names[data[0] % len(names)], data[1:])

    def change(data: bytes, size: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.1 or len(data) < 2:
            at = draw.randrange(len(names))
            data = bytes([at]) + draw.choice(TARGETS[names[at]].seeds)
        if draw.random() < 0.5:
            return bytes(atheris.Mutate(data, size))
        return (data[:1] + mutated(data[1:], draw))[:size]

    quiet = ["-verbosity=0", f"-seed={number}", "-max_len=16384", "-timeout=60"]
    atheris.Setup([sys.argv[0], *quiet], run, custom_mutator=change)
    atheris.Fuzz()
    return 1


def main() -> int:
    """Parse the options and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=20261122)
    args = parser.parse_args()
    fuzz = with_atheris if HAS_ATHERIS else with_random_changes
    return fuzz(args.seconds, args.seed)


HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
if HAS_ATHERIS:
    import atheris

    with atheris.instrument_imports(include=["sealift", "json"]):
        from tests.fuzz.mutate import mutated
        from tests.fuzz.targets import TARGETS
else:
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    sys.exit(main())
