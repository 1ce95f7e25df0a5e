"""Two models of the same cases: a small neural network and boosted trees, trained with fixed seeds, as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from columns import Column, encode, learn
from judging import Auc, auc, cheapest_threshold, cost
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPClassifier
from table import FIELDS, Case, Part, Parts

_SEED: Final = 2026


@dataclass(frozen=True, slots=True)
class Trained:
    """One model. `threshold` was chosen on the validation part; `auc` and `cost` are of the held-out part."""

    name: str
    columns: tuple[Column, ...]
    classifier: Any
    threshold: float
    auc: Auc
    cost: float

    def scores(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """The probability of going bad, as scikit-learn computes it."""
        return _scores(self.classifier, cases, self.columns)

    def onnx(self) -> bytes:
        """`features`, FP32 [rows, numbers] -> `label` and `probabilities`, [rows, 2]; bad is the second."""
        kind = [("features", FloatTensorType([None, self.classifier.n_features_in_]))]
        made = to_onnx(
            self.classifier,
            initial_types=kind,
            options={"zipmap": False},
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.shape.dim[
                0
            ].dim_param = "rows"  # unnamed, it could not be seen to be the batch
        return bytes(made.SerializeToString(deterministic=True))


def train_network(parts: Parts) -> Trained:
    """One hidden layer of 16 on scaled numbers and words; strong weight decay, for 500 cases are few."""
    network = MLPClassifier((16,), solver="lbfgs", alpha=10.0, max_iter=4000, random_state=_SEED)
    return _trained("network", network, parts, takes_nan=False)


def train_trees(parts: Parts) -> Trained:
    """Boosted trees on the raw numbers; a blank number stays NaN, and every split knows where such go."""
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=120,
        max_leaf_nodes=6,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=_SEED,
    )
    return _trained("trees", trees, parts, takes_nan=True)


def _trained(name: str, classifier: Any, parts: Parts, *, takes_nan: bool) -> Trained:
    columns = learn(parts.training.cases, FIELDS, takes_nan=takes_nan)
    classifier.fit(encode(parts.training.cases, columns), np.array(parts.training.bad))

    def scored(part: Part) -> NDArray[np.float64]:
        return _scores(classifier, part.cases, columns)

    threshold = cheapest_threshold(scored(parts.validation), parts.validation.bad)
    held_out = scored(parts.held_out)
    return Trained(
        name,
        columns,
        classifier,
        threshold,
        auc(held_out, parts.held_out.bad),
        cost(held_out, parts.held_out.bad, threshold),
    )


def _scores(classifier: Any, cases: Sequence[Case], columns: Sequence[Column]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = classifier.predict_proba(encode(cases, columns))[:, 1]
    return scores
