"""Which wheels of a set a requirement reaches, and what the set lacks: `pip check` for another machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from packaging.requirements import Requirement

from sealift.collect.wheel import normalised


class Candidate(Protocol):
    """A wheel with what it asks for: at hand (`WheelFile`), or only chosen (`Found`)."""

    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def requires(self) -> tuple[Requirement, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Closure:
    """`reached`: names of the wheels that the roots need, directly or not. `missing`: needed, not there.
    `unmet`: one sentence per version that does not satisfy a demand."""

    reached: frozenset[str]
    missing: tuple[Requirement, ...]
    unmet: tuple[str, ...]


def closure(
    roots: Iterable[Requirement],
    wheels: Mapping[str, Candidate],
    markers: Mapping[str, str],
    unneeded: Mapping[str, frozenset[str]] | None = None,
) -> Closure:
    """Walk from `roots` along Requires-Dist, with markers as they hold on the target.

    Args:
        roots: their own markers were evaluated already; extras count.
        wheels: by normalised name.
        unneeded: package -> demands of its metadata that do not count, both by normalised name.
    """
    dropped = unneeded or {}
    reached: set[str] = set()
    seen: set[tuple[str, str]] = set()
    missing: dict[str, Requirement] = {}
    unmet: dict[str, None] = {}
    todo = [(root, "this project") for root in roots]
    while todo:
        demand, asker = todo.pop()
        name = normalised(demand.name)
        if name not in wheels:
            missing.setdefault(name, demand)
            continue
        found = wheels[name]
        if not demand.specifier.contains(found.version, prereleases=True):
            unmet[f"{asker} needs {demand.name}{demand.specifier}, found {found.version}"] = None
        reached.add(name)
        for extra in {"", *demand.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                asked = _requires(found, extra, markers)
                todo += [(r, name) for r in asked if normalised(r.name) not in dropped.get(name, ())]
    return Closure(frozenset(reached), tuple(missing.values()), tuple(sorted(unmet)))


def _requires(wheel: Candidate, extra: str, markers: Mapping[str, str]) -> list[Requirement]:
    """What `wheel` asks for because of `extra` ("" for always)."""
    here = {**markers, "extra": extra}
    return [r for r in wheel.requires if (r.marker.evaluate(here) if r.marker else not extra)]
