"""Collected wheels of one target -> the same versions as another one runs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sealift.collect.lock import Collected
from sealift.collect.pip_download import CollectOptions, Request, download
from sealift.collect.runtime import PARTS, BoxSide
from sealift.collect.wheel import LockedWheel, read_wheel
from sealift.errors import DigestMismatch
from sealift.target.target import Target


def collect_alike(collected: Collected, target: Target, options: CollectOptions) -> Collected:
    """The builds of the same packages, version by version, for `target`; each stays in its layer.

    A wheel that names no platform is taken as it is.

    Raises: UsageError: a version is not to be had for that target. DigestMismatch: one that sealift has locked for
        it is another file.
    """
    pure = {wheel.name: wheel for wheel in collected.wheels if wheel.filename.endswith("-any.whl")}
    lines = [f"{wheel.name}=={wheel.version}" for wheel in collected.wheels if wheel.name not in pure]
    paths = _downloaded(lines, target, options)
    others = {wheel.name: wheel for wheel in (read_wheel(path).wheel for path in paths)}
    _check_digests(others.values(), target)
    found = pure | others
    return replace(
        collected,
        runtime=_those(collected.runtime, found),
        dependencies=_those(collected.dependencies, found),
    )


def _downloaded(lines: list[str], target: Target, options: CollectOptions) -> tuple[Path, ...]:
    if not lines:
        return ()
    return download(Request(lines, dependencies=False), target, options, options.folder / "alike")


def _check_digests(wheels: Iterable[LockedWheel], target: Target) -> None:
    """They run on this machine, where a lock for the other one says nothing of them; sealift's own lock does."""
    pins = BoxSide(parts=frozenset(PARTS)).pins(target)
    known = {(pin.name, pin.version): pin.hashes for pin in pins}
    problems = [
        f"{wheel.filename}: expected sha256 {' or '.join(expected)}, found {wheel.sha256}"
        for wheel in wheels
        if (expected := known.get((wheel.name, wheel.version))) and wheel.sha256 not in expected
    ]
    if problems:
        raise DigestMismatch(
            "A wheel for recording is not the one that sealift has locked.",
            next_step="find out who changed the file before you pack again",
            problems=problems,
        )


def _those(wheels: tuple[LockedWheel, ...], found: dict[str, LockedWheel]) -> tuple[LockedWheel, ...]:
    return tuple(found[wheel.name] for wheel in wheels)
