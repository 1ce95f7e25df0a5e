"""`[python]` of the project -> the application's wheels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from sealift.collect.explain import explained
from sealift.collect.fetch import fetch_pins
from sealift.collect.found import Found
from sealift.collect.pip_words import Conflict, NotFound
from sealift.collect.pylock import Pin, read_pins
from sealift.collect.question import Question
from sealift.collect.requirements import Demands, read_requirements
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
    if local or bench.box.gpu.lines:
        return _resolved(Demands(), local, box_pins, bench, frozen=False)
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
    return Application(wheels, roots, frozenset(local), tuple(wanted), notes=tuple(demands.notes))


def _resolved(
    demands: Demands, local: dict[str, WheelFile], box_pins: Sequence[Pin], bench: Bench, *, frozen: bool
) -> Application:
    question = Question(demands, local, box_pins, bench)
    notes = demands.notes
    try:
        wheels, lenient = _answered(question, frozen), False
    except Conflict as conflict:
        notes = [*notes, *(f"pip freeze contradicts itself: {line}" for line in conflict.lines)]
        wheels, lenient = question.answer(dependencies=False), True
    options = tuple(demands.options)
    return Application(wheels, tuple(question.roots), frozenset(local), (), lenient, tuple(notes), options)


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
