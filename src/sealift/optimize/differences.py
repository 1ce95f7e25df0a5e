"""Two sets of answers to the same items -> a few that a person can look at, with the input beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, Final

from sealift.errors import SealiftError
from sealift.model.photo import decode_photo
from sealift.optimize.data.dataset import Item
from sealift.optimize.evidence.evaluate import Outcome
from sealift.optimize.evidence.metrics import agreement_for
from sealift.optimize.report import Difference
from sealift.optimize.subject import Subject

MOST: Final = 12
EXAMPLES: Final = 6
ALIKE: Final = 0.99
"""Cosine of two vectors from which on nobody would call them different."""
PICTURE_PX: Final = 160
_SHOWN_LETTERS: Final = 160


def differences_of(subject: Subject, outcomes: Sequence[Outcome]) -> tuple[Difference, ...]:
    """Items that both answer differently, at most `MOST`: the first, or of vectors those that are least alike."""
    metric = agreement_for(subject.reference)
    found = [
        (metric.value(old, new), number, item, old, new)
        for number, (item, old, new) in enumerate(
            zip(subject.material.evaluation, subject.outcomes, outcomes, strict=True)
        )
    ]
    unlike = [each for each in found if each[0] < (1.0 if metric.is_share else ALIKE)]
    unlike.sort(key=lambda each: each[:2])
    return tuple(_difference(item, old, new) for _, _, item, old, new in unlike[:MOST])


def examples_of(subject: Subject) -> tuple[Difference, ...]:
    """A few inputs, spread over the evaluation data, with the reference's answers."""
    items, outcomes = subject.material.evaluation, subject.outcomes
    step = max(1, len(items) // EXAMPLES)
    pairs = list(zip(items, outcomes, strict=True))[::step][:EXAMPLES]
    return tuple(_difference(item, outcome, outcome) for item, outcome in pairs)


def _difference(item: Item, old: Outcome, new: Outcome) -> Difference:
    shown, picture = _input(item)
    return Difference(
        item=item.name,
        reference=answer_in_words(old.answer),
        variant=answer_in_words(new.answer),
        label="" if item.label is None else str(item.label),
        shown=shown,
        picture=picture,
    )


def answer_in_words(answer: dict[str, Any]) -> str:
    """`tiger cat, 0.73`, `fraud, 0.91`, `282`, `[0.12, -1.3, ...]`."""
    said = answer.get("label", answer.get("prediction"))
    text = said if isinstance(said, str) else json.dumps(said, default=str)
    best = answer.get("probabilities")
    score = answer.get("score")
    if isinstance(best, list) and best and isinstance(best[0], dict):
        score = best[0].get("probability")
    figure = f", {score:.3g}" if isinstance(score, float) else ""
    return (text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}...") + figure


def _input(item: Item) -> tuple[str, bytes]:
    """(the input in words, a small picture); what cannot be shown is left out."""
    try:
        payload = item.payload()
    except SealiftError:
        return "", b""
    if isinstance(payload, bytes):
        return "", _thumbnail(payload)
    if isinstance(payload, dict) and "inputs" not in payload and "image" not in payload:
        text = ", ".join(f"{key} {value}" for key, value in payload.items())
        return (text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."), b""
    return "", b""


def _thumbnail(body: bytes) -> bytes:
    """A small JPEG of a photo; nothing of what is none."""
    try:
        small = decode_photo(body)
    except SealiftError:
        return b""
    small.thumbnail((PICTURE_PX, PICTURE_PX))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80)
    return written.getvalue()
