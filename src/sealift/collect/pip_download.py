"""Run `pip download` for a target, and put its failures into words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealift.collect.tags import abi_of, platforms_of
from sealift.errors import DigestMismatch, NoSpace, SealiftError, UsageError
from sealift.events import Progress, Silent
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """Where wheels go and come from.

    `folder` receives the wheels (created; other files in it are left alone). `cache` keeps locked wheels
    between runs. `find_links`, `no_index` and `index_arguments` go to pip beside its own configuration.
    """

    folder: Path
    cache: Path | None = None
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    index_arguments: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class Request:
    """One pip run: whole lines of a requirements file, and of a constraints file."""

    lines: Sequence[str]
    constraints: Sequence[str] = ()
    dependencies: bool = True


class Conflict(Exception):
    """pip found no set of versions. `lines` are its own words; `constrained` the names it blames a
    constraint of ours for."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        found = (re.search(r"\(constraint\)\s+([A-Za-z0-9._-]+)", line) for line in lines)
        self.constrained = frozenset(match[1].lower().replace("_", "-") for match in found if match)


def download(request: Request, target: Target, options: CollectOptions, folder: Path) -> tuple[Path, ...]:
    """Download wheels for `target` into the empty `folder`.

    Returns: the wheels, sorted by name.
    Raises:
        Conflict: the demands exclude each other.
        DigestMismatch: a file is not the one its line's hash names.
        UsageError: a package is unknown, has no wheel for the target, or the index cannot be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, bounds = folder / "requirements.txt", folder / "constraints.txt"
    wanted.write_text("".join(f"{line}\n" for line in request.lines), encoding="utf-8")
    bounds.write_text("".join(f"{line}\n" for line in request.constraints), encoding="utf-8")
    arguments = ["download", "--no-input", "--progress-bar", "off", "--only-binary", ":all:"]
    arguments += ["--dest", str(folder), "-r", str(wanted), "-c", str(bounds)]
    arguments += [] if request.dependencies else ["--no-deps"]
    options.progress.start("resolve and download" if request.dependencies else "download locked wheels")
    code, output = _run(
        [*arguments, *_target_arguments(target), *_index_arguments(options)], options.progress
    )
    wanted.unlink()
    bounds.unlink()
    if code != 0:
        raise _translate(output, target, options)
    return tuple(sorted(folder.glob("*.whl")))


def _target_arguments(target: Target) -> list[str]:
    """pip compares platform tags by name: each level of the C library must be spelled out."""
    words = ["--python-version", target.python, "--implementation", "cp", "--abi", abi_of(target)]
    return words + [word for name in platforms_of(target) for word in ("--platform", name)]


def _index_arguments(options: CollectOptions) -> list[str]:
    words = ["--no-index"] if options.no_index else []
    words += [word for place in options.find_links for word in ("--find-links", place)]
    return words + list(options.index_arguments)


def _run(arguments: Sequence[str], progress: Progress) -> tuple[int, list[str]]:
    """Run pip; each package it takes up is one advance. Returns: its exit code, and all it said."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    output: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        assert pip.stdout is not None  # noqa: S101  asked for two lines above
        for line in pip.stdout:
            output.append(line.rstrip())
            if line.lstrip().startswith(("Collecting ", "Processing ")):
                progress.advance()
    return pip.returncode, output


def _translate(output: Sequence[str], target: Target, options: CollectOptions) -> SealiftError | Conflict:
    text = "\n".join(output)
    if "No module named pip" in text:
        return UsageError("pip is not installed beside sealift.", next_step='pip install "sealift[pack]"')
    if "ResolutionImpossible" in text or "conflicting dependencies" in text:
        return Conflict(_conflict_lines(output))
    if "DO NOT MATCH THE HASHES" in text:
        return DigestMismatch(
            "A downloaded wheel is not the one that was locked.",
            next_step="find out who changed the file before you lock anew",
            problems=_after(output, "DO NOT MATCH THE HASHES"),
        )
    if "No space left on device" in text:
        return NoSpace(f"No space left for wheels in {options.folder}.")
    if match := re.search(r"No matching distribution found for (.+)", text):
        return _not_found(match[1].strip(), output, target, options)
    return UsageError(
        "pip could not collect the wheels.",
        problems=[line.removeprefix("ERROR: ") for line in output if line.startswith("ERROR")] or output[-3:],
    )


def _conflict_lines(output: Sequence[str]) -> list[str]:
    """pip's own account of a conflict, without its advice."""
    lines = [re.sub(r"^ERROR: ", "", line).strip() for line in output]
    first = next((i for i, line in enumerate(lines) if line.startswith("Cannot install")), 0)
    said = []
    for line in lines[first:]:
        if line.startswith(("To fix this", "Additionally", "ResolutionImpossible")):
            break
        if line and not line.startswith("The conflict is caused by"):
            said.append(line)
    return said


def _after(output: Sequence[str], mark: str) -> list[str]:
    start = next(i for i, line in enumerate(output) if mark in line)
    said = [line.strip() for line in output[start + 1 :]]
    return [line for line in said if line.startswith(("Expected", "Got")) or ".whl" in line or "==" in line][
        :20
    ]


def _not_found(wanted: str, output: Sequence[str], target: Target, options: CollectOptions) -> UsageError:
    name = re.split(r"[\s<>=!~;\[(@]", wanted, maxsplit=1)[0]
    if any("after connection broken by" in line or "Could not fetch URL" in line for line in output):
        return UsageError(
            f"No package index can be reached from here, looking for {wanted}.",
            next_step="pack on a connected machine, or give all wheels locally: [python] wheels",
        )
    offered = next((m[1] for line in output if (m := re.search(r"\(from versions: (.+)\)", line))), "none")
    if offered != "none":
        return UsageError(
            f"No wheel satisfies {wanted} for {target}.", problems=[f"wheels on offer: {offered}"]
        )
    if _has_other_files(name, options):
        return UsageError(
            f"{wanted} is offered, but not as a wheel for {target}.",
            next_step=f"build one on a machine like the box: `pip wheel {name} -w vendor/`, "
            'and name it: [python] wheels = ["vendor/*.whl"]',
        )
    return UsageError(
        f"No package is called {name} where pip looks.", next_step="correct the name, or name its index"
    )


def _has_other_files(name: str, options: CollectOptions) -> bool:
    """Claims that the index knows `name` at all: a source archive, or wheels for other machines."""
    return _run(["index", "versions", name, *_index_arguments(options)], Silent())[0] == 0
