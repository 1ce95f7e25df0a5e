"""Collected wheels of one target -> the same versions as another one runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sealift.collect.lock import Collected
from sealift.collect.pip_download import CollectOptions, Request, download
from sealift.collect.wheel import LockedWheel, read_wheel
from sealift.target.target import Target


def collect_alike(collected: Collected, target: Target, options: CollectOptions) -> Collected:
    """The builds of the same packages, version by version, for `target`; each stays in its layer.

    A wheel that names no platform is taken as it is.

    Raises: UsageError: a version is not to be had for that target.
    """
    pure = {wheel.name: wheel for wheel in collected.wheels if wheel.filename.endswith("-any.whl")}
    lines = [f"{wheel.name}=={wheel.version}" for wheel in collected.wheels if wheel.name not in pure]
    paths = _downloaded(lines, target, options)
    found = pure | {wheel.name: wheel for wheel in (read_wheel(path).wheel for path in paths)}
    return replace(
        collected,
        runtime=_those(collected.runtime, found),
        dependencies=_those(collected.dependencies, found),
    )


def _downloaded(lines: list[str], target: Target, options: CollectOptions) -> tuple[Path, ...]:
    if not lines:
        return ()
    return download(Request(lines, dependencies=False), target, options, options.folder / "alike")


def _those(wheels: tuple[LockedWheel, ...], found: dict[str, LockedWheel]) -> tuple[LockedWheel, ...]:
    return tuple(found[wheel.name] for wheel in wheels)
