"""Follows a graph's output back to the node that gives it its meaning. Pack side only."""

from __future__ import annotations

from typing import Final

import onnx

ML_DOMAIN: Final = "ai.onnx.ml"

_SAME_VALUES: Final = frozenset({
    "Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Dropout",
    "Slice", "Gather", "Split", "ArrayFeatureExtractor", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip
"""Every value that leaves is one of the values that entered the first input."""

_SAME_COLUMNS: Final = frozenset({
    "Identity", "Cast", "CastLike", "Dropout", "Softmax", "Sigmoid", "Normalizer", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip
"""The columns keep their order and number."""

_PROBABILITY: Final = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
_CLASSIFIERS: Final = frozenset({"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"})
_LABEL_ATTRIBUTES: Final = (
    "classlabels_strings",
    "classlabels_int64s",
    "classlabels_ints",
    "cats_strings",
    "cats_int64s",
)


class Trace:
    """The producers of one graph's tensors; built once, asked often."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._producer = {name: node for node in graph.node for name in node.output if name}

    def makes_probabilities(self, name: str) -> bool | None:
        """True: the graph makes them; False: a classifier's raw scores; None: not recognised."""
        node = self._producer.get(name)
        if node is None:
            return None
        kind = node.op_type
        if kind in _PROBABILITY:
            return True
        if kind in _CLASSIFIERS and node.domain == ML_DOMAIN:
            return _classifier_probabilities(node)
        if kind in _SAME_VALUES:
            return self.makes_probabilities(node.input[0])
        if kind == "Normalizer":
            return self.makes_probabilities(node.input[0])
        if kind == "Concat":
            return _all(self.makes_probabilities(part) for part in node.input)
        if kind == "Sub" and node.input[0] not in self._producer:  # 1 - p: skl2onnx's negative class
            return True if self.makes_probabilities(node.input[1]) else None
        if kind == "Exp":
            return True if self._is_log_softmax(node.input[0]) else None
        return None

    def _is_log_softmax(self, name: str) -> bool:
        """`LogSoftmax`, or `x - logsumexp(x)` as naive Bayes writes it."""
        node = self._producer.get(name)
        if node is None:
            return False
        if node.op_type == "LogSoftmax":
            return True
        return node.op_type == "Sub" and self._comes_from(node.input[1], "ReduceLogSumExp")

    def _comes_from(self, name: str, kind: str) -> bool:
        node = self._producer.get(name)
        while node is not None and node.op_type in _SAME_VALUES:
            node = self._producer.get(node.input[0])
        return node is not None and node.op_type == kind

    def stems_from_raw_scores(self, name: str) -> bool:
        """Whether a classifier without probabilities stands anywhere before this tensor."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            node = self._producer.get(current)
            if node is None or current in seen:
                continue
            seen.add(current)
            if node.op_type in _CLASSIFIERS and node.domain == ML_DOMAIN:
                if not _classifier_probabilities(node):
                    return True
                continue
            waiting.extend(node.input)
        return False

    def column_labels(self, name: str) -> tuple[str, ...]:
        """Class labels of the last axis, where a classifier node before this tensor names them."""
        node = self._producer.get(name)
        while node is not None and node.op_type in _SAME_COLUMNS:
            name = node.input[0]
            node = self._producer.get(name)
        is_scores = node is not None and len(node.output) > 1 and node.output[1] == name
        if node is None or not is_scores or node.op_type not in _CLASSIFIERS or node.domain != ML_DOMAIN:
            return ()
        return class_labels(node)


def class_labels(node: onnx.NodeProto) -> tuple[str, ...]:
    """The labels in a classifier's or ZipMap's attributes, numbers as decimal text."""
    for attribute in node.attribute:
        if attribute.name in _LABEL_ATTRIBUTES and (attribute.strings or attribute.ints):
            words = [text.decode("utf-8", "replace") for text in attribute.strings]
            return tuple(words or [str(number) for number in attribute.ints])
    return ()


def vocabularies(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """String input -> the words that encoders behind it know (`cats_strings`, `keys_strings`), sorted.

    An encoder may refuse every other word, so examples for such an input must come from here.
    """
    found: dict[str, set[str]] = {value.name: set() for value in graph.input}
    origins = {name: {name} for name in found}  # tensor -> the inputs whose words it holds
    for node in graph.node:
        sources = set().union(*(origins.get(name, set()) for name in node.input))
        for attribute in node.attribute if sources else ():
            if attribute.name in ("cats_strings", "keys_strings"):
                words = {text.decode("utf-8", "replace") for text in attribute.strings}
                for name in sources:
                    found[name] |= words
        if node.op_type in _SAME_VALUES or node.op_type == "Concat":
            origins.update((name, sources) for name in node.output)
    return {
        value.name: tuple(sorted(found[value.name]))
        for value in graph.input
        if found[value.name] and value.type.tensor_type.elem_type == onnx.TensorProto.STRING
    }


def _classifier_probabilities(node: onnx.NodeProto) -> bool:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    post = attributes["post_transform"].s.decode() if "post_transform" in attributes else "NONE"
    if post in {"LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"}:
        return True
    if node.op_type == "SVMClassifier":
        return "prob_a" in attributes and bool(attributes["prob_a"].floats)
    if node.op_type == "TreeEnsembleClassifier":  # a forest's leaves hold shares, boosted ones hold logits
        weights = attributes["class_weights"].floats if "class_weights" in attributes else [-1.0]
        based = "base_values" in attributes and any(attributes["base_values"].floats)
        return not based and all(0.0 <= weight <= 1.0 for weight in weights)
    return False


def _all(parts: object) -> bool | None:
    known = set(parts)  # type: ignore[call-overload]
    if False in known:
        return False
    return True if known == {True} else None
