"""What is measured for each kind of output, and what a user's own file may say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealift.errors import ModelFailed, ProjectError
from sealift.model.declaration import (
    ClassesOutput,
    EmbeddingOutput,
    Output,
    ScoresOutput,
    TensorInput,
    TensorOutput,
)
from sealift.model.service import ServedModel
from sealift.model.signature import Signature, TensorSpec
from sealift.optimize.data.labels import class_index, is_positive, label_problems, numbers_of
from sealift.optimize.evidence.bootstrap import BCA
from sealift.optimize.evidence.evaluate import Outcome
from sealift.optimize.evidence.metrics import agreement_for, cosine, largest_difference, metrics_for
from sealift.optimize.evidence.paired import UNSEEN, compare
from sealift.optimize.report import Comparison

HANDLER = "def postprocess(outputs):\n    return 1\n"


def served(output: Output, columns: int = 8, labels: tuple[str, ...] = ()) -> ServedModel:
    spec = TensorSpec(name="y", datatype="FP32", shape=("n", columns), labels=labels)
    signature = Signature(inputs=(), outputs=(spec,), batch_axis="n")
    return ServedModel(name="m", path=Path("m.onnx"), signature=signature, input=TensorInput(), output=output)


def own(output: Output, folder: Path) -> ServedModel:
    (folder / "handler.py").write_text(HANDLER)
    return replace(served(output), handler=folder / "handler.py")


def outcome(vector: Sequence[float], **answer: Any) -> Outcome:
    return Outcome(answer, np.array(vector, np.float32), len(vector))


def measured(
    model: ServedModel,
    reference: Sequence[Outcome],
    variant: Sequence[Outcome],
    labels: Sequence[object],
    wanted: str | Path | None = None,
) -> dict[str, Comparison]:
    metrics = metrics_for(model, wanted, labels)
    return {metric.name: compare(metric, reference, variant, labels) for metric in metrics}


def test_classes_are_counted_by_the_vector_not_by_the_declared_top() -> None:
    model = served(ClassesOutput(labels=tuple("abcdefgh"), top=1))
    ramp = outcome([8, 7, 6, 5, 4, 3, 2, 1], prediction=0)
    found = measured(model, [ramp] * 4, [ramp] * 4, ["a", "e", "f", 3])
    assert list(found) == ["top1", "top5"]
    assert (found["top1"].value, found["top5"].value) == (0.25, 0.75)
    few = served(ClassesOutput(), columns=3)
    assert [metric.name for metric in metrics_for(few, None)] == ["top1"]


def test_a_label_is_a_text_of_the_model_or_a_number() -> None:
    assert class_index("lynx", ("cat", "lynx"), 2) == 1
    assert class_index(1.0, ("cat", "lynx"), 2) == 1
    assert class_index("1", ("1", "2"), 2) == 0
    assert [class_index(label, (), 10) for label in ("3", 10, "-1", "dog", "²", None)] == [3] + [None] * 5
    sides = [is_positive(label, "bad", None) for label in ("bad", "good", 1, 0, True, "false", "1")]
    assert sides == [True, False, True, False, True, False, True]
    assert not is_positive("1", "0", None)


@pytest.mark.parametrize(
    ("output", "labels", "problem"),
    [
        (ClassesOutput(labels=("cat", "lynx")), ["cat", "linx"], "'linx': expected a label of the model"),
        (ClassesOutput(), ["8"], "label '8': expected a label of the model, or a class number below 8"),
        (ScoresOutput(positive="bad", negative="good"), ["bad", "fine"], "label 'fine': expected 'bad' and"),
        (TensorOutput(), [1.5, "2", "three"], "label 'three': expected a number"),
    ],
)
def test_labels_that_mean_nothing_are_told(output: Output, labels: list[object], problem: str) -> None:
    with pytest.raises(ProjectError, match="labels of the evaluation data do not fit model m") as failure:
        metrics_for(served(output, 2 if labels[0] == "cat" else 8), None, labels)
    assert problem in "\n".join(failure.value.problems)
    assert len(failure.value.problems) == 1


def test_the_models_own_labels_count_where_none_are_declared() -> None:
    model = served(ClassesOutput(), 2, labels=("no", "yes"))
    assert metrics_for(model, None, ["no", "yes", 1])
    assert label_problems(ScoresOutput(positive="yes"), ["yes", "maybe"], ("no", "yes")) != []


def test_scores_are_ranked_and_counted_at_their_threshold() -> None:
    model = served(ScoresOutput(positive="bad", threshold=0.5), 1)
    scores = [0.9, 0.8, 0.4, 0.3, 0.2, 0.6]
    labels = ["bad", "bad", "bad", "good", "good", "good"]
    outcomes = [
        outcome([score], prediction="bad" if score >= 0.5 else "good", score=score) for score in scores
    ]
    found = measured(model, outcomes, outcomes, labels)
    assert list(found) == ["auc", "f1"]
    assert found["auc"].value == pytest.approx(8 / 9)
    assert found["f1"].value == pytest.approx(2 / 3)  # 2 hits, 1 false alarm, 1 miss
    first = [metric.name for metric in metrics_for(model, "f1", labels)]
    assert first == ["f1", "auc"]


def test_f1_has_an_interval_also_where_nothing_differs_or_nothing_is_positive() -> None:
    model = served(ScoresOutput(positive="bad"), 1)
    same = [outcome([0], prediction="bad" if k % 4 == 0 else "ok", score=k % 4 == 0) for k in range(40)]
    found = compare(
        metrics_for(model, "f1")[0], same, same, ["bad" if k % 4 == 0 else "ok" for k in range(40)]
    )
    assert (found.value, found.interval.method) == (1.0, UNSEEN)
    assert found.interval.low < -0.1
    nothing = [outcome([0], prediction="ok", score=0.0)] * 5
    assert compare(metrics_for(model, "f1")[0], nothing, nothing, ["ok"] * 5).value == 0.0
    worse = [outcome([0], prediction="ok", score=0.0) if k % 8 == 0 else same[k] for k in range(40)]
    lost = compare(
        metrics_for(model, "f1")[0], same, worse, ["bad" if k % 4 == 0 else "ok" for k in range(40)]
    )
    assert lost.interval.method == BCA
    assert lost.interval.high < 0


def test_numbers_have_an_error_that_is_better_when_lower() -> None:
    model = served(TensorOutput(), 2)
    true = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    reference = [outcome(values) for values in true]
    variant = [outcome([value + 3, value + 4]) for value, _ in true]
    found = measured(model, reference, variant, true)["rmse"]
    assert found.reference == 0
    assert found.value == pytest.approx(math.sqrt(12.5))
    assert not found.higher_is_better
    same = measured(model, reference, reference, true)["rmse"]
    assert same.interval.high > 0.1
    with pytest.raises(ModelFailed, match="rmse: a label is 1 number"):
        measured(model, reference, variant, [1, 2, 3, 4, 5])
    assert numbers_of("2.5") == pytest.approx([2.5])
    assert [numbers_of(label) for label in ("x", [[1], [1, 2]], float("nan"), None)] == [None] * 4


def test_vectors_agree_by_their_cosine() -> None:
    model = served(EmbeddingOutput(), 2)
    assert metrics_for(model, None, ["a", "b"]) == ()
    agreement = agreement_for(model)
    one, close, away = outcome([1, 0]), outcome([1, 0.01]), outcome([0, 1])
    assert agreement.name == "cosine"
    assert agreement.value(one, close) == pytest.approx(1, abs=1e-4)
    assert agreement.value(one, away) == 0
    assert cosine(outcome([0, 0]), outcome([0, 0])) == 1
    assert cosine(outcome([0, 0]), one) == cosine(outcome([math.nan, 1]), one) == 0
    assert largest_difference([one, one], [close, away]) == 1
    assert largest_difference([outcome([math.inf])], [outcome([1])]) == math.inf
    assert largest_difference([], []) == 0
    good = [outcome([1, 0.01 * k]) for k in range(40)]
    same = compare(agreement, good, good, [None] * 40)
    assert same.interval.low == pytest.approx(-0.0088, abs=1e-3)
    assert (
        compare(agreement, good, [outcome([1, 0.01 * k + 0.001]) for k in range(40)], [None] * 40).value < 1
    )


def test_classes_and_sides_agree_when_they_are_the_same() -> None:
    for output in (ClassesOutput(), ScoresOutput(positive="bad")):
        agreement = agreement_for(served(output, 2))
        assert agreement.name == "agreement"
        assert agreement.value(outcome([0, 1], prediction=1), outcome([0, 9], prediction=1)) == 1
        assert agreement.value(outcome([0, 1], prediction=1), outcome([1, 0], prediction=0)) == 0


def test_the_projects_own_answers_are_compared_as_json(tmp_path: Path) -> None:
    model = own(TensorOutput(), tmp_path)
    agreement = agreement_for(model)
    before = {"boxes": [{"x": 10.0, "kind": "car"}], "n": 1}
    for after, same in (
        ({"boxes": [{"x": 10.1, "kind": "car"}], "n": 1}, 1),
        ({"boxes": [{"x": 12.0, "kind": "car"}], "n": 1}, 0),
        ({"boxes": [{"x": 10.0, "kind": "bus"}], "n": 1}, 0),
        ({"boxes": [], "n": 1}, 0),
        ({"boxes": [{"x": "10", "kind": "car"}], "n": 1}, 0),
        ("none", 0),
    ):
        assert agreement.value(outcome([], prediction=before), outcome([], prediction=after)) == same
    said = [outcome([], prediction="cat"), outcome([], prediction=3), outcome([], prediction=0, label="dog")]
    assert measured(model, said, said, ["cat", "dog", "dog"])["top1"].value == pytest.approx(2 / 3)
    numbers = [outcome([], prediction=2.0), outcome([], prediction=4.0)]
    assert measured(model, numbers, numbers, [2.0, 3.0])["rmse"].value == pytest.approx(math.sqrt(0.5))
    assert metrics_for(own(ScoresOutput(positive="bad"), tmp_path), None)[0].name == "auc"
    scored = [outcome([], prediction="bad", score=0.9), outcome([], prediction=0.2)]
    found = measured(own(ScoresOutput(positive="bad"), tmp_path), scored, scored, [1, 0])
    assert (found["auc"].value, found["f1"].value) == (1, 1)
    with pytest.raises(ModelFailed, match="auc needs answers with a number under the key score"):
        measured(own(ScoresOutput(positive="bad"), tmp_path), said, said, [1, 0, 1])


@pytest.mark.parametrize(
    ("wanted", "output", "text"),
    [
        (
            "auc",
            ClassesOutput(),
            'metric = "auc" needs [model.output] kind = "scores", the model has "classes"',
        ),
        ("cosine", ClassesOutput(), 'needs [model.output] kind = "embedding or tensor"'),
        ("agreement", EmbeddingOutput(), 'metric = "agreement" is asked for, the model has "embedding"'),
    ],
)
def test_a_metric_that_does_not_suit_the_output_is_refused(wanted: str, output: Output, text: str) -> None:
    with pytest.raises(ProjectError) as failure:
        metrics_for(served(output), wanted)
    assert text in failure.value.message
    assert failure.value.next_step is not None


def test_comparing_with_the_reference_alone_can_be_asked_for() -> None:
    assert metrics_for(served(EmbeddingOutput()), "cosine", ["a"]) == ()


def test_a_user_says_what_counts_for_one_item_or_for_all(tmp_path: Path) -> None:
    model = served(ClassesOutput(), 2)
    said = [outcome([1, 0], prediction=0), outcome([0, 1], prediction=1), outcome([0, 1], prediction=1)]
    one, whole = tmp_path / "cost.py", tmp_path / "spread.py"
    one.write_text(
        "higher_is_better = False\ndef score(answer, label):\n    return 10 * (answer['prediction'] != label)\n"
    )
    whole.write_text("def metric(answers, labels):\n    return len({a['prediction'] for a in answers})\n")
    found = measured(model, said, said, [0, 1, 0], one)
    assert list(found) == ["cost", "top1"]
    assert found["cost"].value == pytest.approx(10 / 3)
    assert not found["cost"].higher_is_better
    assert measured(model, said, said, [0, 1, 0], whole)["spread"].value == 2


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def scroe(a, b): return 1", "it defines neither score nor metric"),
        ("def score(a, b): return 1\ndef metric(a, b): return 1", "it defines score and metric"),
        ("def score(a): return 1", "score must take two arguments"),
        ("score = 3", "score is not a function"),
        ("async def metric(a, b): return 1", "metric is asynchronous"),
        ("def score(a, b): return 1\nhigher_is_better = 'no'", "higher_is_better is 'no', expected True or"),
        ("import nowhere_to_be_found", "does not load: ModuleNotFoundError"),
        ("def score(", "line 1 is not valid Python"),
        ("raise SystemExit(3)", "does not load: SystemExit"),
    ],
)
def test_a_metric_file_that_cannot_be_used_says_why(code: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "metric.py"
    path.write_text(code)
    with pytest.raises(ProjectError) as failure:
        metrics_for(served(ClassesOutput(), 2), path)
    assert told in "\n".join([failure.value.message, *failure.value.problems])
    assert path.read_text() == code


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("answer['oops']", r"fails: KeyError: 'oops' \(metric.py:2\)"),
        ("float('nan')", "returned nan, expected a finite number"),
        ("'many'", "fails: ValueError"),
    ],
)
def test_a_metric_that_fails_on_an_answer_says_where(body: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "metric.py"
    path.write_text(f"def score(answer, label):\n    return {body}\n")
    said = [outcome([1, 0], prediction=0)]
    with pytest.raises(ProjectError, match=told):
        measured(served(ClassesOutput(), 2), said, said, [0], path)


def test_an_answer_too_large_to_keep_is_not_given_to_a_metric(tmp_path: Path) -> None:
    path = tmp_path / "metric.py"
    path.write_text("def score(answer, label):\n    return 1\n")
    said = [outcome([1, 0])]
    with pytest.raises(ProjectError, match="gets no answers of more than 16384 values"):
        measured(served(TensorOutput(), 2), said, said, [0], path)
