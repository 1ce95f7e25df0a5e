"""Demands + bounds -> one consistent set of wheels, moving sealift's own pins only where it must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from packaging.requirements import Requirement

from sealift.collect.closure import closure
from sealift.collect.found import Found
from sealift.collect.pip_download import CollectOptions, Request, resolve
from sealift.collect.pip_words import Conflict
from sealift.collect.pylock import Pin
from sealift.collect.runtime import BoxSide
from sealift.collect.tags import markers_of
from sealift.errors import UsageError
from sealift.target.target import Target

_ROUNDS = 12
_OURS = "The user requested (constraint) "


@dataclass(frozen=True, slots=True)
class Bench:
    """Where one collection happens: an empty `scratch` folder on the file system of `options.folder`.

    `patience_s` is how long one run of pip may take; None: as long as it wants.
    """

    target: Target
    options: CollectOptions
    box: BoxSide
    scratch: Path
    patience_s: float | None = None

    def folder(self, purpose: str) -> Path:
        """A folder that does not exist yet."""
        return next(f for n in count() if not (f := self.scratch / f"{purpose}-{n}").exists())


@dataclass(slots=True)
class Bounds:
    """Constraints for pip. `pinned` are sealift's own versions and may widen to the permitted range;
    `fixed` lines stay."""

    box: BoxSide
    pinned: dict[str, str] = field(default_factory=dict)
    widened: set[str] = field(default_factory=set)
    fixed: tuple[str, ...] = ()

    @classmethod
    def from_pins(cls, box: BoxSide, pins: Iterable[Pin], fixed: Sequence[str] = ()) -> Bounds:
        """Every pin at its exact version."""
        return cls(box, {pin.name: pin.version for pin in pins}, set(), tuple(fixed))

    def lines(self) -> list[str]:
        """As pip reads them."""
        exact = [f"{name}=={version}" for name, version in self.pinned.items() if name not in self.widened]
        wide = [f"{name}{span}" for name in sorted(self.widened) if str(span := self.box.range_of(name))]
        return [*exact, *wide, *self.fixed]

    def widen(self, names: Iterable[str]) -> bool:
        """Claims that a pin among `names` gave way to its permitted range."""
        fresh = {name for name in names if name in self.pinned} - self.widened
        self.widened |= fresh
        return bool(fresh)


def solve(
    roots: Sequence[Requirement],
    lines: Sequence[str],
    bounds: Bounds,
    bench: Bench,
    *,
    dependencies: bool = True,
) -> dict[str, Found]:
    """Let pip choose a set, by the target's own markers.

    A release of pip that keeps its own markers (`pip_start.py`) decides for the interpreter it runs in: what the
    target needs beyond that is found by walking the metadata, asked for by name, and solved again.

    Args:
        roots: the demands in `lines`; they decide what is reached.
        lines: the requirements file for pip.
    Returns: normalised name -> wheel.
    Raises: Conflict: no such set, sealift's pins widened as far as they go. UsageError: as `pip_download.resolve`.
    """
    asked = list(lines)
    for _ in range(_ROUNDS):
        request = Request(asked, (), dependencies, bench.patience_s)
        wheels = {found.name: found for found in _widening(request, bounds, bench)}
        missing = closure(roots, wheels, markers_of(bench.target)).missing
        if not missing:
            return wheels
        asked += [_bare(requirement) for requirement in missing]
    raise UsageError(f"The dependencies of {', '.join(r.name for r in missing)} do not come to an end.")


def _widening(request: Request, bounds: Bounds, bench: Bench) -> tuple[Found, ...]:
    """Resolve; where pip blames one of our pins, widen it and try again."""
    while True:
        attempt = replace(request, constraints=bounds.lines())
        try:
            return resolve(attempt, bench.target, bench.options, bench.folder("solve"))
        except Conflict as conflict:
            # pip does not always say which constraint stood in the way: then all of them give way once.
            if not (bounds.widen(conflict.constrained) or bounds.widen(bounds.pinned)):
                raise


def _bare(requirement: Requirement) -> str:
    bare = Requirement(str(requirement))
    bare.marker = None
    return str(bare)


def conflict_error(conflict: Conflict, origins: Mapping[str, str]) -> UsageError:
    """What excludes what, in the user's terms.

    Args:
        origins: requirement text as pip quotes it -> where it stands (`requirements.txt line 3`).
    """
    ours = [
        line for line in conflict.lines if line.startswith(_OURS) and line.removeprefix(_OURS) not in origins
    ]
    if ours:
        message = "The application and sealift's own box side ask for versions that exclude each other."
    else:
        message = "The application's requirements exclude each other."
    return UsageError(
        message,
        next_step="change one of these demands",
        problems=conflict_problems(conflict, origins) or conflict.lines,
    )


def conflict_problems(conflict: Conflict, origins: Mapping[str, str]) -> list[str]:
    """One sentence for each demand that takes part; `origins` as for `conflict_error`."""
    problems = []
    for line in conflict.lines:
        asked = line.removeprefix(_OURS).removeprefix("The user requested ")
        if line.startswith(_OURS) and asked not in origins:
            problems.append(f"sealift's box side runs with {asked}")
        elif line.startswith("The user requested "):
            problems.append(f"{origins.get(asked, 'the project')} asks for {asked}")
        elif not line.startswith("Cannot install"):
            problems.append(line)
    return problems
