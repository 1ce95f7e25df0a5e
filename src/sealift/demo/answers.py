"""What `predict --json` printed -> the first class; and what it must be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sealift.errors import SealiftError

EXPECTED: Final = {"chelsea.png": frozenset({281, 282, 285}), "coffee.png": frozenset({967})}
"""The classes that these photos must get: a tabby, tiger or Egyptian cat; espresso."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One class; `probability` in 0..1."""

    index: int
    label: str
    probability: float


def read_answers(document: dict[str, Any]) -> list[Answer]:
    """The first class of each input that `predict --json` was given.

    Raises: SealiftError: it printed something else.
    """
    try:
        answers = document.get("answers", [document])
        return [
            Answer(int(one["prediction"]), str(one["label"]), float(one["probabilities"][0]["probability"]))
            for one in answers
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SealiftError(f"predict --json printed no class: {json.dumps(document)[:200]}") from error


def check_expected(name: str, answer: Answer) -> None:
    """Raises: SealiftError: one of the demo's own photos came out as something it is not."""
    expected = EXPECTED.get(name)
    if expected is not None and answer.index not in expected:
        raise SealiftError(
            f"{name} came out as {answer.label} ({answer.index}), expected one of {sorted(expected)}"
        )
