"""Project's Python sources + Target -> every wheel of a release, locked and sorted into its layers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.collect.application import Application
from sealift.collect.choose import Chosen, choose
from sealift.collect.closure import Closure, closure
from sealift.collect.fetch import fetch_pins
from sealift.collect.found import Found
from sealift.collect.pip_download import CollectOptions
from sealift.collect.pylock import Pin
from sealift.collect.runtime import BoxSide
from sealift.collect.solve import Bench
from sealift.collect.tags import glibc_floor, markers_of, tags_of
from sealift.collect.wheel import LockedWheel, WheelFile, normalised, read_wheel
from sealift.errors import DigestMismatch, UsageError
from sealift.project.project import PythonSources
from sealift.target.known_bad import known_bad
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class Collected:
    """Each tuple is sorted by name; a package is in exactly one of them.

    `runtime`: what sealift's box side needs, directly or not. `dependencies`: everything else.
    `application`: names that the project's own requirements reach, in either layer; `asked`: those they name.
    `glibc`: the oldest C library that these wheels run with. `notes`: one sentence each, for the engineer.
    """

    runtime: tuple[LockedWheel, ...]
    dependencies: tuple[LockedWheel, ...]
    application: frozenset[str]
    glibc: str
    notes: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()

    @property
    def wheels(self) -> tuple[LockedWheel, ...]:
        """Both layers, sorted by name."""
        return tuple(sorted((*self.runtime, *self.dependencies), key=lambda wheel: wheel.name))


@dataclass(frozen=True, slots=True)
class Locked:
    """What the application needs, chosen and not downloaded.

    `packages` are sorted by name; `runtime` names those that belong to sealift's own box side, `own` are the rest of
    that; `asked`: names that the project's own lines name. `unchecked` says that the packages were taken from a
    `pip freeze` that contradicts itself; `options` are lines that say where pip is to look.
    """

    packages: tuple[Found, ...]
    runtime: frozenset[str]
    own: tuple[Pin, ...] = ()
    asked: frozenset[str] = frozenset()
    unchecked: bool = False
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def collect_wheels(
    sources: PythonSources, target: Target, options: CollectOptions, *, box: BoxSide | None = None
) -> Collected:
    """Collect, check and sort all wheels of a release into `options.folder`.

    Args:
        box: what counts as sealift's box side; None for the real one.
    Raises: as `choose`.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    with _bench(sources, target, options, box) as bench:
        chosen = choose(sources, bench)
        application = chosen.application
        wheels = _fetch(chosen.own, application, bench)
        _check_digests(wheels, (*chosen.pins, *application.pins), application.local)
        _check_digests(wheels, [found.pin() for found in application.wheels.values()], frozenset())
        _check_tags(wheels, target)
        return _sorted(wheels, chosen, bench)


def lock_wheels(
    sources: PythonSources, target: Target, options: CollectOptions, *, box: BoxSide | None = None
) -> Locked:
    """Choose the application's wheels as `collect_wheels` would, and download none of them.

    Raises: as `choose`; UsageError: they are known not to work together.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    with _bench(sources, target, options, box) as bench:
        chosen = choose(sources, bench)
        application = chosen.application
        reached = closure(
            application.roots, application.wheels, markers_of(target), bench.box.unneeded_by_gpu
        )
        problems = _problems(chosen, target, reached)
        if problems:
            raise UsageError("The chosen wheels do not work together.", problems=problems)
        notes = [*chosen.notes, *(reached.unmet if application.lenient else ())]
        return Locked(
            packages=tuple(application.wheels[name] for name in sorted(reached.reached)),
            runtime=frozenset(pin.name for pin in chosen.pins),
            own=chosen.own,
            asked=_asked(application),
            unchecked=application.lenient,
            notes=tuple(notes),
            options=application.options,
        )


@contextmanager
def _bench(
    sources: PythonSources, target: Target, options: CollectOptions, box: BoxSide | None
) -> Iterator[Bench]:
    """A place to work; the project's own folders of wheels come before those that the door names."""
    near = replace(options, find_links=(*sources.find_links, *options.find_links))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".collect-") as scratch:
        yield Bench(target, near, box or BoxSide(), Path(scratch))


def _problems(chosen: Chosen, target: Target, *reached: Closure) -> list[str]:
    """What speaks against a set, one sentence each."""
    missing = sorted({str(requirement) for found in reached for requirement in found.missing})
    problems = [f"{requirement} is needed, but no wheel of that name was given" for requirement in missing]
    if not chosen.application.lenient:
        problems += reached[0].unmet
    for ours in reached[1:]:
        problems += ours.unmet
    return [*problems, *known_bad(target, chosen.versions)]


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


def _sorted(wheels: dict[str, WheelFile], chosen: Chosen, bench: Bench) -> Collected:
    markers, application = markers_of(bench.target), chosen.application
    ours = closure(bench.box.roots(bench.target), wheels, markers, bench.box.unneeded)
    theirs = closure(application.roots, wheels, markers, bench.box.unneeded_by_gpu)
    problems = _problems(chosen, bench.target, theirs, ours)
    if problems:
        raise UsageError("The collected wheels do not work together.", problems=problems)
    notes = [*chosen.notes, *(theirs.unmet if application.lenient else ())]
    reached = sorted(ours.reached | theirs.reached)
    final = {name: _keep(wheels[name].wheel, bench) for name in reached}
    return Collected(
        runtime=tuple(final[name] for name in reached if name in ours.reached),
        dependencies=tuple(final[name] for name in reached if name not in ours.reached),
        application=theirs.reached,
        glibc=glibc_floor((wheel.filename for wheel in final.values()), bench.target),
        notes=tuple(notes),
        asked=_asked(application),
    )


def _asked(application: Application) -> frozenset[str]:
    return frozenset(normalised(root.name) for root in application.roots)


def _keep(wheel: LockedWheel, bench: Bench) -> LockedWheel:
    """The wheel's file in `options.folder`, replacing one of the same name."""
    kept = bench.options.folder / wheel.filename
    if wheel.path.is_relative_to(bench.scratch):
        wheel.path.replace(kept)
    elif wheel.path.absolute() != kept.absolute():
        shutil.copyfile(wheel.path, kept)
    return replace(wheel, path=kept)
