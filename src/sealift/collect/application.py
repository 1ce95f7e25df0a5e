"""`[python]` of the project -> the application's wheels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from sealift.collect.fetch import fetch_pins
from sealift.collect.pip_download import Conflict
from sealift.collect.pylock import Pin, read_pins
from sealift.collect.requirements import Demands, read_requirements
from sealift.collect.solve import Bench, Bounds, conflict_error, solve
from sealift.collect.tags import markers_of, tags_of
from sealift.collect.wheel import WheelFile, read_wheel
from sealift.errors import UsageError
from sealift.project.project import PythonSources
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class Application:
    """`wheels` by normalised name; `local` are the names that came from the project's own files;
    `pins` are what a lock promised; `lenient` says that the versions were never checked by a resolver."""

    wheels: dict[str, WheelFile]
    roots: tuple[Requirement, ...]
    local: frozenset[str] = frozenset()
    pins: tuple[Pin, ...] = ()
    lenient: bool = False
    notes: tuple[str, ...] = ()


def collect_application(sources: PythonSources, box_pins: Sequence[Pin], bench: Bench) -> Application:
    """Collect what the project's own code needs.

    Local wheels satisfy their names first. A lock is taken as it is. Requirements are resolved with sealift's
    own versions as long as they allow them. The output of `pip freeze` is taken as it is where it contradicts
    itself: it describes an environment that worked.

    Raises: UsageError: lines that cannot travel, demands that exclude each other, wheels for another target.
        DigestMismatch: a wheel is not the one that the lock names.
    """
    local = local_wheels(sources.wheels, bench.target)
    if sources.lock is not None and sources.lock.suffix == ".toml":
        return _from_pins(read_pins(sources.lock, bench.target), local, Demands(), bench)
    file = sources.requirements or sources.lock or sources.freeze
    if file is None:
        return _without_file(local, box_pins, bench)
    provided = frozenset(local)
    demands = read_requirements(
        file, markers_of(bench.target), provided=provided, frozen=sources.freeze is not None
    )
    local |= {n: w for n, w in local_wheels(demands.wheels, bench.target).items() if n not in local}
    if sources.lock is not None:
        return _from_lock(demands, local, bench)
    return _resolved(demands, local, box_pins, bench, frozen=sources.freeze is not None)


def local_wheels(paths: Sequence[Path], target: Target) -> dict[str, WheelFile]:
    """Wheel files by normalised name. Those for other targets are passed over if one of that name fits.

    Raises: UsageError: a name has no wheel for the target, or two; all of them are named.
    """
    fitting: dict[str, list[WheelFile]] = {}
    for file in map(read_wheel, sorted(set(paths))):
        fits = not file.tags.isdisjoint(tags_of(target))
        fitting.setdefault(file.wheel.name, []).extend([file] if fits else [])
    problems = [f"{name}: none of its wheels is for {target}" for name, files in fitting.items() if not files]
    problems += [
        f"{name}: {', '.join(file.wheel.filename for file in files)}: keep one"
        for name, files in fitting.items()
        if len(files) > 1
    ]
    if problems:
        raise UsageError("[python] wheels does not give one wheel for each package.", problems=problems)
    return {name: files[0] for name, files in fitting.items()}


def _without_file(local: dict[str, WheelFile], box_pins: Sequence[Pin], bench: Bench) -> Application:
    return _resolved(Demands(), local, box_pins, bench, frozen=False) if local else Application({}, ())


def _from_lock(demands: Demands, local: dict[str, WheelFile], bench: Bench) -> Application:
    pins = demands.pins()
    if pins is None:
        loose = [f"{d.origin}: {d.line()}" for d in demands.demands if not d.hashes or "==" not in d.line()]
        raise UsageError(
            "A lock gives every package an exact version and its sha256.",
            next_step="write one with `sealift lock`, or use [python] requirements",
            problems=loose,
        )
    return _from_pins(pins, local, demands, bench)


def _from_pins(
    pins: Sequence[Pin], local: dict[str, WheelFile], demands: Demands, bench: Bench
) -> Application:
    wanted = [pin for pin in pins if pin.name not in local and pin.name != "sealift"]
    paths = fetch_pins(wanted, bench.target, bench.options, bench.folder("lock"), demands.options)
    wheels = local | {file.wheel.name: file for file in map(read_wheel, paths)}
    roots = tuple(Requirement(f"{name}=={file.wheel.version}") for name, file in wheels.items())
    return Application(wheels, roots, frozenset(local), tuple(wanted), notes=tuple(demands.notes))


def _resolved(
    demands: Demands, local: dict[str, WheelFile], box_pins: Sequence[Pin], bench: Bench, *, frozen: bool
) -> Application:
    roots = [demand.requirement for demand in demands.demands]
    roots += [Requirement(f"{name}=={file.wheel.version}") for name, file in local.items()]
    lines = [*demands.options, *(demand.line() for demand in demands.demands)]
    if any(demand.hashes for demand in demands.demands):  # then pip wants a digest for each of the others too
        lines += [
            f"{file.wheel.path.absolute()} --hash=sha256:{file.wheel.sha256}" for file in local.values()
        ]
    else:
        lines += [str(file.wheel.path.absolute()) for file in local.values()]
    bounds = Bounds.from_pins(bench.box, box_pins, [demand.line() for demand in demands.constraints])
    bounds.widen(_excluded(roots, box_pins))
    notes = demands.notes
    try:
        wheels, lenient = solve(roots, lines, bounds, bench), False
    except Conflict as conflict:
        if not frozen:
            raise conflict_error(
                conflict, {_asked(d.line()): d.origin for d in demands.demands}
            ) from conflict
        notes = [*notes, *(f"pip freeze contradicts itself: {line}" for line in conflict.lines)]
        exact = Bounds(bench.box, fixed=bounds.fixed)
        wheels, lenient = solve(roots, lines, exact, bench, dependencies=False), True
    return Application(wheels, tuple(roots), frozenset(local), (), lenient, tuple(notes))


def _excluded(roots: Sequence[Requirement], box_pins: Sequence[Pin]) -> list[str]:
    """Pins that a root excludes in so many words: saves pip a failed attempt."""
    pinned = {pin.name: pin.version for pin in box_pins}
    return [
        name
        for root in roots
        if (name := root.name.lower()) in pinned
        and not root.specifier.contains(pinned[name], prereleases=True)
    ]


def _asked(line: str) -> str:
    """How pip quotes a requirement line in a conflict."""
    return line.split(" --hash")[0]
