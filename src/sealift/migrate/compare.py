"""Inputs through the project and to the old service -> which answers are equal.

Classes must be equal. Numbers are compared all together: the largest absolute difference, divided by the largest
absolute value of either side, is at most the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.errors import UsageError
from sealift.events import Progress
from sealift.migrate.asking import Answered, NoAnswer, OldClient, request_of, unanswered
from sealift.migrate.old_service import OldService
from sealift.migrate.own import Input, Own, Run
from sealift.migrate.reading import Reading, reading_of, reading_of_own

TOLERANCE: Final = 1e-3
_GIVE_UP_AFTER: Final = 3
"""Failures from the first input on: a service that is not there is not asked 200 times."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One input's two answers in words. `difference`: of their numbers, None where there were none to compare."""

    input: str
    old: str
    new: str
    is_equal: bool
    difference: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All inputs, in their order."""

    pairs: tuple[Pair, ...]
    tolerance: float

    @property
    def differing(self) -> tuple[Pair, ...]:
        """Those that are not equal."""
        return tuple(pair for pair in self.pairs if not pair.is_equal)

    @property
    def largest_difference(self) -> float | None:
        """Of all numbers that were compared."""
        return max((pair.difference for pair in self.pairs if pair.difference is not None), default=None)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask and how: the client, what is known of the service, and the permitted difference."""

    client: OldClient
    service: OldService
    tolerance: float = TOLERANCE


def compare(inputs: Sequence[Input], run: Run, asking: Asking, progress: Progress) -> Comparison:
    """Send every input both ways, one after the other.

    Raises:
        NotServing: an input has no answer of the old service; all of them at once.
        UsageError: there is no input.
    """
    if not inputs:
        raise UsageError("there is no input to compare")
    pairs: list[Pair] = []
    problems: list[str] = []
    progress.start(f"asking {asking.client.place}", len(inputs))
    for given in inputs:
        own = run(given)
        try:
            answered = asking.client.ask(request_of(asking.service.form, given, own))
        except NoAnswer as error:
            problems.append(f"{given.name}: {error}")
        else:
            pairs.append(judge(given.name, answered, own, asking))
        progress.advance()
        if not pairs and len(problems) == _GIVE_UP_AFTER:
            break
    if problems:
        untried = len(inputs) - len(pairs) - len(problems)
        raise unanswered(asking.client.place, problems, untried, len(inputs))
    return Comparison(tuple(pairs), asking.tolerance)


def judge(name: str, answered: Answered, own: Own, asking: Asking) -> Pair:
    """One input's answers. Two refusals are equal."""
    if answered.refusal or own.refusal:
        both = bool(answered.refusal and own.refusal)
        old = answered.refusal or _said(reading_of(answered.document, asking.service))
        new = own.refusal or _said(reading_of_own(own))
        return Pair(name, old, new, both, why="" if both else "one of them refuses")
    old_reading, new_reading = reading_of(answered.document, asking.service), reading_of_own(own)
    found = _differences(old_reading, new_reading)
    difference = max((each for each in found.values() if each is not None), default=None)
    same_class = not old_reading.words or not new_reading.words or bool(old_reading.words & new_reading.words)
    why = _why(found, same_class, old_reading, asking.tolerance)
    return Pair(name, _said(old_reading), _said(new_reading), not why, difference, why)


def _why(found: Mapping[str, float | None], same_class: bool, old: Reading, tolerance: float) -> str:
    if not same_class:
        return "another class"
    if not found and not old.words:
        fields = ", ".join(old.fields) or "nothing"
        return f"nothing to compare; the old answer has {fields}: name its fields in old-service.toml"
    far = [name for name, each in found.items() if each is None or not each <= tolerance]
    return f"{', '.join(far)}: more than {tolerance:g} apart" if far else ""


def _differences(old: Reading, new: Reading) -> dict[str, float | None]:
    """By what was compared; None: they cannot be (another number of values)."""
    found: dict[str, float | None] = {}
    if old.score is not None and new.score is not None:
        found["score"] = _apart(np.asarray(old.score), np.asarray(new.score))
    both = [key for key in old.scores if key in new.scores]
    if both:
        sides = [np.asarray([reading.scores[key] for key in both]) for reading in (old, new)]
        found["probabilities"] = _apart(*sides)
    for name, array in _paired(old.arrays, new.arrays).items():
        found[name or "values"] = _apart(*array)
    return found


def _paired(
    old: Mapping[str, NDArray[Any]], new: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """By name; where no name fits and there is as much on both sides, by place."""
    named = {name: (array, new[name]) for name, array in old.items() if name in new}
    if named or not old:
        return named
    plain = {name: array for name, array in new.items() if name}
    if len(plain) != len(old):
        return {}
    return {name: (array, other) for (name, array), other in zip(old.items(), plain.values(), strict=True)}


def _apart(old: NDArray[Any], new: NDArray[Any]) -> float | None:
    if old.size != new.size:
        return None
    if "U" in (old.dtype.kind, new.dtype.kind) or "O" in (old.dtype.kind, new.dtype.kind):
        return 0.0 if list(map(str, old.reshape(-1))) == list(map(str, new.reshape(-1))) else None
    first, second = old.reshape(-1).astype(np.float64), new.reshape(-1).astype(np.float64)
    if not np.array_equal(np.isfinite(first), np.isfinite(second)):
        return None
    finite = np.isfinite(first)
    largest = max(np.abs(first[finite]).max(initial=0.0), np.abs(second[finite]).max(initial=0.0))
    return float(np.abs(first - second)[finite].max(initial=0.0) / largest) if largest else 0.0


def _said(reading: Reading) -> str:
    """In a few words."""
    if reading.prediction:
        return reading.prediction + (f" {reading.score:.4f}" if reading.score is not None else "")
    for array in reading.arrays.values():
        values = [f"{each:.4g}" if array.dtype.kind == "f" else str(each) for each in array.reshape(-1)[:4]]
        return f"[{', '.join(values)}{', ...' if array.size > 4 else ''}]"
    return f"{reading.score:.4f}" if reading.score is not None else "?"
