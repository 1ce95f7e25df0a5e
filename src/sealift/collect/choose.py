"""Project's Python sources + Target -> which wheels, before any is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sealift.collect.application import Application, collect_application
from sealift.collect.pip_words import Conflict
from sealift.collect.pylock import Pin
from sealift.collect.runtime import BoxSide
from sealift.collect.solve import Bench, Bounds, conflict_error, solve
from sealift.errors import UsageError
from sealift.project.project import PythonSources
from sealift.target.known_bad import KnownBad, bad_combinations

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """`application`'s wheels, and `own`: those that sealift's box side needs beside them. `pins` are sealift's own
    versions, of which some may have given way. `notes`: one sentence each, for the engineer."""

    application: Application
    own: tuple[Pin, ...]
    pins: tuple[Pin, ...]
    notes: tuple[str, ...]

    @property
    def versions(self) -> dict[str, str]:
        """Normalised name -> version, of all of them."""
        chosen = {name: found.version for name, found in self.application.wheels.items()}
        return {pin.name: pin.version for pin in self.own} | chosen


def choose(sources: PythonSources, bench: Bench) -> Chosen:
    """Choose all wheels of a release. A combination that is known to fail is solved around where that is possible.

    sealift's own versions hold unless the application asks for others within the permitted ranges.

    Raises:
        UsageError: something cannot travel, is not to be had, or excludes something else.
        DigestMismatch: a wheel is not the one that a lock names.
    """
    pins = bench.box.pins(bench.target)
    first = chosen = _choose(sources, pins, bench, ())
    avoided: dict[str, KnownBad] = {}
    for _ in range(_ROUNDS):
        found = {bad.instead: bad for bad in bad_combinations(bench.target, chosen.versions)}
        if not found or sources.lock is not None or found.keys() <= avoided.keys():
            break
        avoided |= found
        try:
            chosen = _choose(sources, pins, bench, tuple(avoided))
        except UsageError:  # the application wants it so; whoever checks the set says what is wrong with it
            return first
    notes = tuple(f"{bad.instead} was asked for: {bad.reason}" for bad in avoided.values())
    return replace(chosen, notes=(*chosen.notes, *notes))


def _choose(sources: PythonSources, pins: Sequence[Pin], bench: Bench, avoid: tuple[str, ...]) -> Chosen:
    application = collect_application(sources, pins, bench, avoid)
    own, moved = _box_side(application, pins, bench, avoid)
    return Chosen(application, own, tuple(pins), (*application.notes, *moved))


def _box_side(
    application: Application, pins: Sequence[Pin], bench: Bench, avoid: tuple[str, ...]
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
    return _around(application, ours, bench, avoid), notes


def _around(
    application: Application, pins: Sequence[Pin], bench: Bench, avoid: tuple[str, ...]
) -> tuple[Pin, ...]:
    """Solve the box side anew around versions that the application has fixed."""
    wheels = application.wheels.values()
    fixed = [*avoid, *(f"{w.name} @ {w.url}" if w.url else f"{w.name}=={w.version}" for w in wheels)]
    local = {str(w.path.parent) for w in wheels if w.path and w.name in application.local}
    near = replace(
        bench, options=replace(bench.options, find_links=(*sorted(local), *bench.options.find_links))
    )
    roots = bench.box.roots(bench.target)
    lines = [*application.options, *(str(root) for root in roots)]
    try:
        found = solve(roots, lines, Bounds.from_pins(bench.box, pins, fixed), near)
    except Conflict as conflict:
        raise conflict_error(conflict, {}) from conflict
    return tuple(each.pin() for name, each in found.items() if name not in application.wheels)


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
