"""PEP 751 lock files: sealift's own `box.lock` and the application's `pylock.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.pylock import Package, PackageWheel, Pylock, PylockValidationError
from packaging.specifiers import SpecifierSet
from packaging.tags import create_compatible_tags_selector
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from sealift.collect.tags import markers_of, tags_of
from sealift.errors import UsageError
from sealift.target.target import Target, version_key


@dataclass(frozen=True, slots=True)
class Pin:
    """One exact version whose wheel must have one of `hashes` (sha256, hex); normally there is just one.

    `url` is empty but for a wheel that comes from an address of its own and from no index.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    url: str = ""

    def line(self) -> str:
        """As pip reads it."""
        what = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " ".join([what, *(f"--hash=sha256:{digest}" for digest in self.hashes)])


def read_pins(lock: Path, target: Target, extras: frozenset[str] = frozenset()) -> tuple[Pin, ...]:
    """The wheels of a PEP 751 lock that `target` takes, one per package, in the lock's order.

    Args:
        extras: those of the lock's extras that are wanted.
    Raises: UsageError: the lock is malformed, is for another Python or (one of sealift's own) another target, or
        has packages with no wheel and sha256 for this target; all of them are named.
    """
    document = _parse(lock)
    _require_target(document, target, lock)
    addressed = frozenset(_own_table(document).get("addressed", ()))
    pins: list[Pin] = []
    problems: list[str] = []
    for package in _applicable(document, target, lock, extras):
        pin = _pin(package, target, addressed=package.name in addressed)
        if isinstance(pin, str):
            problems.append(pin)
        else:
            pins.append(pin)
    if problems:
        raise UsageError(
            f"{lock} locks packages that cannot travel to {target}.",
            next_step="`sealift lock` for this target, or build a wheel: `pip wheel --no-deps NAME -w vendor/`",
            problems=problems,
        )
    return tuple(pins)


def is_unchecked(lock: Path) -> bool:
    """Claims that sealift locked a `pip freeze` that contradicts itself, as it stood.

    Raises: UsageError: the lock is malformed.
    """
    return _own_table(_parse(lock)).get("unchecked") is True


def _own_table(document: Pylock) -> Mapping[str, Any]:
    """`[tool.sealift]`; empty in a lock of another tool's."""
    table = (document.tool or {}).get("sealift", {})
    return table if isinstance(table, dict) else {}


def _require_target(document: Pylock, target: Target, lock: Path) -> None:
    """Raises: UsageError: sealift locked it for another platform, Python or CUDA, or for a newer C library."""
    told = _own_table(document).get("target")
    if not isinstance(told, dict):
        return
    pairs = (
        ("platform", told.get("platform"), target.platform),
        ("Python", told.get("python"), target.python),
        ("CUDA", told.get("cuda"), target.cuda),
    )
    problems = [
        f"{what}: locked for {was or 'none'}, packing for {now or 'none'}"
        for what, was, now in pairs
        if was != now
    ]
    glibc = str(told.get("glibc", "0"))
    if version_key(glibc) > version_key(target.glibc):
        problems.append(f"C library: locked for glibc {glibc}, packing for {target.glibc}")
    if problems:
        raise UsageError(
            f"{lock.name} was locked for {told.get('platform')}, Python {told.get('python')}, glibc {glibc}; "
            f"this is for {target}.",
            next_step="`sealift lock` for this target, or correct [target]",
            problems=problems,
        )


def _parse(lock: Path) -> Pylock:
    try:
        return Pylock.from_dict(tomllib.loads(lock.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, PylockValidationError) as error:
        raise UsageError(f"{lock} is not a readable lock file: {error}") from error


def _applicable(document: Pylock, target: Target, lock: Path, extras: frozenset[str]) -> list[Package]:
    """The packages whose markers hold. (`Pylock.select` would stop at the first that has no wheel.)"""
    markers = markers_of(target)
    if not _takes(document.requires_python, target):
        raise UsageError(f"{lock} is for Python {document.requires_python}; the target has {target.python}.")
    if document.environments and not any(
        m.evaluate(markers, context="requirement") for m in document.environments
    ):
        raise UsageError(
            f"{lock} was locked for other environments than {target.platform}, Python {target.python}."
        )
    values: dict[str, str | frozenset[str]] = {
        **markers,
        "extras": extras,
        "dependency_groups": frozenset(document.default_groups or []),
    }
    chosen = [
        p for p in document.packages if p.marker is None or p.marker.evaluate(values, context="lock_file")
    ]
    twice = sorted({p.name for p in chosen if sum(q.name == p.name for q in chosen) > 1})
    if twice:
        raise UsageError(f"{lock} selects several entries for: {', '.join(twice)}.")
    return chosen


def _takes(requires: SpecifierSet | None, target: Target) -> bool:
    return requires is None or requires.contains(markers_of(target)["python_full_version"], prereleases=True)


def _pin(package: Package, target: Target, *, addressed: bool) -> Pin | str:
    """The best wheel for `target`, or a sentence that says why there is none."""
    label = f"{package.name} {package.version or '(no version)'}"
    if package.vcs or package.directory or package.archive:
        return f"{label}: locked as source, not as a wheel"
    if package.version is None or not package.wheels:
        return f"{label}: the lock lists no wheel"
    if not _takes(package.requires_python, target):
        return f"{label}: needs Python {package.requires_python}"
    try:
        candidates = [(wheel, parse_wheel_filename(wheel.filename)[3]) for wheel in package.wheels]
    except InvalidWheelFilename as error:
        return f"{label}: {error}"
    best: PackageWheel | None = next(create_compatible_tags_selector(tags_of(target))(candidates), None)
    if best is None:
        return f"{label}: none of its {len(candidates)} wheels is for this target"
    if "sha256" not in best.hashes:
        return f"{label}: {best.filename} has no sha256"
    # Other tools write the address of every wheel; a mirror's own index is asked in their place.
    url = best.url or "" if addressed else ""
    return Pin(package.name, str(package.version), (best.hashes["sha256"].lower(),), url)
