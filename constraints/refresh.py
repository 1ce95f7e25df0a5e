"""Write the two locks anew: `python constraints/refresh.py [box] [dev]` (both by default).

`dev.in -> dev.txt`: the development environment of this machine's interpreter.
`box.in`, `box-*.in` -> `../src/sealift/collect/box.lock`: PEP 751, one version of every package of the box
side, with the digests of all its wheels for each interpreter, processor and C library that sealift packs for.
No lock names a registry: an index is the machine's own setting.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
BOX_LOCK = HERE.parent / "src" / "sealift" / "collect" / "box.lock"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
# Parts of the box side that not every release carries, and the marker of their packages in the lock. A part's
# file names all of its packages: what their metadata wants beyond is left out (collect/runtime.py UNNEEDED).
PARTS = {
    "box-x86_64.in": "platform_machine == 'x86_64'",
    "box-text.in": "'text' in extras",
}
# A package may offer one wheel per C library (cryptography does): one look per step of the ladder.
GLIBCS = ("2.28", "2.31", "2.34", "2.39")

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
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [
        f"manylinux2014_{machine}"
    ]
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


def write_box_lock() -> None:
    """Resolve box.in and its parts once, then find the wheel of every pinned package on every target."""
    environment = _clean_environment()
    oldest = _platform_arguments(PYTHONS[0], MACHINES[0], GLIBCS[0])
    markers = dict.fromkeys(map(_pin, _resolve([*oldest, "-r", str(HERE / "box.in")], environment)), "")
    for part, marker in PARTS.items():
        found = _resolve([*oldest, "--no-deps", "-r", str(HERE / part)], environment)
        markers |= {pin: marker for pin in map(_pin, found) if pin not in markers}
    wheels: dict[str, dict[str, str]] = {pin: {} for pin in sorted(markers)}
    for python in PYTHONS:
        for machine in MACHINES:
            there = [
                pin for pin in wheels if "platform_machine" not in markers[pin] or machine in markers[pin]
            ]
            for glibc in GLIBCS:
                arguments = _platform_arguments(python, machine, glibc)
                for entry in _resolve([*arguments, "--no-deps", *there], environment):
                    filename, sha256 = _wheel(entry)
                    wheels[_pin(entry)][filename] = sha256
    BOX_LOCK.write_text(_pylock(wheels, markers))


def _pylock(wheels: dict[str, dict[str, str]], markers: dict[str, str]) -> str:
    extras = sorted({marker.split("'")[1] for marker in markers.values() if marker.endswith(" in extras")})
    lines = ['lock-version = "1.0"', 'created-by = "constraints/refresh.py"', 'requires-python = ">=3.11"']
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
    if "box" in wanted:
        write_box_lock()
