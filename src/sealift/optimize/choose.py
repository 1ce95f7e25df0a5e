"""Judged variants -> which ships, which travel beside it, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sealift.optimize.gates import ACCURACY, AGREEMENT
from sealift.optimize.report import Standing, Variant, Verdict
from sealift.project.project import Optimize


@dataclass(frozen=True, slots=True)
class Chosen:
    """The variants with their standing and reasons, in the given order; `ships` is the name of one of them.

    `travels`: the names that the bundle carries, the one to begin with first.
    """

    ships: str
    travels: tuple[str, ...]
    variants: tuple[Variant, ...]
    verdict: str


def choose(variants: Sequence[Variant], wish: Optimize) -> Chosen:
    """The fastest (or smallest) that meets every gate; the reference where none does.

    Args:
        variants: the reference first; the others with their gates, or not built and with reasons.
        wish: `prefer`, `unproven` and `travel` count here.
    """
    reference, *others = variants
    able = sorted((each for each in others if not objections(each, wish)), key=lambda each: _rank(each, wish))
    able = [each for each in able if _is_better(each, reference, wish)]
    names = [*(each.name for each in able), reference.name]
    travels = tuple(names[: wish.travel]) if able else (reference.name,)
    judged = (
        _judged(reference, travels, _why_reference(able, others), passed=True),
        *(_judged(each, travels, _reasons(each, able, wish), passed=each in able) for each in others),
    )
    winner = next(each for each in judged if each.name == travels[0])
    return Chosen(travels[0], travels, judged, _verdict(winner, reference, len(others)))


def objections(variant: Variant, wish: Optimize) -> tuple[str, ...]:
    """What stands against a variant, a sentence each; empty: it may ship.

    A variant whose accuracy is not proven may ship where the project says so (`unproven = "ship"`); every other
    gate has to be passed.
    """
    if variant.standing is Standing.NOT_BUILT:
        return variant.reasons or ("it could not be built",)
    found = []
    for gate in variant.gates:
        excused = (
            gate.verdict is Verdict.NOT_ENOUGH_EVIDENCE
            and gate.name in (ACCURACY, AGREEMENT)
            and wish.unproven == "ship"
        )
        if gate.verdict is not Verdict.PASSED and not excused:
            found.append(_sentence(gate.name, gate.verdict, gate.found, gate.expected))
    return tuple(found)


def _sentence(name: str, verdict: Verdict, found: str, expected: str) -> str:
    return f"{name} {verdict.value}: {found}; expected {expected}"


def _rank(variant: Variant, wish: Optimize) -> tuple[float, float]:
    speedup = variant.speed.speedup if variant.speed is not None else 0.0
    return (variant.size, -speedup) if wish.prefer == "size" else (-speedup, variant.size)


def _is_better(variant: Variant, reference: Variant, wish: Optimize) -> bool:
    """Faster is a gate; smaller is decided here."""
    return wish.prefer == "speed" or variant.size < reference.size


def _judged(variant: Variant, travels: tuple[str, ...], reasons: tuple[str, ...], *, passed: bool) -> Variant:
    standing = Standing.PASSED if passed else Standing.REFUSED
    if variant.name == travels[0]:
        standing = Standing.SHIPS
    elif variant.name in travels:
        standing = Standing.TRAVELS
    elif variant.standing is Standing.NOT_BUILT:
        standing = Standing.NOT_BUILT
    return msgspec.structs.replace(variant, standing=standing, reasons=reasons)


def _why_reference(able: Sequence[Variant], others: Sequence[Variant]) -> tuple[str, ...]:
    if able:
        return (f"{able[0].name} meets every gate and is better",)
    if not others:
        return ("nothing else was tried",)
    return ("no other variant meets every gate and is better",)


def _reasons(variant: Variant, able: Sequence[Variant], wish: Optimize) -> tuple[str, ...]:
    against = objections(variant, wish)
    if against:
        return against
    if variant not in able:
        return ("it meets every gate, and is not smaller than the reference",)
    unproven = tuple(
        f'{gate.name} is not proven: {gate.found}; it may ship because [optimize] unproven = "ship"'
        for gate in variant.gates
        if gate.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    )
    better = "smallest" if wish.prefer == "size" else "fastest"
    place = f"the {better} that meets every gate" if variant is able[0] else f"{able[0].name} is the {better}"
    return (place, *unproven)


def _verdict(winner: Variant, reference: Variant, tried: int) -> str:
    """`int8-static ships: 2.31x as fast, 27 % of the size, agreement 97.5 % (96.1 to 98.4, n = 600)`."""
    if winner.name == reference.name:
        if not tried:
            return f"{reference.name} ships: nothing else was tried"
        of = "the other variant is not" if tried == 1 else f"none of the {tried} other variants is"
        return f"{reference.name} ships: {of} better and within every gate"
    parts = []
    if winner.speed is not None:
        parts.append(f"{winner.speed.speedup:.2f}x as fast")
    parts.append(f"{100 * winner.size / max(reference.size, 1):.0f} % of the size")
    parts += [_brief(comparison.metric, winner) for comparison in winner.comparisons[:2]]
    return f"{winner.name} ships: {', '.join(parts)}"


def _brief(metric: str, winner: Variant) -> str:
    from sealift.optimize.gates import in_words

    return next(in_words(each) for each in winner.comparisons if each.metric == metric)
