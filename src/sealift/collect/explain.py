"""Why pip found no set of wheels -> everything that stands in the way at once, and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from sealift.collect.mend import Mended, exact_version, mend, widened
from sealift.collect.offers import Offer, offers_of
from sealift.collect.pip_words import Conflict, NotFound
from sealift.collect.question import Question
from sealift.collect.requirements import Demand
from sealift.collect.solve import conflict_error, conflict_problems
from sealift.collect.wheel import normalised
from sealift.errors import UsageError
from sealift.target.target import Target


@dataclass(frozen=True, slots=True)
class _Unmet:
    """A demand without any wheel. `others`: what there is instead; `wheels`: versions that have one."""

    at: int
    demand: Demand
    offer: Offer

    def sentence(self) -> str:
        head = f"{self.demand.origin}: {self.demand.line()}:"
        if not self.offer.known:
            return f"{head} no package is called {self.offer.name} where pip looks"
        if not self.offer.wheels:
            return f"{head} no wheel for the target, only {'; '.join(self.offer.others)}"
        return f"{head} no wheel for the target; the newest that has one is {self.newest}"

    @property
    def newest(self) -> Version:
        """Of those with a wheel; a pre-release only where there is nothing else."""
        return next((v for v in self.offer.wheels if not v.is_prerelease), self.offer.wheels[0])


def explained(question: Question, failed: Conflict | NotFound) -> UsageError:
    """Everything that keeps `question` from being answered, and the smallest change, tried out.

    Every name is looked up; then pip solves again with demands relaxed (`mend`).
    """
    bench = question.bench
    bench.options.progress.start("look for what stands in the way")
    demands = question.demands.demands
    offers = offers_of(
        (d.name for d in demands if d.requirement.url is None),
        bench.target,
        bench.options,
        question.demands.options,
    )
    if not all(offer.answered for offer in offers.values()):
        return _unreachable(offers)
    unmet = [
        _Unmet(at, demand, offers[demand.name])
        for at, demand in enumerate(demands)
        if demand.name in offers and not any(demand.requirement.specifier.filter(offers[demand.name].wheels))
    ]
    replaced = {each.at: _wider(each) for each in unmet}
    mended = mend(question, failed, offers, replaced)
    return _told(question, failed, unmet, mended)


def _wider(unmet: _Unmet) -> Demand | None:
    near = widened(unmet.demand, unmet.offer, 0)
    return near if near is not None else widened(unmet.demand, unmet.offer, 1)


def _told(
    question: Question, failed: Conflict | NotFound, unmet: Sequence[_Unmet], mended: Mended
) -> UsageError:
    target, origins = question.bench.target, question.origins
    problems = [each.sentence() for each in unmet]
    for failure in mended.conflicts:
        if isinstance(failure, Conflict):
            problems += conflict_problems(failure, origins) or list(failure.lines)
        else:
            problems.append(_not_found(failure, target))
    next_step = "\n".join(_advice(question, unmet, mended))
    if len(unmet) == 1 and not mended.conflicts:
        return _single(unmet[0], target, next_step)
    if not unmet and isinstance(failed, Conflict):
        message = conflict_error(failed, origins).message
    else:
        message = f"The application's requirements cannot be met for {target}."
    return UsageError(message, next_step=next_step, problems=list(dict.fromkeys(problems)))


def _single(unmet: _Unmet, target: Target, next_step: str) -> UsageError:
    """One demand alone needs no list."""
    offer, line = unmet.offer, unmet.demand.line()
    if not offer.known:
        message = f"No package is called {offer.name} where pip looks ({unmet.demand.origin})."
    elif not offer.wheels:
        message = f"{line} ({unmet.demand.origin}) is offered, but not as a wheel for {target}."
    else:
        message = f"No wheel satisfies {line} ({unmet.demand.origin}) for {target}."
    instead = [f"there is: {kind}" for kind in offer.others] if not offer.wheels else []
    instead += [f"the newest that has a wheel is {unmet.newest}"] if offer.wheels else []
    return UsageError(message, next_step=next_step, problems=instead)


def _not_found(failed: NotFound, target: Target) -> str:
    asker = f", which {failed.asker} needs" if failed.asker else ""
    offered = failed.problems[0] if failed.problems else "there is none of any version"
    return f"{failed.wanted}{asker}: no wheel for {target}; {offered}"


def _advice(question: Question, unmet: Sequence[_Unmet], mended: Mended) -> list[str]:
    """What to type, one line each."""
    target, demands = question.bench.target, question.demands.demands
    lines = _changes(demands, mended)
    for each in unmet:
        if not each.offer.known:
            lines.append(f"  {each.demand.origin}: correct the name, or name its index")
        elif not each.offer.wheels:
            lines += [
                f"  {each.demand.origin}: build the wheel on a machine like the box, from the project's folder:",
                f"    {build_command(each.demand, target)}",
            ]
    if not mended.solved:
        lines.append(f"  (no small change was found in {mended.runs} tries: loosen these demands yourself)")
    return ["change this, then lock again:", *lines] if lines else ["change one of these demands"]


def _changes(demands: Sequence[Demand], mended: Mended) -> list[str]:
    changes: Mapping[int, str] = {at: new for at, new in mended.changes.items() if new is not None}
    if not changes:
        return []
    return [
        *(
            f"  {demands[at].origin}: {demands[at].line()} -> {_name(demands[at])}=={version}"
            for at, version in changes.items()
        ),
        f"  (the smallest change that was found; pip solved it, after {mended.runs} tries)",
    ]


def _name(demand: Demand) -> str:
    extras = f"[{','.join(sorted(demand.requirement.extras))}]" if demand.requirement.extras else ""
    return f"{demand.requirement.name}{extras}"


def build_command(demand: Demand, target: Target) -> str:
    """The command that makes a wheel of a source archive, where `vendor/` is found by itself."""
    version = exact_version(demand)
    what = (
        f"{normalised(demand.requirement.name)}=={version}"
        if version
        else normalised(demand.requirement.name)
    )
    return f"python{target.python} -m pip wheel --no-deps {what} -w vendor/"


def _unreachable(offers: Mapping[str, Offer]) -> UsageError:
    silent = next(name for name, offer in offers.items() if not offer.answered)
    return UsageError(
        f"No package index can be reached from here, looking for {silent}.",
        next_step="pack on a connected machine, or give all wheels locally: in vendor/ beside sealift.toml",
    )
