"""An answer of any of the services -> values that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sealift.migrate.old_service import OldService
from sealift.migrate.own import Own

_PREDICTIONS: Final = (
    "prediction",
    "label",
    "class",
    "class_name",
    "class_id",
    "predicted_class",
    "class_index",
)
_SCORES: Final = ("score", "confidence", "probability")


@dataclass(frozen=True, slots=True)
class Reading:
    """`prediction`: a class by index or word, `words` all that mean it. `scores`: by class, index or word, as text.

    `arrays`: by output; a name of "" fits the only one. `fields`: what the answer had at all.
    """

    prediction: str = ""
    words: frozenset[str] = frozenset()
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


def reading_of_own(own: Own) -> Reading:
    """The project's answer, with its outputs as arrays."""
    reading = reading_of(own.answer, OldService(prediction="prediction"))
    score = reading.score if reading.score is not None else max(reading.scores.values(), default=None)
    words = {str(own.answer[key]) for key in ("prediction", "label") if _is_word(own.answer.get(key))}
    return Reading(
        str(own.answer.get("label", reading.prediction)),
        frozenset(words),
        score,
        reading.scores,
        {**reading.arrays, **own.outputs},
    )


def reading_of(document: Any, service: OldService) -> Reading:
    """An old service's JSON: by the fields that it is known to have, else by the usual names."""
    while isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, Mapping):
        array = _array(document)
        return Reading(arrays={"": array}) if array is not None else _word(document)
    if isinstance(document.get("outputs"), list):
        return Reading(arrays=_tensors(document["outputs"]), fields=tuple(document))
    if "predictions" in document:
        return Reading(arrays=_predictions(document["predictions"]), fields=tuple(document))
    return _by_fields(document, service)


def _by_fields(document: Mapping[str, Any], service: OldService) -> Reading:
    scores = _scores(document)
    said = _found(document, (service.prediction,) if service.prediction else _PREDICTIONS)
    score = _found(document, (service.score,) if service.score else _SCORES)
    if said is None and scores:
        said = max(scores, key=lambda word: scores[word])
        score = scores[said]
    array = None if _is_word(said) else _array(said)
    word = str(said) if _is_word(said) else ""
    return Reading(
        word,
        frozenset({word} - {""}),
        float(score) if _is_number(score) else None,
        scores,
        {"": array} if array is not None else _named_arrays(said),
        tuple(map(str, document)),
    )


def _found(document: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields, with dots between levels."""
    for name in names:
        value: Any = document
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _scores(document: Mapping[str, Any]) -> dict[str, float]:
    """Of `probabilities`, or of an answer that is nothing but numbers by class, as TorchServe's."""
    listed = document.get("probabilities")
    if isinstance(listed, list) and listed and all(isinstance(each, Mapping) for each in listed):
        found: dict[str, float] = {}
        for each in listed:
            chance = each.get("probability", each.get("score"))
            keys = [each[key] for key in ("class", "label") if _is_word(each.get(key))]
            found.update({str(key): float(chance) for key in keys if _is_number(chance)})
        return found
    if isinstance(listed, Mapping):
        document = listed
    numbers = {str(key): float(value) for key, value in document.items() if _is_number(value)}
    known = {*_PREDICTIONS, *_SCORES}
    return numbers if numbers and len(numbers) == len(document) and not known & set(numbers) else {}


def _tensors(outputs: list[Any]) -> dict[str, NDArray[Any]]:
    found = {}
    for each in outputs:
        array = _array(each.get("data")) if isinstance(each, Mapping) else None
        if array is not None:
            found[str(each.get("name", ""))] = array.reshape(-1)
    return found


def _predictions(value: Any) -> dict[str, NDArray[Any]]:
    """MLflow's: an array, arrays by output, or rows of values by output."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        value = {key: [each.get(key) for each in value] for key in value[0]}
    if isinstance(value, Mapping):
        return _named_arrays(value)
    array = _array(value)
    return {} if array is None else {"": array}


def _named_arrays(value: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(value, Mapping):
        return {}
    arrays = {str(key): _array(each) for key, each in value.items()}
    return {key: array for key, array in arrays.items() if array is not None}


def _array(value: Any) -> NDArray[Any] | None:
    """Nested lists of numbers or of texts; None: anything else."""
    if value is None or isinstance(value, Mapping | str):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array if array.dtype.kind in "fiubU" else None


def _word(value: Any) -> Reading:
    return Reading(str(value), frozenset({str(value)})) if _is_word(value) else Reading()


def _is_word(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
