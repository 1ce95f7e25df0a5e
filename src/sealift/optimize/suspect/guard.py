"""Reference + labelled items -> Suspicions: mistakes of the project that look like a bad model.

Nothing is changed. What is suspected is named, with what the alternatives measured on the same items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.engine.protocol import Session
from sealift.errors import RequestError, UsageError
from sealift.model.declaration import ClassesOutput, ImageInput, ScoresOutput
from sealift.model.handler_load import handler_functions
from sealift.model.rows import chosen_output
from sealift.model.service import ServedModel
from sealift.optimize.data.dataset import evenly
from sealift.optimize.data.item import Item
from sealift.optimize.data.labels import class_index, has_postprocess, is_positive
from sealift.optimize.evidence.delong import areas
from sealift.optimize.evidence.evaluate import Outcome
from sealift.optimize.evidence.intervals import Z, chance_of_at_least, newcombe, wilson
from sealift.optimize.evidence.metrics import class_names, negative_of
from sealift.optimize.report import Alternative, Comparison, Interval, Suspicion
from sealift.optimize.suspect.preprocessing import Way, hits_of, other_ways

if TYPE_CHECKING:
    from sealift.optimize.subject import Subject

NOT_TRAINED: Final = "weights not trained"
LABELS_SHIFTED: Final = "labels shifted"
LOOKED_AT: Final = 64
"""Photos that each alternative is measured on."""
LUCK: Final = 0.05
_LEAST_GAIN: Final = 0.05
_HINT: Final = 0.2
"""A hint is given from 5 points on, where luck alone would give as much in less than 20 of 100 cases."""
_USELESS: Final = 0.2
"""Certainly untrained: not even a fifth of the way from guessing to perfect is within the interval."""

Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Classes:
    """`truth`: class of each item; `said`: [items] the reference's; `classes`: how many there are."""

    truth: NDArray[np.intp]
    said: NDArray[np.intp]
    classes: int

    @property
    def right(self) -> Hits:
        return np.asarray(self.truth == self.said)


def suspicions_of(subject: Subject) -> tuple[Suspicion, ...]:
    """What looks like a mistake; nothing without labels, or where the project's own code makes the answers."""
    if not subject.material.labelled:
        return ()
    return suspicions(subject.reference, subject.session, subject.material.evaluation, subject.outcomes)


def suspicions(
    model: ServedModel, session: Session, items: Sequence[Item], outcomes: Sequence[Outcome]
) -> tuple[Suspicion, ...]:
    """As `suspicions_of`; `outcomes` are the answers to `items`, which all have labels that fit the model."""
    if has_postprocess(model.handler):
        return ()
    if isinstance(model.output, ScoresOutput):
        return tuple(_of_scores(model, items, outcomes))
    if not isinstance(model.output, ClassesOutput):
        return ()
    found = _classes_of(model, items, outcomes)
    shifted = tuple(_shifted(found))
    can_gain = 1 - float(found.right.mean()) >= _LEAST_GAIN
    prepared = _of_photos(model, session, items) if can_gain else ()
    certain = any(each.certain for each in (*shifted, *prepared))
    return (*shifted, *prepared, *(() if certain else _guessing(found)))


def _classes_of(model: ServedModel, items: Sequence[Item], outcomes: Sequence[Outcome]) -> _Classes:
    texts, classes = class_names(model)
    classes = classes or outcomes[0].vector.size
    truth = [class_index(item.label, texts, classes) for item in items]
    said = [int(outcome.vector.argmax()) for outcome in outcomes]
    return _Classes(np.array([-1 if each is None else each for each in truth]), np.array(said), classes)


def _compared(declared: Hits, other: Hits) -> Comparison:
    counts = (declared & other, other & ~declared, declared & ~other, ~declared & ~other)
    reference, value = float(declared.mean()), float(other.mean())
    return Comparison(
        metric="top1",
        n=len(declared),
        reference=reference,
        value=value,
        difference=value - reference,
        interval=newcombe(*(int(count.sum()) for count in counts)),
    )


def _luck(declared: Hits, other: Hits) -> float:
    """How likely items that only one of two gets right fall on the other's side as often (McNemar, exact)."""
    gained, lost = int((other & ~declared).sum()), int((declared & ~other).sum())
    return chance_of_at_least(gained, gained + lost, 0.5) if gained > lost else 1.0


def _shifted(found: _Classes) -> Iterator[Suspicion]:
    """Is every class off by the same number? One of all offsets would fit by luck: each counts as a try."""
    distance = found.said - found.truth
    offsets, counts = np.unique(distance[(distance != 0) & (found.truth >= 0)], return_counts=True)
    if not len(offsets):
        return
    offset, hits = int(offsets[counts.argmax()]), int(counts.max())
    moved = distance == offset
    comparison = _compared(found.right, moved)
    # what guessing gets of this offset, were answers and labels independent
    share = _by_guessing(found.truth + offset, found.said, found.classes)
    tries = 2 if abs(offset) == 1 else 2 * found.classes
    luck = tries * chance_of_at_least(hits, len(moved), share)
    if comparison.interval.low <= 0 or luck > LUCK:
        return
    line = f"labels = ...  # {_other_labels(offset)}"
    sentence = (
        f"the model's class is the label's {offset:+d} for {hits} of {len(moved)} items, and the label itself for "
        f"{int(found.right.sum())}; one of the two counts classes from another start (a background class, or from 1)"
    )
    alternative = Alternative(change=line, comparison=comparison)
    yield Suspicion(what=LABELS_SHIFTED, sentence=sentence, certain=True, alternatives=(alternative,))


def _other_labels(offset: int) -> str:
    entries = "one entry" if abs(offset) == 1 else f"{abs(offset)} entries"
    return f"with {entries} more before the first" if offset > 0 else f"without the first {entries}"


def _by_guessing(truth: NDArray[np.intp], said: NDArray[np.intp], classes: int) -> float:
    """The share that answers would get right if they had nothing to do with the labels; at least 1 / classes.

    The sum over the classes of the share of labels times the share of answers (the chance term of Cohen, Educational
    and Psychological Measurement 20 (1960) 37): a model that always says the most frequent class is guessing.
    """
    either = np.union1d(truth, said)
    shares = [np.array([(each == one).mean() for one in either]) for each in (truth, said)]
    return float(min(max(shares[0] @ shares[1], 1 / classes), 1 - 1e-9))


def _guessing(found: _Classes) -> Iterator[Suspicion]:
    hits, n = int(found.right.sum()), len(found.right)
    share = _by_guessing(found.truth, found.said, found.classes)
    if chance_of_at_least(hits, n, share) <= LUCK:
        return
    high = wilson(hits, n)[1]
    is_certain = high < share + _USELESS * (1 - share)
    sentence = (
        f"{hits} of {n} items are right, and guessing among {found.classes} classes would get {share * n:.1f}; "
        "no other way to prepare them and no shift of the labels explains it: are these the trained weights, and "
        "the labels of this model?"
    )
    yield Suspicion(what=NOT_TRAINED, sentence=sentence, certain=is_certain)


def _of_photos(model: ServedModel, session: Session, items: Sequence[Item]) -> tuple[Suspicion, ...]:
    declared = model.input
    replaced = model.handler is not None and "preprocess" in handler_functions(model.handler)
    spec = chosen_output(model.output, model.signature) if isinstance(model.output, ClassesOutput) else None
    if not isinstance(declared, ImageInput) or replaced or spec is None:
        return ()
    texts, classes = class_names(model)

    def is_right(outputs: dict[str, NDArray[Any]], item: Item) -> bool:
        return int(outputs[spec.name].reshape(-1).argmax()) == class_index(item.label, texts, classes)

    ways = other_ways(declared, model.signature.inputs[0])
    some = evenly(items, LOOKED_AT)
    try:
        hits = hits_of(
            session, model.signature.inputs[0], [declared, *(way.declared for way in ways)], some, is_right
        )
    except (RequestError, UsageError):
        return ()  # tensors in place of photos, or another shape that only some ways can make
    return tuple(_better(ways, hits))


def _better(ways: Sequence[Way], hits: Hits) -> Iterator[Suspicion]:
    """One suspicion for each kind of mistake with a better alternative, the best first."""
    declared = hits[0]
    found: dict[str, list[tuple[Comparison, Way, bool]]] = {}
    for way, other in zip(ways, hits[1:], strict=True):
        comparison, luck = _compared(declared, other), _luck(declared, other)
        certain = comparison.interval.low > 0 and luck * len(ways) < LUCK
        if certain or (comparison.difference >= _LEAST_GAIN and luck < _HINT):
            found.setdefault(way.what, []).append((comparison, way, certain))
    kinds = sorted(found.items(), key=lambda kind: -max(each[0].difference for each in kind[1]))
    for what, each in kinds:
        each.sort(key=lambda one: -one[0].difference)
        best, way, certain = each[0]
        sentence = f"with {way.words} {best.value:.1%} of {best.n} photos are right, as declared {best.reference:.1%}"
        alternatives = tuple(Alternative(change=one[1].change, comparison=one[0]) for one in each)
        yield Suspicion(what=what, sentence=sentence, certain=certain, alternatives=alternatives)


def _of_scores(model: ServedModel, items: Sequence[Item], outcomes: Sequence[Outcome]) -> Iterator[Suspicion]:
    """Is the area under the curve a half, or below?"""
    declared, negative = model.output, negative_of(model)
    if not isinstance(declared, ScoresOutput):
        return
    truth = np.array([is_positive(item.label, declared.positive, negative) for item in items])
    scores = np.array([float(outcome.answer["score"]) for outcome in outcomes])
    if truth.all() or not truth.any():
        return
    found = areas(np.array([np.zeros_like(scores), scores]), truth)  # against a ranking that knows nothing
    area, reach = found.second, Z * float(np.sqrt(max(found.variance, 0.0)))
    if area + reach < 0.5:
        yield _swapped(area, reach, len(truth), negative)
    elif area - reach <= 0.5:
        sentence = (
            f"the area under the curve is {area:.3f} (95 % interval {area - reach:.3f} to {area + reach:.3f}, "
            f"n = {len(truth)}), what guessing gives: are these the trained weights, and the columns in their order?"
        )
        yield Suspicion(what=NOT_TRAINED, sentence=sentence, certain=area + reach < 0.5 + _USELESS / 2)


def _swapped(area: float, reach: float, n: int, negative: str | None) -> Suspicion:
    comparison = Comparison(
        metric="auc",
        n=n,
        reference=area,
        value=1 - area,
        difference=1 - 2 * area,
        interval=Interval(
            low=1 - 2 * (area + reach), high=1 - 2 * (area - reach), method="DeLong 1988, paired"
        ),
    )
    line = f'positive = "{negative}"' if negative is not None else "positive = ...  # the other label"
    sentence = (
        f"items that are labelled positive get the lower scores (area under the curve {area:.3f}): "
        "the score belongs to the other class"
    )
    alternative = Alternative(change=line, comparison=comparison)
    return Suspicion(what=LABELS_SHIFTED, sentence=sentence, certain=True, alternatives=(alternative,))
