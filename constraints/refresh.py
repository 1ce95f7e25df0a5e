"""Write the locks anew: `python constraints/refresh.py [box] [box-2.17] [dev]` (all by default).

`dev.in -> dev.txt`: the development environment of this machine's interpreter.
`box.in`, `box-*.in` -> `../src/sealift/collect/box.lock` and `box-2.17.lock`, one for each tier of C libraries:
PEP 751, one version of every package of the box side, with the digests of all its wheels for each
interpreter, processor and C library that sealift packs for. `box` writes every tier.
No lock names a registry: an index is the machine's own setting.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
LOCKS = HERE.parent / "src" / "sealift" / "collect"
MACHINES = ("x86_64", "aarch64")
# Parts of the box side that not every release carries, and the marker of their packages in the lock. A part's
# file names all of its packages: what their metadata wants beyond is left out (collect/runtime.py UNNEEDED).
PARTS = {
    "box-x86_64.in": "platform_machine == 'x86_64'",
    "box-text.in": "'text' in extras",
}


@dataclass(frozen=True, slots=True)
class Tier:
    """`lock` is written; `limits` (may be empty) names a constraints file that holds for this tier alone."""

    lock: str
    pythons: tuple[str, ...]
    glibcs: tuple[str, ...]
    limits: str = ""


# A package may offer one wheel per C library (cryptography does): one look per step of the ladder.
TIERS = {
    "box-2.28": Tier("box.lock", ("3.11", "3.12", "3.13"), ("2.28", "2.31", "2.34", "2.39")),
    "box-2.17": Tier("box-2.17.lock", ("3.11",), ("2.17",), "box-2.17.in"),
}

Report = list[dict[str, Any]]


def _resolve(arguments: list[str], environment: dict[str, str]) -> Report:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "-q", "-q"]
    command += ["--ignore-installed", "--report", "-", "--only-binary", ":all:", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    report: Report = json.loads(done.stdout)["install"]
    return report


def _pin(entry: dict[str, Any]) -> str:
    # "+cpu" says which wheel this machine had at hand; the pin must hold on others too.
    name, version = entry["metadata"]["name"].lower().replace("_", "-"), entry["metadata"]["version"]
    return f"{name}=={version.partition('+')[0]}"


def write_dev_lock() -> None:
    """Resolve dev.in with the machine's own pip settings (local wheels included)."""
    report = _resolve(["-r", str(HERE / "dev.in")], dict(os.environ))
    head = f"# Written by constraints/refresh.py from dev.in for {platform.python_version()}.\n"
    (HERE / "dev.txt").write_text(head + "".join(f"{pin}\n" for pin in sorted(map(_pin, report))))


def _clean_environment() -> dict[str, str]:
    """Without find-links and mirrors: digests must be those of the public files."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") or k == "PIP_CERT"}
    return kept | {"PIP_CONFIG_FILE": os.devnull}


def _platform_arguments(python: str, machine: str, glibc: str) -> list[str]:
    newest = int(glibc.partition(".")[2])
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    tags += [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]
    arguments = [
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--abi",
        f"cp{python.replace('.', '')}",
    ]
    return arguments + [word for tag in tags for word in ("--platform", tag)] + ["--target", "unused"]


def _wheel(entry: dict[str, Any]) -> tuple[str, str]:
    filename = unquote(urlsplit(entry["download_info"]["url"]).path.rpartition("/")[2])
    return filename, entry["download_info"]["archive_info"]["hashes"]["sha256"]


def write_box_lock(tier: Tier) -> None:
    """Resolve box.in and its parts once, then find the wheel of every pinned package on every target."""
    environment = _clean_environment()
    markers = _markers(tier, environment)
    wheels: dict[str, dict[str, str]] = {pin: {} for pin in sorted(markers)}
    for python in tier.pythons:
        for machine in MACHINES:
            there = [
                pin for pin in wheels if "platform_machine" not in markers[pin] or machine in markers[pin]
            ]
            for glibc in tier.glibcs:
                arguments = _platform_arguments(python, machine, glibc)
                for entry in _resolve([*arguments, "--no-deps", *there], environment):
                    filename, sha256 = _wheel(entry)
                    wheels[_pin(entry)][filename] = sha256
    (LOCKS / tier.lock).write_text(_pylock(wheels, markers, tier.pythons))


def _markers(tier: Tier, environment: dict[str, str]) -> dict[str, str]:
    """Every pin of the tier -> its marker in the lock, without what no code of ours reaches."""
    from sealift.collect.runtime import UNNEEDED  # another lock than this one may be all that is wanted

    oldest = _platform_arguments(tier.pythons[0], MACHINES[0], tier.glibcs[0])
    oldest += ["-c", str(HERE / tier.limits)] if tier.limits else []
    asked = HERE / "box.in"
    unneeded = {name for names in UNNEEDED.values() for name in names} - set(asked.read_text().splitlines())
    pins = map(_pin, _resolve([*oldest, "-r", str(asked)], environment))
    markers = {pin: "" for pin in pins if pin.partition("==")[0] not in unneeded}
    for part, marker in PARTS.items():
        found = _resolve([*oldest, "--no-deps", "-r", str(HERE / part)], environment)
        markers |= {pin: marker for pin in map(_pin, found) if pin not in markers}
    return markers


def _pylock(wheels: dict[str, dict[str, str]], markers: dict[str, str], pythons: tuple[str, ...]) -> str:
    extras = sorted({marker.split("'")[1] for marker in markers.values() if marker.endswith(" in extras")})
    lines = ['lock-version = "1.0"', 'created-by = "constraints/refresh.py"']
    only = len(pythons) == 1
    lines.append(f'requires-python = "{"==" if only else ">="}{pythons[0]}{".*" if only else ""}"')
    lines.append(f"extras = {json.dumps(extras)}")
    for pin, files in wheels.items():
        name, _, version = pin.partition("==")
        lines += ["", "[[packages]]", f'name = "{name}"', f'version = "{version}"']
        lines += [f'marker = "{markers[pin]}"'] if markers[pin] else []
        lines.append("wheels = [")
        # PEP 751 wants a url or a path; the path is the bare name, as in a folder of wheels.
        lines += [f'  {{path = "{f}", hashes = {{sha256 = "{files[f]}"}}}},' for f in sorted(files)]
        lines += ["]"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["box", "dev"]
    if "dev" in wanted:
        write_dev_lock()
    for name, tier in TIERS.items():
        if "box" in wanted or name in wanted:
            write_box_lock(tier)
