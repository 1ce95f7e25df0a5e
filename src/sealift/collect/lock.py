"""Project's Python sources + Target -> every wheel of a release, locked and sorted into its layers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.collect.application import Application, collect_application
from sealift.collect.closure import Closure, closure
from sealift.collect.fetch import fetch_pins
from sealift.collect.pip_download import CollectOptions
from sealift.collect.pip_words import Conflict
from sealift.collect.pylock import Pin
from sealift.collect.runtime import BoxSide
from sealift.collect.solve import Bench, Bounds, conflict_error, solve
from sealift.collect.tags import glibc_floor, markers_of, tags_of
from sealift.collect.wheel import LockedWheel, WheelFile, read_wheel
from sealift.errors import DigestMismatch, UsageError
from sealift.project.project import PythonSources
from sealift.target.known_bad import known_bad
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class Collected:
    """Each tuple is sorted by name; a package is in exactly one of them.

    `runtime`: what sealift's box side needs, directly or not. `dependencies`: everything else.
    `application`: names that the project's own requirements reach, in either layer.
    `glibc`: the oldest C library that these wheels run with. `notes`: one sentence each, for the engineer.
    """

    runtime: tuple[LockedWheel, ...]
    dependencies: tuple[LockedWheel, ...]
    application: frozenset[str]
    glibc: str
    notes: tuple[str, ...] = ()

    @property
    def wheels(self) -> tuple[LockedWheel, ...]:
        """Both layers, sorted by name."""
        return tuple(sorted((*self.runtime, *self.dependencies), key=lambda wheel: wheel.name))


def collect_wheels(
    sources: PythonSources, target: Target, options: CollectOptions, *, box: BoxSide | None = None
) -> Collected:
    """Collect, check and sort all wheels of a release into `options.folder`.

    sealift's own versions hold unless the application asks for others within the permitted ranges.

    Args:
        box: what counts as sealift's box side; None for the real one.
    Raises:
        UsageError: something cannot travel, is not to be had, or excludes something else.
        DigestMismatch: a wheel is not the one that a lock names.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".collect-") as scratch:
        bench = Bench(target, options, box or BoxSide(), Path(scratch))
        pins = bench.box.pins(target)
        application = collect_application(sources, pins, bench)
        own, moved = _box_side(application, pins, bench)
        wheels = _fetch(own, application, bench)
        _check_digests(wheels, (*pins, *application.pins), application.local)
        _check_digests(wheels, [found.pin() for found in application.wheels.values()], frozenset())
        _check_tags(wheels, target)
        return _sorted(wheels, application, moved, bench)


def write_lock(collected: Collected, target: Target) -> str:
    """The application's packages as a hashed requirements file for `[python] lock`; names no index."""
    lines = [f"# Locked by sealift for {target.platform}, Python {target.python}, glibc {target.glibc}."]
    for wheel in collected.wheels:
        if wheel.name in collected.application:
            lines += [f"{wheel.name}=={wheel.version} \\", f"    --hash=sha256:{wheel.sha256}"]
    return "\n".join(lines) + "\n"


def _box_side(
    application: Application, pins: Sequence[Pin], bench: Bench
) -> tuple[tuple[Pin, ...], tuple[str, ...]]:
    """sealift's own wheels beside the application's, and a note for each version that gave way."""
    given = {name: found.version for name, found in application.wheels.items()}
    moved = [pin for pin in pins if given.get(pin.name, pin.version) != pin.version]
    ours = [pin for pin in pins if pin.name not in given]
    if not moved:
        return tuple(ours), ()
    _check_ranges(moved, given, bench.box)
    notes = tuple(
        f"{p.name} {given[p.name]} instead of sealift's own {p.version}: the application asks for it"
        for p in moved
    )
    return _around(application, ours, bench), notes


def _around(application: Application, pins: Sequence[Pin], bench: Bench) -> tuple[Pin, ...]:
    """Solve the box side anew around versions that the application has fixed."""
    fixed = [
        f"{f.name} @ {f.url}" if f.url else f"{f.name}=={f.version}" for f in application.wheels.values()
    ]
    own = [found for name, found in application.wheels.items() if name in application.local]
    folders = tuple(sorted({str(found.path.parent) for found in own if found.path}))
    near = replace(bench, options=replace(bench.options, find_links=(*folders, *bench.options.find_links)))
    roots = bench.box.roots(bench.target)
    lines = [*application.options, *(str(root) for root in roots)]
    try:
        found = solve(roots, lines, Bounds.from_pins(bench.box, pins, fixed), near)
    except Conflict as conflict:
        raise conflict_error(conflict, {}) from conflict
    return tuple(each.pin() for name, each in found.items() if name not in application.wheels)


def _fetch(own: Sequence[Pin], application: Application, bench: Bench) -> dict[str, WheelFile]:
    """The body of every wheel, by name: those on this machine from where they lie, the rest in one go."""
    chosen = application.wheels.values()
    paths = [found.path for found in chosen if found.path is not None]
    theirs = [found.pin() for found in chosen if found.path is None]
    # An index that the project's own file names is asked for the project's own packages alone.
    rounds = [(own, ()), (theirs, application.options)] if application.options else [((*own, *theirs), ())]
    for pins, options in rounds:
        paths += fetch_pins(pins, bench.target, bench.options, bench.folder("wheels"), options)
    return {file.wheel.name: file for file in map(read_wheel, paths)}


def _check_ranges(moved: Sequence[Pin], given: dict[str, str], box: BoxSide) -> None:
    problems = [
        f"{pin.name}: the application brings {given[pin.name]}, sealift's box side runs with {span}"
        for pin in moved
        if not (span := box.range_of(pin.name)).contains(given[pin.name], prereleases=True)
    ]
    if problems:
        raise UsageError(
            "The application and sealift's own box side ask for versions that exclude each other.",
            next_step="change the version in the project's requirements or lock",
            problems=problems,
        )


def _check_digests(wheels: dict[str, WheelFile], pins: Sequence[Pin], local: frozenset[str]) -> None:
    """Whatever way a wheel came, a known digest holds. (A local file is the engineer's own choice.)"""
    known: dict[tuple[str, str], set[str]] = {}
    for pin in pins:
        known.setdefault((pin.name, pin.version), set()).update(pin.hashes)
    problems = [
        f"{w.filename}: expected sha256 {' or '.join(sorted(expected))}, found {w.sha256}"
        for w in (file.wheel for file in wheels.values())
        if w.name not in local and (expected := known.get((w.name, w.version))) and w.sha256 not in expected
    ]
    if problems:
        raise DigestMismatch(
            "A collected wheel is not the one that was locked.",
            next_step="find out who changed the file before you lock anew",
            problems=problems,
        )


def _check_tags(wheels: dict[str, WheelFile], target: Target) -> None:
    tags = tags_of(target)
    problems = [file.wheel.filename for file in wheels.values() if file.tags.isdisjoint(tags)]
    if problems:
        raise UsageError(f"Wheels were collected that do not run on {target}.", problems=problems)


def _sorted(
    wheels: dict[str, WheelFile], application: Application, moved: tuple[str, ...], bench: Bench
) -> Collected:
    markers = markers_of(bench.target)
    ours = closure(bench.box.roots(bench.target), wheels, markers, bench.box.unneeded)
    theirs = closure(application.roots, wheels, markers)
    notes = [*application.notes, *moved, *(theirs.unmet if application.lenient else ())]
    problems = [
        f"{requirement} is needed, but no wheel of that name was given"
        for requirement in _missing(ours, theirs)
    ]
    problems += [] if application.lenient else theirs.unmet
    problems += [*ours.unmet, *known_bad(bench.target, {n: wheels[n].wheel.version for n in wheels})]
    if problems:
        raise UsageError("The collected wheels do not work together.", problems=problems)
    reached = sorted(ours.reached | theirs.reached)
    final = {name: _keep(wheels[name].wheel, bench) for name in reached}
    return Collected(
        runtime=tuple(final[name] for name in reached if name in ours.reached),
        dependencies=tuple(final[name] for name in reached if name not in ours.reached),
        application=theirs.reached,
        glibc=glibc_floor((wheel.filename for wheel in final.values()), bench.target),
        notes=tuple(notes),
    )


def _missing(*closures: Closure) -> list[str]:
    return sorted({str(requirement) for found in closures for requirement in found.missing})


def _keep(wheel: LockedWheel, bench: Bench) -> LockedWheel:
    """The wheel's file in `options.folder`, replacing one of the same name."""
    kept = bench.options.folder / wheel.filename
    if wheel.path.is_relative_to(bench.scratch):
        wheel.path.replace(kept)
    elif wheel.path.absolute() != kept.absolute():
        shutil.copyfile(wheel.path, kept)
    return replace(wheel, path=kept)
