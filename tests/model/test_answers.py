"""Outputs -> JSON: classes, scores, embeddings; one item and several rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sealift.errors import ModelFailed
from sealift.model.answers import EmbeddingAnswer
from sealift.model.arrays import Prepared
from sealift.model.classes import ClassesAnswer
from sealift.model.declaration import ClassesOutput, EmbeddingOutput, ScoresOutput
from sealift.model.rows import activate
from sealift.model.scores import ScoresAnswer
from sealift.model.signature import Axis, TensorSpec

ITEM = Prepared({}, frozenset({"n"}))
BATCH = Prepared({})


def spec(shape: tuple[Axis, ...] | None, labels: tuple[str, ...] = ()) -> TensorSpec:
    return TensorSpec(name="y", datatype="FP32", shape=shape, labels=labels)


def out(values: Any) -> dict[str, Any]:
    return {"y": np.array(values, dtype=np.float32)}


LOGITS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(-1e300, 1e300)
)


@given(LOGITS)
def test_softmax_is_a_distribution_whatever_the_size_of_the_logits(logits: np.ndarray[Any, Any]) -> None:
    chances = activate(logits, "softmax")
    assert np.isfinite(chances).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
    best = np.argmax(logits, axis=1)
    rows = np.arange(len(logits))
    assert (chances[rows, best] == chances.max(axis=1)).all()


@given(LOGITS.map(lambda logits: np.clip(logits, -300.0, 300.0)), st.floats(-100, 100))
def test_softmax_agrees_with_exact_sums_and_ignores_a_shift(
    logits: np.ndarray[Any, Any], shift: float
) -> None:
    chances = activate(logits, "softmax")
    for row, found in zip(logits.tolist(), chances.tolist(), strict=True):
        powers = [math.exp(value - max(row)) for value in row]
        assert found == pytest.approx([power / math.fsum(powers) for power in powers], rel=1e-12, abs=0)
    np.testing.assert_allclose(activate(logits + shift, "softmax"), chances, rtol=1e-9, atol=1e-300)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_sigmoid_is_stable_and_symmetric(value: float) -> None:
    pair = activate(np.array([[value, -value]]), "sigmoid")[0]
    assert 0.0 <= pair[0] <= 1.0
    assert pair.sum() == pytest.approx(1.0, abs=1e-15)


def test_one_item_gives_the_best_few_with_labels() -> None:
    answer = ClassesAnswer(ClassesOutput(labels=("cat", "dog", "owl"), top=2), spec(("n", 3)), True)
    assert answer(out([[0.25, 0.625, 0.125]]), ITEM) == {
        "prediction": 1,
        "label": "dog",
        "probabilities": [
            {"class": 1, "label": "dog", "probability": 0.625},
            {"class": 0, "label": "cat", "probability": 0.25},
        ],
    }


def test_without_labels_there_is_no_label() -> None:
    answer = ClassesAnswer(ClassesOutput(top=1), spec(("n", 2)), True)
    assert answer(out([[0.75, 0.25]]), ITEM) == {
        "prediction": 0,
        "probabilities": [{"class": 0, "probability": 0.75}],
    }


def test_the_models_own_labels_are_used_and_declared_ones_win() -> None:
    own = spec(("n", 2), ("3", "7"))
    assert ClassesAnswer(ClassesOutput(), own, True)(out([[0.1, 0.9]]), ITEM)["label"] == "7"
    declared = ClassesOutput(labels=("no", "yes"))
    assert ClassesAnswer(declared, own, True)(out([[0.1, 0.9]]), ITEM)["label"] == "yes"


def test_equal_values_go_to_the_lower_class() -> None:
    answer = ClassesAnswer(ClassesOutput(), spec(("n", 4)), True)(out([[0.1, 0.4, 0.1, 0.4]]), ITEM)
    assert answer["prediction"] == 1
    assert [entry["class"] for entry in answer["probabilities"]] == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("activation", "is_probability", "first"),
    [
        (None, True, 2.0),
        (None, False, 1 / (1 + math.exp(-2))),
        ("none", False, 2.0),
        ("sigmoid", True, 1 / (1 + math.exp(-2))),
    ],
)
def test_activation_is_declared_or_what_the_graph_asks_for(
    activation: Any, is_probability: bool, first: float
) -> None:
    answer = ClassesAnswer(ClassesOutput(activation=activation), spec(("n", 2)), is_probability)
    assert answer(out([[2.0, 0.0]]), ITEM)["probabilities"][0]["probability"] == pytest.approx(first)


def test_several_rows_give_a_list_under_every_key() -> None:
    answer = ClassesAnswer(ClassesOutput(labels=("a", "b"), top=1), spec(("n", 2)), True)
    found = answer(out([[0.75, 0.25], [0.0, 1.0]]), BATCH)
    assert found["prediction"] == [0, 1]
    assert found["label"] == ["a", "b"]
    assert [row[0]["probability"] for row in found["probabilities"]] == [0.75, 1.0]
    assert answer(out([[0.75, 0.25]]), BATCH)["prediction"] == [0]
    assert answer(out(np.empty((0, 2))), BATCH)["prediction"] == []


@pytest.mark.parametrize(
    ("shape", "values"),
    [(("n", 3, 1, 1), np.arange(3).reshape(1, 3, 1, 1)), ((3,), [0, 1, 2]), (None, [[0, 1, 2]])],
    ids=["SqueezeNet's two ones", "no batch axis", "open rank"],
)
def test_shapes_that_exporters_leave_are_understood(shape: tuple[Axis, ...] | None, values: Any) -> None:
    assert ClassesAnswer(ClassesOutput(), spec(shape), True)(out(values), ITEM)["prediction"] == 2


@pytest.mark.parametrize(
    ("shape", "values", "code", "message"),
    [
        (("n", 2), [[np.nan, 1.0]], "not_finite", "output 'y' holds NaN or infinity"),
        (("n", 2), [[np.inf, 1.0]], "not_finite", "output 'y' holds NaN or infinity"),
        (("n", "k"), [[0.1, 0.2, 0.7]], "unexpected_output", "output 'y' has 3 classes, there are 2 labels"),
        (
            ("n", "t", 2),
            [[[1, 2], [3, 4]]],
            "unexpected_output",
            "shape [1, 2, 2]; expected one list of values",
        ),
        (("n", "k"), [[]], "unexpected_output", "shape [1, 0]; expected one list of values"),
    ],
)
def test_outputs_that_no_answer_can_be_made_of_are_the_models_failure(
    shape: tuple[Axis, ...], values: Any, code: str, message: str
) -> None:
    with pytest.raises(ModelFailed) as caught:
        ClassesAnswer(ClassesOutput(labels=("a", "b")), spec(shape), False)(out(values), ITEM)
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.status == 500


FRAUD = ScoresOutput(positive="fraud", threshold=0.5)


@pytest.mark.parametrize(
    ("target", "values", "score"),
    [
        (spec(("n", 1)), [[0.75]], 0.75),
        (spec(("n",)), [0.75], 0.75),
        (spec(()), 0.75, 0.75),
        (spec((1,)), [0.75], 0.75),
        (spec(("n", 2)), [[0.25, 0.75]], 0.75),
        (spec(("n", 2), ("fraud", "good")), [[0.75, 0.25]], 0.75),
        (spec(("n", 2), ("0", "1")), [[0.25, 0.75]], 0.75),
        (spec(("n", 3), ("a", "b", "fraud")), [[0.125, 0.125, 0.75]], 0.75),
    ],
)
def test_the_score_is_the_only_value_or_the_labelled_or_the_second(
    target: TensorSpec, values: Any, score: float
) -> None:
    answer = ScoresAnswer(FRAUD, target, True)(out(values), ITEM)
    assert answer == {"prediction": "fraud", "score": score, "threshold": 0.5}


@pytest.mark.parametrize(
    ("declared", "labels", "word"),
    [
        (FRAUD, (), "not fraud"),
        (FRAUD, ("good", "fraud"), "good"),
        (FRAUD, ("0", "1"), "not fraud"),
        (ScoresOutput(positive="fraud", negative="fine"), ("good", "fraud"), "fine"),
    ],
)
def test_below_the_threshold_is_the_other_word(
    declared: ScoresOutput, labels: tuple[str, ...], word: str
) -> None:
    answer = ScoresAnswer(declared, spec(("n", 2), labels), True)(out([[0.75, 0.25]]), ITEM)
    assert answer["prediction"] == word


def test_the_threshold_itself_is_positive() -> None:
    assert ScoresAnswer(FRAUD, spec(("n", 1)), True)(out([[0.5]]), ITEM)["prediction"] == "fraud"


def test_raw_scores_of_two_columns_go_through_softmax_and_a_single_one_stays() -> None:
    two = ScoresAnswer(FRAUD, spec(("n", 2)), False)(out([[0.0, 2.0]]), ITEM)
    assert two["score"] == pytest.approx(1 / (1 + math.exp(-2)))
    assert ScoresAnswer(FRAUD, spec(("n", 1)), False)(out([[3.5]]), ITEM)["score"] == 3.5


def test_several_rows_of_scores_share_one_threshold() -> None:
    answer = ScoresAnswer(FRAUD, spec(("n", 1)), True)(out([[0.25], [0.75]]), BATCH)
    assert answer == {"prediction": ["not fraud", "fraud"], "score": [0.25, 0.75], "threshold": 0.5}


def test_a_score_that_cannot_be_found_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed, match="3 values a row, none is labelled 'fraud'"):
        ScoresAnswer(FRAUD, spec(("n", "k")), True)(out([[0.1, 0.2, 0.7]]), ITEM)
    with pytest.raises(ModelFailed, match="NaN"):
        ScoresAnswer(FRAUD, spec(("n", 1)), True)(out([[np.nan]]), ITEM)


def test_embeddings_are_vectors_normalised_on_request() -> None:
    plain = EmbeddingAnswer(EmbeddingOutput(), spec(("n", 2)))
    assert plain(out([[3.0, 4.0]]), ITEM) == {"prediction": [3.0, 4.0]}
    assert plain(out([[3.0, 4.0]]), BATCH) == {"prediction": [[3.0, 4.0]]}
    unit = EmbeddingAnswer(EmbeddingOutput(normalize=True), spec(("n", 2)))
    assert unit(out([[3.0, 4.0]]), ITEM)["prediction"] == pytest.approx([0.6, 0.8])
    assert unit(out([[0.0, 0.0]]), ITEM)["prediction"] == [0.0, 0.0]
    with pytest.raises(ModelFailed, match="NaN or infinity"):
        unit(out([[np.inf, 0.0]]), ITEM)


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(-1e300, 1e300)))
def test_normalising_neither_overflows_nor_vanishes(vectors: np.ndarray[Any, Any]) -> None:
    unit = EmbeddingAnswer(EmbeddingOutput(normalize=True), spec(("n", 5)))
    for given_vector, found in zip(vectors, unit({"y": vectors}, BATCH)["prediction"], strict=True):
        length = math.sqrt(math.fsum(value * value for value in found))
        assert length == pytest.approx(1.0 if given_vector.any() else 0.0, abs=1e-9)
