"""The protocol's documents: parsing, checking against the signature, and rendering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import InvalidInput
from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import ClassesOutput, TensorInput
from sealift.model.service import ServedModel
from sealift.model.signature import Signature, TensorSpec
from sealift.serve.oip import InferRequest, OipModel, WantedOutput, classify
from sealift.serve.tensors import to_binary

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=("batch", 2)),
        TensorSpec(name="n", datatype="INT64", shape=("batch",)),
    ),
    outputs=(
        TensorSpec(name="y", datatype="FP32", shape=("batch", 3)),
        TensorSpec(name="words", datatype="BYTES", shape=("batch",)),
    ),
    batch_axis="batch",
)
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1]}
N = {"name": "n", "shape": [1], "datatype": "INT64", "data": [7]}


def oip(signature: Signature = SIGNATURE, labels: tuple[str, ...] = ()) -> OipModel:
    output = ClassesOutput(labels=labels)
    return OipModel(ServedModel("m", Path("/m.onnx"), signature, TensorInput(), output), "1.0")


def parse(model: OipModel, document: Any, tail: bytes | None = None) -> InferRequest:
    text = json.dumps(document).encode()
    if tail is None:
        return model.parse(text, None)
    return model.parse(text + tail, str(len(text)).encode())


def test_flat_and_nested_data_give_the_same_arrays() -> None:
    for data in ([0.5, 1], [[0.5, 1]]):
        request = parse(oip(), {"inputs": [{**X, "data": data}, N], "id": "a"})
        assert request.id == "a"
        np.testing.assert_array_equal(request.arrays["x"], np.array([[0.5, 1]], np.float32))
        assert request.arrays["n"].dtype == np.int64
        assert request.outputs == (WantedOutput("y", False), WantedOutput("words", False))


def test_binary_and_json_inputs_may_be_mixed() -> None:
    raw = np.array([[1, 2]], np.float32).tobytes()
    x = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    request = parse(oip(), {"inputs": [x, N], "parameters": {"binary_data_output": True}}, raw)
    assert request.arrays["x"].tolist() == [[1, 2]]
    assert all(output.binary for output in request.outputs)


def test_requested_outputs_override_the_default_form() -> None:
    outputs = [
        {"name": "words", "parameters": {"binary_data": True}},
        {"name": "y", "parameters": {"classification": 2}},
    ]
    request = parse(oip(), {"inputs": [X, N], "outputs": outputs})
    assert request.outputs == (WantedOutput("words", True), WantedOutput("y", False, 2))


def test_the_timeout_is_in_microseconds() -> None:
    assert parse(oip(), {"inputs": [X, N], "parameters": {"timeout": 1500}}).timeout_s == 0.0015
    assert parse(oip(), {"inputs": [X, N]}).timeout_s is None


BINARY_X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
BAD: list[tuple[str, Any, str, str | None]] = [
    ("not an object", [], "Expected object, got array", None),
    ("no inputs", {}, "Object missing required field inputs", None),
    ("inputs no list", {"inputs": 3}, "inputs: Expected array, got int", "inputs"),
    (
        "no shape",
        {"inputs": [{"name": "x", "datatype": "FP32"}]},
        r"inputs\[0\]: .* missing required field shape",
        "inputs[0]",
    ),
    (
        "negative size",
        {"inputs": [{**X, "shape": [-1, 2]}, N]},
        r"inputs\[0\].shape\[0\]: Expected int >= 0",
        "inputs[0].shape[0]",
    ),
    (
        "huge size",
        {"inputs": [{**X, "shape": [2**40, 2]}, N]},
        "Expected int <= 2147483647",
        "inputs[0].shape[0]",
    ),
    ("unknown input", {"inputs": [X, N, {**X, "name": "z"}]}, "z: no such input; the model takes x, n", "z"),
    ("missing input", {"inputs": [X]}, "^n: missing$", "n"),
    ("input twice", {"inputs": [X, N, X]}, "x: given more than once", "x"),
    (
        "wrong datatype",
        {"inputs": [{**X, "datatype": "FP64"}, N]},
        "x: expected datatype FP32, got FP64$",
        "x",
    ),
    ("no datatype", {"inputs": [{**X, "datatype": "FLOAT"}, N]}, "got FLOAT, which is no datatype here", "x"),
    ("wrong rank", {"inputs": [{**X, "shape": [2]}, N]}, r"x: expected shape \[batch, 2\], got \[2\]", "x"),
    (
        "wrong size",
        {"inputs": [{**X, "shape": [1, 3]}, N]},
        r"expected shape \[batch, 2\], got \[1, 3\]",
        "x",
    ),
    ("two batch sizes", {"inputs": [{**X, "shape": [2, 2]}, N]}, "n: axis batch is 1 here and 2 in x", "n"),
    (
        "all at once",
        {"inputs": [{**X, "datatype": "INT8"}]},
        "x: expected datatype FP32, got INT8; n: missing",
        "x",
    ),
    (
        "bad element",
        {"inputs": [{**X, "data": [1, "a"]}, N]},
        r"inputs\[0\].data: Expected float, got str, at \[1\]",
        "inputs[0].data",
    ),
    (
        "too few elements",
        {"inputs": [{**X, "data": [1]}, N]},
        r"shape \[1, 2\] takes 2 elements, got 1",
        "inputs[0].data",
    ),
    (
        "no data",
        {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32"}, N]},
        "x: data is missing",
        "x",
    ),
    ("binary without header", {"inputs": [BINARY_X, N]}, "x: binary_data_size needs the header", "x"),
    (
        "unknown output",
        {"inputs": [X, N], "outputs": [{"name": "z"}]},
        "z: no such output; there are y, words",
        "z",
    ),
    (
        "output twice",
        {"inputs": [X, N], "outputs": [{"name": "y"}, {"name": "y"}]},
        "y: requested twice",
        "y",
    ),
    (
        "classes of words",
        {"inputs": [X, N], "outputs": [{"name": "words", "parameters": {"classification": 1}}]},
        "words: classification",
        "words",
    ),
    (
        "no class count",
        {"inputs": [X, N], "outputs": [{"name": "y", "parameters": {"classification": "two"}}]},
        "got 'two'",
        "y",
    ),
    (
        "shared memory",
        {"inputs": [{**X, "parameters": {"shared_memory_region": "r"}}, N]},
        "x: shared memory is not offered",
        "x",
    ),
    (
        "shared memory out",
        {"inputs": [X, N], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "y: shared memory",
        "y",
    ),
    (
        "sequence",
        {"inputs": [X, N], "parameters": {"sequence_id": 3}},
        "no state is kept between requests",
        "sequence_id",
    ),
    (
        "timeout",
        {"inputs": [X, N], "parameters": {"timeout": "soon"}},
        "timeout: expected microseconds",
        "timeout",
    ),
]


@pytest.mark.parametrize(
    ("document", "message", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_wrong_request_is_refused_with_its_reason(document: Any, message: str, field: str | None) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse(oip(), document)
    assert caught.value.field == field


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999", b"1e1", b"9" * 30, b""])
def test_a_wrong_header_length_is_refused(length: bytes) -> None:
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length: expected 0 to"):
        oip().parse(b"{}", length)


@pytest.mark.parametrize(
    ("size", "tail"),
    [(8, bytes(7)), (-1, bytes(8)), ("8", bytes(8)), (True, bytes(8)), (4, bytes(4)), (8, bytes(9))],
)
def test_a_wrong_binary_size_is_refused(size: object, tail: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"bytes"):
        parse(oip(), {"inputs": [{**BINARY_X, "parameters": {"binary_data_size": size}}, N]}, tail)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"inputs":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        oip().parse(body, None)


def test_shapes_that_fitted_once_are_not_believed_for_others() -> None:
    model = oip()
    parse(model, {"inputs": [X, N]})
    with pytest.raises(InvalidInput, match="axis batch"):
        parse(model, {"inputs": [{**X, "shape": [2, 2], "data": [1, 2, 3, 4]}, N]})


@given(st.sampled_from(sorted(NUMPY_OF)), st.integers(0, 3), st.data())
def test_a_binary_request_gives_back_what_was_put_in(datatype: str, rows: int, data: st.DataObject) -> None:
    spec = TensorSpec(name="t", datatype=datatype, shape=("n", 2))
    model = oip(Signature(inputs=(spec,), outputs=(spec,)))
    element: st.SearchStrategy[Any] = st.text(max_size=5) if datatype == "BYTES" else st.integers(0, 1)
    array = np.empty((rows, 2), NUMPY_OF[datatype])
    array[:] = np.array(
        data.draw(st.lists(element, min_size=rows * 2, max_size=rows * 2)), NUMPY_OF[datatype]
    ).reshape(rows, 2)
    raw = bytes(to_binary(array))
    tensor = {
        "name": "t",
        "shape": [rows, 2],
        "datatype": datatype,
        "parameters": {"binary_data_size": len(raw)},
    }
    request = parse(model, {"inputs": [tensor], "parameters": {"binary_data_output": True}}, raw)
    np.testing.assert_array_equal(request.arrays["t"], array)
    reply = model.render(request, request.arrays)
    text, tail = b"".join(reply.body).split(b"]}", 1) if isinstance(reply.body, tuple) else (b"", b"")
    document = json.loads(text + b"]}")
    assert document["outputs"] == [
        {"name": "t", "datatype": datatype, "shape": [rows, 2], "parameters": {"binary_data_size": len(raw)}}
    ]
    assert dict(reply.headers) == {"Inference-Header-Content-Length": str(len(text) + 2)}
    assert tail == raw


def test_json_answers_echo_id_model_and_version() -> None:
    request = InferRequest("7", {}, (WantedOutput("y", False),), None)
    reply = oip().render(request, {"y": np.array([[1, 2, 3]], np.float32)})
    assert isinstance(reply.body, bytes)
    assert json.loads(reply.body) == {
        "model_name": "m",
        "model_version": "1.0",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]}],
    }


def test_classification_names_the_best_classes_of_each_row() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
    assert classify(scores, 2, ("a", "b")).tolist() == [
        ["0.700000:1:b", "0.200000:2"],
        ["0.500000:0:a", "0.250000:1:b"],
    ]
    assert classify(np.array([3, 9], np.int64), 5, ()).tolist() == ["9:1", "3:0"]


def test_classification_uses_the_declared_labels_of_the_classified_output() -> None:
    request = InferRequest("", {}, (WantedOutput("y", False, 1),), None)
    reply = oip(labels=("red", "green", "blue")).render(request, {"y": np.array([[1, 5, 3]], np.float32)})
    assert isinstance(reply.body, bytes)
    assert json.loads(reply.body)["outputs"] == [
        {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": ["5.000000:1:green"]}
    ]


@given(st.binary(max_size=120), st.one_of(st.none(), st.binary(max_size=4)))
def test_any_bytes_are_refused_or_understood(body: bytes, header_length: bytes | None) -> None:
    with pytest.raises(InvalidInput):
        oip().parse(body, header_length)
