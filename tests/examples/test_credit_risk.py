"""What the credit risk example computes itself: columns, AUC, threshold."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

Load = Callable[[str], ModuleType]


def test_the_auc_is_scikit_learns_and_ties_count_half(credit_risk: Load) -> None:
    rng = np.random.default_rng(1)
    scores, bad = rng.integers(0, 6, 80) / 5, rng.random(80) < 0.4
    found = credit_risk("judging").auc(scores, bad.tolist())
    assert found.value == pytest.approx(roc_auc_score(bad, scores))
    assert found.low < found.value < found.high


def test_the_standard_error_is_hanleys_and_mcneils_own_example(credit_risk: Load) -> None:
    """An AUC of 0.893 of 51 abnormal and 58 normal cases: they print 0.032."""
    assert credit_risk("judging").standard_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.001)


def test_the_threshold_is_the_one_that_costs_least(credit_risk: Load) -> None:
    judging = credit_risk("judging")
    scores, bad = np.array([0.05, 0.10, 0.30, 0.35, 0.90]), [False, False, True, False, True]
    chosen = judging.cheapest_threshold(scores, bad)
    assert 0.10 < chosen <= 0.30
    assert judging.cost(scores, bad, chosen) == pytest.approx(20)
    assert judging.cost(scores, bad, 2.0) == pytest.approx(200)
    assert judging.cost(scores, bad, 0.0) == pytest.approx(60)


def test_blank_and_strange_cells_are_encoded_as_declared(credit_risk: Load) -> None:
    columns, table = credit_risk("columns"), credit_risk("table")
    fields = (
        table.Field("age", "age", numeric=True, blanked=True),
        table.Field("job", "job", missing="none", unknown="other"),
    )
    cases = [{"age": 20.0, "job": "clerk"}, {"age": 40.0, "job": "smith"}, {"job": "smith"}]
    scaled = columns.learn(cases, fields, takes_nan=False)
    assert scaled[1].vocabulary == ("clerk", "none", "other", "smith")
    rows = columns.encode([*cases, {"age": 30.0, "job": "pilot"}, {"age": 30.0}], scaled)
    assert rows.tolist() == [
        [-1, 1, 0, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0]
    ]  # fmt: skip
    raw = columns.learn(cases, fields, takes_nan=True)
    assert np.isnan(columns.encode(cases, raw)[2, 0])


def test_the_columns_are_written_as_the_project_file_wants_them(credit_risk: Load) -> None:
    columns = credit_risk("columns")
    made = (
        columns.Numeric("age", 30.0, 10.0, math.nan),
        columns.Categorical("job", ('a "quoted" word', "none"), "none", None),
    )
    found = tomllib.loads(columns.as_toml("trees", made))["models"]["trees"]["input"]["columns"]
    assert math.isnan(found[0].pop("missing"))
    assert found == [
        {"name": "age", "kind": "numeric", "mean": 30.0, "std": 10.0},
        {
            "name": "job",
            "kind": "categorical",
            "encoding": "onehot",
            "vocabulary": ['a "quoted" word', "none"],
            "missing": "none",
        },
    ]
