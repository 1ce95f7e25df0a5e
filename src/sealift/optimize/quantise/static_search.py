"""Calibrated model -> the static INT8 recipe that keeps the answers: ranges first, then what stays in floating point.

Recipes are compared on calibration items only. The evaluation items judge what came out of it, once: a recipe that
was picked by them would look better than it is.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from sealift.engine.choose import engine_of
from sealift.engine.protocol import EngineOptions
from sealift.errors import ModelError
from sealift.events import Progress, Silent
from sealift.model.service import ServedModel
from sealift.optimize.data.dataset import Item, evenly
from sealift.optimize.evidence.evaluate import Outcome, evaluate
from sealift.optimize.evidence.metrics import agreement_for, cosine
from sealift.optimize.evidence.paired import compare
from sealift.optimize.quantise.calibrate import Observed
from sealift.optimize.quantise.sensitivity import exclusion_order, layer_effects
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static
from sealift.optimize.report import Layer
from sealift.optimize.subject import Subject

METHODS: Final = ("minmax", "percentile 99.99", "entropy")
COMPARED: Final = 160
"""Calibration items that recipes are compared on."""
LOOKED_AT: Final = 4
"""Items that the effect of a single layer is measured on."""
EXCLUDED: Final = (1, 2, 4, 8, 16)
WORTH: Final = 0.02
"""More agreement than this must come of leaving more layers in floating point: they cost time and size, and with
`COMPARED` items less is chance."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best recipe and its file. On calibration items: `agreement` with the reference, mean `likeness` (cosine) of
    the answers, which tells recipes apart before a class changes. `layers`: what quantising each alone does."""

    recipe: StaticRecipe
    path: Path
    agreement: float
    likeness: float
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class _Search:
    """What every attempt is made from."""

    subject: Subject
    model: Path
    observed: Observed
    folder: Path
    items: tuple[Item, ...]
    expected: tuple[Outcome, ...]

    def attempt(self, recipe: StaticRecipe, number: int) -> Found:
        path = quantise_static(self.model, self.observed, recipe, self.folder / str(number) / "model.onnx")
        served = replace(self.subject.reference, path=path, engine="", precision="int8")
        answers = _answers(self.subject, served, self.items)
        agreement = compare(agreement_for(served), self.expected, answers, [None] * len(answers))
        likeness = statistics.fmean(map(cosine, self.expected, answers))
        return Found(recipe, path, agreement.value, likeness)


def search(
    subject: Subject, model: Path, observed: Observed, recipe: StaticRecipe, folder: Path, progress: Progress
) -> tuple[Found, ...]:
    """Try the ways to choose ranges; then, where answers were lost, leave the layers that hurt most in floating point.

    Args:
        model: the calibrated file. folder: where attempts are written.
    Returns: all layers quantised, and beside it the mixed one where that agrees clearly better: it is slower and
        larger, so which of them ships is for the gates and the race to say.
    Raises: ModelError: it cannot be quantised.
    """
    items = evenly(subject.material.calibration, COMPARED)
    expected = _answers(subject, subject.reference, items)
    one = _Search(subject, model, observed, folder, items, expected)
    progress.start("int8-static: choose ranges", len(METHODS))
    whole = _best_method(one, recipe, progress)
    progress.start("int8-static: effect of each layer")
    looked_at = [item.prepare(subject.pipeline).inputs for item in evenly(items, LOOKED_AT)]
    layers = layer_effects(model, observed, whole.recipe, looked_at)
    found = [whole]
    target = (1 + subject.project.optimize.min_agreement) / 2
    if whole.agreement < target:
        mixed = _without_worst(one, whole, exclusion_order(layers), target, progress)
        found += [mixed] if mixed is not whole else []
    return tuple(replace(each, layers=_marked(layers, each.recipe)) for each in found)


def _marked(layers: Sequence[Layer], recipe: StaticRecipe) -> tuple[Layer, ...]:
    return tuple(msgspec.structs.replace(each, excluded=each.node in recipe.exclude) for each in layers)


def _best_method(one: _Search, recipe: StaticRecipe, progress: Progress) -> Found:
    """The one whose answers are most alike; the simpler of equals."""
    found = []
    for number, method in enumerate(METHODS):
        found.append(one.attempt(replace(recipe, method=method), number))
        progress.advance()
    return max(found, key=lambda each: each.likeness)


def _without_worst(
    one: _Search, best: Found, order: Sequence[str], target: float, progress: Progress
) -> Found:
    """Leave out 1, 2, 4, ... layers until the target is met; fewer where more gain nothing."""
    counts = [count for count in EXCLUDED if count < len(order)]
    progress.start("int8-static: without the layers that hurt", len(counts))
    for number, count in enumerate(counts, start=len(METHODS)):
        try:
            found = one.attempt(replace(best.recipe, exclude=tuple(order[:count])), number)
        except ModelError:
            break  # nothing is left to quantise
        progress.advance()
        if found.agreement > best.agreement + WORTH:
            best = found
        if best.agreement >= target:
            break
    return best


def _answers(subject: Subject, model: ServedModel, items: Sequence[Item]) -> tuple[Outcome, ...]:
    session = engine_of(model).load(model.path, EngineOptions(threads=subject.cores, device=("cpu",)))
    return evaluate(session, subject.pipeline, model, items, Silent())
