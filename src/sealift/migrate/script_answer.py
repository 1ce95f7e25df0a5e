"""What a route answers, as followed through a script -> `[model.output]` and the fields to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sealift.migrate.symbols import Known, Opened, Result, Symbol, Table
from sealift.model.declaration import ClassesOutput, Output, ScoresOutput, TensorOutput

_ACTIVATIONS: Final[Mapping[str, Literal["softmax", "sigmoid", "none"]]] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "": "none",
}
"""What the script does itself is what is done here, whatever the graph does before."""


@dataclass(frozen=True, slots=True)
class Answering:
    """`prediction`, `score`: the fields of the old answer. `labels`: where the words for the classes come from."""

    output: Output
    prediction: str = ""
    score: str = ""
    labels: Opened | Known | None = None
    understood: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


def answering_of(answer: Table | Result | None) -> Answering:
    """Classes where an index of the largest value is given, a score where one is held against a threshold."""
    entries: Mapping[str, Symbol] = answer.entries if isinstance(answer, Table) else {}
    results = {name: each for name, each in entries.items() if isinstance(each, Result)}
    if not results or any(each.activation not in _ACTIVATIONS for each in results.values()):
        return Answering(
            TensorOutput(), check=("its answer was not understood: outputs are tensors as they are",)
        )
    decisions = [(name, each) for name, each in results.items() if each.what == "decision"]
    decided = next((each for each in decisions if each[1].words[0]), decisions[0] if decisions else None)
    if decided is not None:
        return _scores(decided[0], decided[1], results, list(entries))
    return _classes(results, list(entries))


def _scores(name: str, decision: Result, results: Mapping[str, Result], names: list[str]) -> Answering:
    positive, negative = decision.words
    score = next((each for each, result in results.items() if result.what in ("score", "values")), "")
    threshold = decision.threshold if decision.threshold is not None else 0.5
    output = ScoresOutput(
        positive=positive or "positive",
        negative=negative if negative != positive and negative else None,
        threshold=threshold,
        activation=_ACTIVATIONS[decision.activation],
    )
    check = [
        _fields_change(names, "prediction, score, threshold and release"),
        "the score is taken from the output's only value, or the second of two",
    ]
    if not positive:
        check.append("the words for above and below the threshold do not show; set positive and negative")
    return Answering(
        output,
        name if positive else "",
        score,
        understood=(f"answer: {output.positive} where the score reaches {threshold:g}",),
        check=tuple(check),
    )


def _classes(results: Mapping[str, Result], names: list[str]) -> Answering:
    first = {kind: name for name, each in reversed(list(results.items())) for kind in (each.what,)}
    index, label, score = first.get("index", ""), first.get("label", ""), first.get("best", "")
    if not index and not label:
        return Answering(TensorOutput(), check=(_fields_change(names, "prediction and release"),))
    activations = {each.activation for each in results.values() if each.activation}
    labels = results[label].labels if label else None
    output = ClassesOutput(activation=_ACTIVATIONS["".join(sorted(activations)[:1])] if score else None)
    said = f"answer: the largest of the classes, as {index or label}"
    said += f", its probability as {score}" if score else ""
    check = [_fields_change(names, "prediction, label, probabilities and release")]
    return Answering(output, index or label, score, labels, (said,), tuple(check))


def _fields_change(old: list[str], new: str) -> str:
    return f"answers had the fields {', '.join(old)}; /predict answers {new}"
