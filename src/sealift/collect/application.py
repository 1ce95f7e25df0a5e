"""`[python]` of the project -> the application's wheels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement

from sealift.collect.explain import explained
from sealift.collect.fetch import fetch_pins
from sealift.collect.found import Found
from sealift.collect.pip_words import Conflict, NotFound
from sealift.collect.pylock import Pin, is_unchecked, read_pins
from sealift.collect.question import Question
from sealift.collect.requirements import Demands, read_requirements, shelved
from sealift.collect.solve import Bench
from sealift.collect.tags import markers_of, tags_of
from sealift.collect.wheel import WheelFile, read_wheel
from sealift.errors import UsageError
from sealift.project.project import PythonSources
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class Application:
    """`wheels` by normalised name, chosen and not yet all at hand; `local` are the names that came from the project's
    own files; `pins` are what a lock promised; `lenient` says that the versions were never checked by a resolver;
    `options` are whole lines for the head of pip's requirements file: where the project says to look."""

    wheels: dict[str, Found]
    roots: tuple[Requirement, ...]
    local: frozenset[str] = frozenset()
    pins: tuple[Pin, ...] = ()
    lenient: bool = False
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def collect_application(
    sources: PythonSources, box_pins: Sequence[Pin], bench: Bench, avoid: tuple[str, ...] = ()
) -> Application:
    """Collect what the project's own code needs.

    Local wheels satisfy their names first. A lock is taken as it is, and refused where requirements beside it ask
    for something else by now. Requirements alone are resolved with sealift's
    own versions as long as they allow them. The output of `pip freeze` is taken as it is where it contradicts
    itself: it describes an environment that worked.

    Args:
        avoid: more constraints for pip.
    Raises: UsageError: lines that cannot travel, demands that exclude each other, wheels for another target.
        DigestMismatch: a wheel is not the one that the lock names.
    """
    local = local_wheels(sources.wheels, bench.target)
    if sources.lock is not None:
        return _locked(sources.lock, sources, local, bench)
    file = sources.requirements or sources.freeze
    if file is None:
        return _without_file(local, box_pins, bench, avoid)
    demands = _demands(file, sources, local, bench)
    local |= {n: w for n, w in local_wheels(demands.wheels, bench.target).items() if n not in local}
    return _resolved(Question(demands, local, box_pins, bench, avoid), frozen=sources.freeze is not None)


def _demands(file: Path, sources: PythonSources, local: Mapping[str, WheelFile], bench: Bench) -> Demands:
    return read_requirements(
        file,
        markers_of(bench.target),
        provided=frozenset(local),
        frozen=sources.freeze is not None,
        shelved=shelved(bench.options.find_links),
    )


def _locked(lock: Path, sources: PythonSources, local: dict[str, WheelFile], bench: Bench) -> Application:
    """What a lock names; `requirements` beside it say only whether it is still what was asked for."""
    if lock.suffix == ".toml":
        application = _from_pins(read_pins(lock, bench.target), local, Demands(), bench)
        application = replace(application, lenient=is_unchecked(lock))
    else:
        demands = _demands(lock, sources, local, bench)
        local |= {n: w for n, w in local_wheels(demands.wheels, bench.target).items() if n not in local}
        application = _from_lock(demands, local, bench)
    file = sources.requirements or sources.freeze
    if file is not None:
        _require_current(lock, _demands(file, sources, local, bench), application)
    return application


def _require_current(lock: Path, demands: Demands, application: Application) -> None:
    """Raises: UsageError: the lock does not hold what the requirements ask for by now."""
    problems = []
    for demand in demands.demands:
        found = application.wheels.get(demand.name)
        if found is None or not demand.requirement.specifier.contains(found.version, prereleases=True):
            there = "nothing of that name" if found is None else found.version
            problems.append(f"{demand.origin}: {demand.line()}; locked: {there}")
    if problems:
        raise UsageError(
            f"{lock.name} is older than the requirements beside it.",
            next_step="`sealift lock` writes it anew",
            problems=problems,
        )


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


def _without_file(
    local: dict[str, WheelFile], box_pins: Sequence[Pin], bench: Bench, avoid: tuple[str, ...]
) -> Application:
    if local or bench.box.gpu.lines:
        return _resolved(Question(Demands(), local, box_pins, bench, avoid), frozen=False)
    return Application({}, ())


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
    files = local | {file.wheel.name: file for file in map(read_wheel, paths)}
    wheels = {name: Found.from_file(file) for name, file in files.items()}
    roots = tuple(Requirement(f"{name}=={found.version}") for name, found in wheels.items())
    return Application(
        wheels,
        roots,
        frozenset(local),
        tuple(wanted),
        notes=tuple(demands.notes),
        options=tuple(demands.options),
    )


def _resolved(question: Question, *, frozen: bool) -> Application:
    demands = question.demands
    notes = demands.notes
    try:
        wheels, lenient = _answered(question, frozen), False
    except Conflict as conflict:
        notes = [*notes, *(f"pip freeze contradicts itself: {line}" for line in conflict.lines)]
        wheels, lenient = _as_frozen(question, conflict), True
    return Application(
        wheels,
        tuple(question.roots),
        frozenset(question.local),
        lenient=lenient,
        notes=tuple(notes),
        options=tuple(demands.options),
    )


def _as_frozen(question: Question, conflict: Conflict) -> dict[str, Found]:
    """What contradicts itself, as it stands. Raises: UsageError: not even that can be had for the target."""
    try:
        return question.answer(dependencies=False)
    except NotFound as missing:
        raise explained(question, conflict) from missing


def _answered(question: Question, frozen: bool) -> dict[str, Found]:
    """Raises: Conflict: only where `frozen`. UsageError: everything that stands in the way."""
    try:
        return question.answer()
    except Conflict as conflict:
        if frozen:
            raise
        raise explained(question, conflict) from conflict
    except NotFound as missing:
        if not question.demands.demands:  # of a wheel of the project's own, or of sealift: nothing to relax
            raise
        raise explained(question, missing) from missing
