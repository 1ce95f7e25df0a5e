"""Demands that cannot be met -> the smallest change to them that can, found by solving again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sealift.collect.found import Found
from sealift.collect.offers import Offer
from sealift.collect.pip_words import Conflict, NotFound
from sealift.collect.question import Question
from sealift.collect.requirements import Demand
from sealift.collect.wheel import normalised
from sealift.errors import UsageError
from sealift.events import Silent

MOST_RUNS = 24
LONGEST_S = 120.0
_AT_ONCE = 3

Outcome: TypeAlias = "dict[str, Found] | Conflict | NotFound | None"
"""Of one trial; None: pip ended otherwise, or time was up."""


@dataclass(frozen=True, slots=True)
class Mended:
    """`changes`: place of a demand -> the version that does in its stead, None where its wheel must be built first.
    `solved`: with them pip found a set. `conflicts`: those met on the way. `runs`: how often pip was asked."""

    changes: Mapping[int, str | None]
    solved: bool
    conflicts: tuple[Conflict | NotFound, ...]
    runs: int


@dataclass(slots=True)
class _Search:
    """`replaced` is the state so far: place -> what stands there now, None for left out."""

    question: Question
    offers: Mapping[str, Offer]
    replaced: dict[int, Demand | None]
    deadline_s: float
    runs: int = 0
    conflicts: list[Conflict | NotFound] = field(default_factory=list)

    @property
    def may_go_on(self) -> bool:
        return self.runs < MOST_RUNS and time.monotonic() < self.deadline_s

    def tried(self, trials: Sequence[Mapping[int, Demand | None]]) -> list[Outcome]:
        """The outcome of each state, in order, a few at a time."""
        trials = trials[: max(0, MOST_RUNS - self.runs)]
        first, self.runs = self.runs, self.runs + len(trials)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._outcome, trials, range(first, self.runs)))

    def _outcome(self, state: Mapping[int, Demand | None], number: int) -> Outcome:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            return None
        bench = self.question.bench
        alone = replace(
            bench,
            options=replace(bench.options, progress=Silent()),
            scratch=bench.scratch / f"trial-{number}",
            patience_s=left_s,
        )
        try:
            return self.question.changed(state, alone).answer()
        except (Conflict, NotFound) as failed:
            return failed
        except UsageError:
            return None


def mend(
    question: Question,
    failed: Conflict | NotFound,
    offers: Mapping[str, Offer],
    replaced: Mapping[int, Demand | None],
) -> Mended:
    """Relax as few demands as will do, one at a time where one is enough.

    Stops after `MOST_RUNS` runs of pip or `LONGEST_S` seconds.

    Args:
        failed: how `question` failed as it stands.
        offers: what there is of each name that is asked for.
        replaced: demands that no version can meet, with what was put in their place.
    """
    search = _Search(question, offers, dict(replaced), time.monotonic() + LONGEST_S)
    outcome: Outcome = search.tried([search.replaced])[0] if replaced else failed
    while isinstance(outcome, Conflict | NotFound):
        search.conflicts.append(outcome)
        following = _relax_one(search, outcome)
        if following is None or not search.may_go_on:
            return Mended({}, False, tuple(search.conflicts), search.runs)
        outcome = following
    if outcome is None:
        return Mended({}, False, tuple(search.conflicts), search.runs)
    demands = question.demands.demands
    changes = {
        at: None if demand is None else outcome[demand.name].version
        for at, demand in sorted(search.replaced.items())
        if demand is None or not demands[at].requirement.specifier.contains(outcome[demand.name].version)
    }
    return Mended(changes, True, tuple(search.conflicts), search.runs)


def _relax_one(search: _Search, failed: Conflict | NotFound) -> Outcome:
    """Put one relaxed demand into the state, the one that changes least, and say what came of it; None: no way.

    It is looked for among the demands that take part and without the others: another conflict, which pip might
    name in its stead, must not look like a step forward. Where no single one helps, all of them give way.
    """
    blamed = _blamed(search, failed)
    others: dict[int, Demand | None] = dict.fromkeys(
        at for at in range(len(search.question.demands.demands)) if at not in blamed
    )
    widest: dict[int, Demand | None] = {}
    for tier in (0, 1):
        options = {at: wider for at in blamed if (wider := _relaxed(search, at, tier)) is not None}
        widest |= options
        states = [{**search.replaced, **others, at: demand} for at, demand in options.items()]
        solved = [
            (at, outcome)
            for at, outcome in zip(options, search.tried(states), strict=False)
            if isinstance(outcome, dict)
        ]
        if solved:
            best, _ = min(solved, key=lambda each: _distance(search, *each))
            search.replaced = {**search.replaced, best: options[best]}
            break
    else:
        if not widest:
            return None
        search.replaced = {**search.replaced, **widest}
    return search.tried([search.replaced])[0] if search.may_go_on else None


def _blamed(search: _Search, failed: Conflict | NotFound) -> list[int]:
    """Places of the demands that take part in a failure, in the order of the file."""
    if isinstance(failed, NotFound):
        names = {normalised(failed.asker.split("=")[0] or failed.name), normalised(failed.name)}
    else:
        names = {normalised(name) for line in failed.lines for name in _names_in(line)}
    return [
        at
        for at, demand in enumerate(search.question.demands.demands)
        if demand.name in names and search.replaced.get(at, demand) is not None
    ]


def _names_in(line: str) -> Iterator[str]:
    """The packages whose demands a line of pip's account is about."""
    if match := re.match(r"Cannot install (.+) because", line):
        for part in re.split(r", | and ", match[1]):
            yield from re.findall(r"^[A-Za-z0-9._-]+", part)
    elif match := re.match(r"(?:The user requested (?:\(constraint\) )?)?([A-Za-z0-9._-]+)", line):
        yield match[1]


def _relaxed(search: _Search, at: int, tier: int) -> Demand | None:
    """The demand at a place, wider than it stands there now; None if it cannot be.

    Tier 0 keeps an exact version's major number, tier 1 takes any version.
    """
    demand = search.question.demands.demands[at]
    now = search.replaced.get(at, demand)
    if now is None or demand.requirement.url is not None or not now.requirement.specifier:
        return None
    return widened(demand, search.offers.get(demand.name), tier, now)


def widened(demand: Demand, offer: Offer | None, tier: int, now: Demand | None = None) -> Demand | None:
    """`demand` with a wider range that has a wheel; None if there is none, or none wider than `now`."""
    version = exact_version(demand)
    spans = [f"=={version.major}.*"] if version is not None and tier == 0 else [""]
    for span in map(SpecifierSet, spans):
        if offer is not None and any(span.filter(offer.wheels)):
            requirement = Requirement(str(demand.requirement))
            requirement.specifier = span
            wider = replace(demand, requirement=requirement, hashes=())
            return wider if now is None or wider.line() != now.line() else None
    return None


def exact_version(demand: Demand) -> Version | None:
    """1.2 of `==1.2`, else None."""
    specifiers = list(demand.requirement.specifier)
    if len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version:
        return Version(specifiers[0].version)
    return None


def _distance(search: _Search, at: int, outcome: Outcome) -> tuple[int, ...]:
    """How far a demand's new version lies from the one that it asked for; a range is further than any version."""
    demand = search.question.demands.demands[at]
    version = exact_version(demand)
    if version is None or not isinstance(outcome, dict):
        return (1, at)
    new = Version(outcome[demand.name].version)
    return (
        0,
        abs(new.major - version.major),
        abs(new.minor - version.minor),
        abs(new.micro - version.micro),
        at,
    )
