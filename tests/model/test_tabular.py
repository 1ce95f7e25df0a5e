"""Named fields: routing, encodings, missing values, and all problems in one message."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sealift.errors import InvalidInput
from sealift.model.declaration import CategoricalColumn, NumericColumn, TabularInput
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.model.tabular import TabularPreparation


def signature(**inputs: tuple[str, tuple[Axis, ...] | None]) -> Signature:
    specs = tuple(TensorSpec(name=name, datatype=kind, shape=shape) for name, (kind, shape) in inputs.items())
    return Signature(inputs=specs, outputs=())


AMOUNT = NumericColumn(name="amount", mean=10.0, std=4.0)
COUNTRY = CategoricalColumn(
    name="country", vocabulary=("DE", "FR", "other"), encoding="onehot", unknown="other"
)
AGE = NumericColumn(name="age", missing=40.0)
KIND = CategoricalColumn(name="kind", vocabulary=("card", "cash"), missing="cash")
TABLE = TabularPreparation(
    TabularInput(columns=(AMOUNT, COUNTRY, AGE, KIND)), signature(x=("FP32", ("rows", 6)))
)
GOOD: dict[str, Any] = {"amount": 12, "country": "FR", "age": 30.5, "kind": "card"}


def row(**changes: Any) -> list[float]:
    values: list[float] = TABLE({**GOOD, **changes}).inputs["x"][0].tolist()
    return values


def test_columns_fill_one_input_in_their_order() -> None:
    prepared = TABLE(GOOD)
    assert prepared.inputs["x"].tolist() == [[0.5, 0.0, 1.0, 0.0, 30.5, 0.0]]
    assert prepared.inputs["x"].dtype == np.float32
    assert prepared.added_axes == {"rows"}


def test_fields_may_be_wrapped() -> None:
    assert TABLE({"fields": GOOD}).inputs["x"].tolist() == TABLE(GOOD).inputs["x"].tolist()


def test_missing_and_unknown_values_follow_their_policy() -> None:
    without = {key: value for key, value in GOOD.items() if key not in ("age", "kind")}
    assert TABLE(without).inputs["x"][0].tolist()[4:] == [40.0, 1.0]
    assert row(age=None, kind=None)[4:] == [40.0, 1.0]
    assert row(country="XX")[1:4] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "message", "field"),
    [
        ({"amount": "12,5"}, 'amount: expected a number, got "12,5"', "amount"),
        ({"amount": True}, "amount: expected a number, got true", "amount"),
        ({"amount": [1]}, "amount: expected a number, got [1]", "amount"),
        ({"amount": None}, "amount: null, and the field is required", "amount"),
        ({"amount": math.nan}, "amount: expected a finite number, got nan", "amount"),
        ({"amount": -math.inf}, "amount: expected a finite number, got -inf", "amount"),
        ({"amount": 1e300}, "amount: too large for FP32, got 1e300", "amount"),
        ({"amount": 10**400}, f"amount: too large for FP32, got 1{'0' * 59}...", "amount"),
        ({"country": None}, "country: null, and the field is required", "country"),
        ({"kind": "cards"}, "kind: expected one of card, cash, got \"cards\"; did you mean 'card'?", "kind"),
        ({"kind": 1.5}, "kind: expected one of card, cash, got 1.5", "kind"),
        ({"country": ["DE"]}, 'country: expected one of DE, FR, other, got ["DE"]', "country"),
        ({"amuont": 1}, "amuont: not a field of this model; did you mean 'amount'?", "amuont"),
        (
            {"zip": 1, "kind": "gold", "amount": "x"},
            'amount: expected a number, got "x"; kind: expected one of card, cash, got "gold"; '
            "zip: not a field of this model",
            "amount",
        ),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, Any], message: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TABLE({**GOOD, **changes})
    assert (caught.value.message, caught.value.field, caught.value.code) == (message, field, "invalid_field")


def test_every_missing_field_is_named_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"^amount: missing; country: missing$"):
        TABLE({})


@pytest.mark.parametrize("payload", [b"amount=1", [1, 2], "amount", None])
def test_another_body_is_answered_with_an_example(payload: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        TABLE(payload)
    assert '{"amount": ..., "country": ..., "age": ..., ...}' in caught.value.message


def test_inputs_of_their_own_name_get_one_value_each() -> None:
    """As skl2onnx exports a ColumnTransformer: an [n, 1] input per column, strings as strings."""
    columns = (
        NumericColumn(name="amount"),
        CategoricalColumn(name="country", vocabulary=("DE", "FR"), encoding="string"),
        CategoricalColumn(name="weekend", vocabulary=("false", "true")),
    )
    inputs = signature(country=("BYTES", ("?", 1)), amount=("FP32", ("?", 1)), weekend=("BOOL", ("?",)))
    prepared = TabularPreparation(TabularInput(columns=columns), inputs)(
        {"amount": 3, "country": "FR", "weekend": True}
    )
    assert prepared.inputs["country"].tolist() == [["FR"]]
    assert prepared.inputs["country"].dtype == np.object_
    assert prepared.inputs["amount"].tolist() == [[3.0]]
    assert prepared.inputs["weekend"].tolist() == [True]
    assert prepared.added_axes == {"?"}


def test_columns_may_name_their_input() -> None:
    columns = (
        NumericColumn(name="a", input="numbers"),
        CategoricalColumn(name="b", vocabulary=("x", "y"), encoding="string", input="words"),
        NumericColumn(name="c", input="numbers"),
    )
    inputs = signature(numbers=("FP64", (1, 2)), words=("BYTES", (1, 1)))
    prepared = TabularPreparation(TabularInput(columns=columns), inputs)({"a": 1, "b": "y", "c": 2})
    assert prepared.inputs["numbers"].tolist() == [[1.0, 2.0]]
    assert prepared.inputs["words"].tolist() == [["y"]]


def test_whole_number_inputs_take_whole_numbers_only() -> None:
    table = TabularPreparation(
        TabularInput(columns=(NumericColumn(name="count"),)), signature(count=("UINT8", ("n", 1)))
    )
    assert table({"count": 255.0}).inputs["count"].tolist() == [[255]]
    for value, message in ((1.5, "expected a whole number, got 1.5"), (256, "expected 0 to 255, got 256")):
        with pytest.raises(InvalidInput, match=f"count: {message}"):
            table({"count": value})


def test_nan_passes_where_missing_is_declared_as_nan() -> None:
    """Gradient boosting takes NaN for missing; infinity stays refused."""
    table = TabularPreparation(
        TabularInput(columns=(NumericColumn(name="a", missing=math.nan),)), signature(x=("FP32", ("n", 1)))
    )
    assert np.isnan(table({}).inputs["x"]).all()
    assert np.isnan(table({"a": math.nan}).inputs["x"]).all()
    with pytest.raises(InvalidInput, match="expected a finite number, got inf"):
        table({"a": math.inf})


def test_a_model_without_a_batch_axis_gets_a_plain_row() -> None:
    table = TabularPreparation(
        TabularInput(columns=(NumericColumn(name="a"), NumericColumn(name="b"))), signature(x=("FP32", (2,)))
    )
    prepared = table({"a": 1, "b": 2})
    assert prepared.inputs["x"].tolist() == [1.0, 2.0]
    assert not prepared.added_batch
