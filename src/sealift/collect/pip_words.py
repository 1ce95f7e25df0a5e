"""What pip says when it fails -> an error in sealift's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sealift.errors import DigestMismatch, NoSpace, SealiftError, UsageError
from sealift.target.target import Target


class Conflict(Exception):
    """pip found no set of versions. `lines` are its own words; `constrained` the names it blames a
    constraint of ours for."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        found = (re.search(r"\(constraint\)\s+([A-Za-z0-9._-]+)", line) for line in lines)
        self.constrained = frozenset(match[1].lower().replace("_", "-") for match in found if match)


class Unclear(UsageError):
    """pip failed in a way that is not one of those known here; its own words are the problems."""


class NotFound(UsageError):
    """No wheel was found for `wanted` (a requirement as pip quotes it): the name is unknown, has no wheel for the
    target, or none of that version. `asker` is the package whose metadata wants it, or empty."""

    def __init__(self, wanted: str, target: Target, *, asker: str = "", offered: Sequence[str] = ()) -> None:
        problems = [f"wheels on offer: {', '.join(offered)}"] if offered else []
        super().__init__(f"No wheel satisfies {wanted} for {target}.", problems=problems)
        self.wanted = wanted
        self.asker = asker

    @property
    def name(self) -> str:
        """As pip quotes it, not normalised."""
        return re.split(r"[\s<>=!~;\[(@]", self.wanted, maxsplit=1)[0]


def failure(lines: Sequence[str], target: Target, folder: Path) -> SealiftError | Conflict:
    """The error that pip's words amount to; `folder` is where it was to write."""
    text = "\n".join(lines)
    if "No module named pip" in text or "No module named 'pip'" in text:
        return UsageError("pip is not installed beside sealift.", next_step='pip install "sealift[pack]"')
    if "ResolutionImpossible" in text or "conflicting dependencies" in text:
        return Conflict(_conflict_lines(lines))
    if "DO NOT MATCH THE HASHES" in text:
        return DigestMismatch(
            "A downloaded wheel is not the one that was locked.",
            next_step="find out who changed the file before you lock anew",
            problems=_after(lines, "DO NOT MATCH THE HASHES"),
        )
    if "No space left on device" in text:
        return NoSpace(f"No space left for wheels in {folder}.")
    if match := re.search(r"No matching distribution found for (.+)", text):
        return _not_found(re.sub(r" \(from .+\)$", "", match[1].strip()), lines, target)
    return Unclear(
        "pip could not collect the wheels.",
        problems=[line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")] or lines[-3:],
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


def _not_found(wanted: str, lines: Sequence[str], target: Target) -> UsageError:
    if is_offline(lines):
        return UsageError(
            f"No package index can be reached from here, looking for {wanted}.",
            next_step="pack on a connected machine, or give all wheels locally: in vendor/ beside sealift.toml",
        )
    offered = next((m[1] for line in lines if (m := re.search(r"\(from versions: (.+)\)", line))), "none")
    found = next(
        (m for line in lines if (m := re.search(r"satisfies the requirement .+? \(from ([^)]+)\)", line))),
        None,
    )
    asker = found[1] if found and not found[1].startswith(("versions", "-r", "-c")) else ""
    return NotFound(
        wanted, target, asker=asker.split("->")[0], offered=() if offered == "none" else offered.split(", ")
    )


def is_offline(lines: Sequence[str]) -> bool:
    """Claims that an index did not answer at all."""
    return any("after connection broken by" in line or "Could not fetch URL" in line for line in lines)
