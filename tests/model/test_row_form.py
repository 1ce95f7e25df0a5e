"""The short way for rows of numbers: it gives up, or gives what the long way gives, to the bit and to the byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sealift.engine.concurrency import Layout, Layouts
from sealift.engine.protocol import Arrays
from sealift.errors import InvalidInput, RequestError
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    Input,
    NumericColumn,
    Output,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.pipeline import build_pipeline
from sealift.model.row_form import RowForm, row_form, row_reader
from sealift.model.service import Batching, ServedModel
from sealift.model.signature import Axis, Signature, TensorSpec
from sealift.serve.http.message import Reply, Request, error_reply
from sealift.serve.infer import InferFace
from sealift.serve.lane import Job, Lane, Run
from sealift.serve.oip import OipModel
from sealift.serve.predict import PredictFace
from sealift.serve.predictor import Predictor, PredictorOptions

# ---------------------------------------------------------------------- models


def signature(datatype: str = "FP32", outputs: int = 1, name: str = "x") -> Signature:
    specs = tuple(
        TensorSpec(name=f"y{number}", datatype=datatype, shape=("n", 3)) for number in range(outputs)
    )
    x = TensorSpec(name=name, datatype=datatype, shape=("n", 3))
    return Signature(inputs=(x,), outputs=specs, batch_axis="n")


def labelled() -> Signature:
    """With labels from the model itself."""
    y = TensorSpec(name="y0", datatype="FP32", shape=("n", 3), labels=("a", "b", "c"))
    return Signature(inputs=signature().inputs, outputs=(y,), batch_axis="n")


def table(*scaling: tuple[float, float]) -> TabularInput:
    names = ("amount", "age", "größe")
    pairs = scaling or ((0.0, 1.0),) * 3
    return TabularInput(
        columns=tuple(
            NumericColumn(name=name, mean=mean, std=std)
            for name, (mean, std) in zip(names, pairs, strict=True)
        )
    )


SCALED = table((100.0, 50.0), (0.0, 1.0), (-3.5, 0.1))


def served(signature: Signature, declared: Input | None = None, output: Output | None = None) -> ServedModel:
    return ServedModel(
        "m", Path("/m.onnx"), signature, declared or TensorInput(), output or TensorOutput(),
        batching=Batching("", 8),
    )  # fmt: skip


class Session:
    """`y0` = `x` where that is positive, else NaN or infinity; `y1` = -`x`: every way to answer a row."""

    device = "cpu"
    degraded = ""

    def __init__(self, signature: Signature) -> None:
        self._name = signature.inputs[0].name
        self._outputs = [spec.name for spec in signature.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Arrays:
        x = inputs[self._name]
        with np.errstate(all="ignore"):
            odd = np.where(x > 1000, np.float32("inf"), np.where(x < -1000, np.float32("nan"), x))
        found = [odd.astype(x.dtype), -x]
        return {name: found[number] for number, name in enumerate(self._outputs)}


class Box:
    """Both faces of a model, with the short way and without it."""

    def __init__(self, model: ServedModel) -> None:
        predictor = SimpleNamespace(
            model=model, pipeline=build_pipeline(model), options=PredictorOptions(), quick=True,
            layouts=Layouts(), max_rows=8, pads={}, session_for=lambda _: Session(model.signature),
        )  # fmt: skip
        self.model = model
        self.pipeline = predictor.pipeline
        self.lane = Lane(cast(Predictor, predictor), SimpleNamespace())
        self.predict = PredictFace(self.lane, "m@1", 1 << 20)
        self.infer = InferFace(self.lane, OipModel(model, "1"), 1 << 20)

    def predict_short(self, body: bytes, headers: Mapping[bytes, bytes] | None = None) -> Job | None:
        return self.predict.row_job(asked(body, headers))

    def predict_long(self, body: bytes, headers: Mapping[bytes, bytes] | None = None) -> Reply:
        request = asked(body, headers)
        try:
            payloads, is_list = self.predict.items(request)
            assert not is_list
            return self.run(self.predict.single(request, payloads[0]))[0]
        except RequestError as error:
            return error_reply(error)

    def infer_short(self, body: bytes) -> Job | None:
        return self.infer.row_job(asked(body))

    def infer_long(self, body: bytes) -> Reply:
        try:
            return self.run(self.infer.job(asked(body)))[0]
        except RequestError as error:
            return error_reply(error)

    def run(self, *jobs: Job) -> list[Reply]:
        """The answers of jobs that share a run."""
        return self.lane.execute(Run(list(jobs), [], Layout.NARROW)).answers


def asked(body: bytes, headers: Mapping[bytes, bytes] | None = None) -> Request:
    request = Request(b"POST", b"/predict", b"", dict(headers or {b"content-type": b"application/json"}))
    request.body = body
    request.request_id = b"r"
    return request


def said(reply: Reply) -> tuple[int, bytes]:
    assert isinstance(reply.body, bytes)
    return reply.status, reply.body


BOXES = {
    "fp32": Box(served(signature())),
    "fp16": Box(served(signature("FP16"))),
    "fp64": Box(served(signature("FP64"))),
    "two outputs": Box(served(signature(outputs=2))),
    "input is called inputs": Box(served(signature(name="inputs"))),
    "classes": Box(served(signature(), None, ClassesOutput(labels=("a", "b", "c"), top=2))),
    "classes without labels": Box(served(signature(), None, ClassesOutput())),
    "scores": Box(served(labelled(), table(), ScoresOutput(positive="b", negative="other", threshold=0.3))),
    "classes of a table": Box(served(signature(), table(), ClassesOutput(activation="sigmoid"))),
    "embedding": Box(served(signature(), table(), EmbeddingOutput(normalize=True))),
    "table": Box(served(signature(), table())),
    "table fp16": Box(served(signature("FP16"), table())),
    "table fp64": Box(served(signature("FP64"), table())),
    "scaled": Box(served(signature(), SCALED)),
    "scaled fp16": Box(served(signature("FP16"), SCALED)),
    "scaled fp64": Box(served(signature("FP64"), SCALED)),
}

box_names = st.sampled_from(list(BOXES))

# ---------------------------------------------------------------------- bodies

EDGES = (
    "0", "-0", "-0.0", "1", "1.0", "1e0", "0.1", "1e-400", "1e400", "-1e400", "1e38", "3.4028235e38", "3.40282356e38",
    "3.4028235677973366e38", "3.4028236e38", "-3.4028236e38", "65504", "65504.0", "65510", "65519.9", "65520", "-65520",
    "1e-45", "1e-50", "6e-8", "9007199254740993", "18446744073709551615", "18446744073709551616",
    "-9223372036854775809", "123456789012345678901234567890", "1" + "0" * 308, "1" + "0" * 400,
    "1.7976931348623157e308", "1.7976931348623159e308",
    "5000.5", "-5000.5", "2.5e-324", "33", "-1200",
)  # fmt: skip
WRONG = (
    "null",
    "true",
    "false",
    '"1"',
    "[1]",
    "{}",
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "1.",
    ".5",
    "+1",
    "",
)

numbers = (
    st.sampled_from(EDGES)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.floats(-10, 10, width=16).map(repr)
    | st.integers(-(2**70), 2**70).map(str)
    | st.integers(-50, 50).map(str)
)
values = st.integers(0, 19).flatmap(lambda odd: st.sampled_from(WRONG) if not odd else numbers)
spaces = st.sampled_from(["", "", "", " ", "\n", "\t  "])


@st.composite
def lists(draw: st.DrawFn) -> str:
    """A list of three numbers, mostly."""
    found = draw(st.lists(values, min_size=3, max_size=3) | st.lists(numbers, max_size=5))
    text = "[" + ",".join(draw(spaces) + value for value in found) + "]"
    return "[" + text + "]" if draw(st.integers(0, 9)) == 0 else text


@st.composite
def objects(draw: st.DrawFn, names: Sequence[str], value: st.SearchStrategy[str], most: int) -> bytes:
    """A JSON object with some of the names, in any order, perhaps twice."""
    keys = draw(st.permutations(names))[:most]
    if draw(st.integers(0, 4)) == 0:
        keys = draw(st.lists(st.sampled_from([*names, "other", "fields"]), max_size=4))
    parts = [
        f"{draw(spaces)}{json.dumps(key, ensure_ascii=draw(st.booleans()))}:{draw(spaces)}{draw(value)}"
        for key in keys
    ]
    text = "{" + ",".join(parts) + draw(spaces) + "}"
    if draw(st.integers(0, 9)) == 0:
        text = '{"fields":' + text + "}"
    if draw(st.integers(0, 19)) == 0:
        text = text[: draw(st.integers(0, len(text)))] + draw(
            st.sampled_from(["", "}", "x", "\x00", "\ufeff"])
        )
    return text.encode()


def bodies(box: Box) -> st.SearchStrategy[bytes]:
    if isinstance(box.model.input, TabularInput):
        return objects([column.name for column in box.model.input.columns], values, 3)
    some = lists() | values
    return objects(sorted({box.model.signature.inputs[0].name, "inputs"}), some, 1)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(box_names)
    return name, draw(bodies(BOXES[name]))


# ---------------------------------------------------------------------- the same tensor


@settings(max_examples=200, deadline=None)
@given(requests())
@example(("fp32", b'{"x":[1,2,3],"inputs":null}'))
@example(("fp32", b'{"x":null,"inputs":[1,2,3]}'))
@example(("fp32", b'{"x":[1,2,3],"x":[4,5,6]}'))
@example(("table fp16", '{"amount":65510,"age":1,"größe":2}'.encode()))
@example(("scaled fp16", '{"amount":1,"age":65510,"größe":2}'.encode()))
@example(("table", '{"amount":3.40282356e38,"age":1,"größe":2}'.encode()))
@example(("table fp64", '{"amount":-0,"age":-0.0,"größe":1e-400}'.encode()))
@example(("table", b'{"amount":1,"age":2,"gr\\u00f6\\u00dfe":3}'))
def test_the_short_way_gives_up_or_gives_the_long_ways_tensor(asking: tuple[str, bytes]) -> None:
    name, body = asking
    box = BOXES[name]
    reader = row_reader(box.model)
    assert reader is not None
    row = reader.read(body)
    if row is None:
        return
    try:
        expected = box.pipeline.prepare(msgspec.json.decode(body))
    except InvalidInput:
        with pytest.raises(InvalidInput):
            reader.form.stacked([row])
        return
    assert_same(reader.form.stacked([row]), expected.inputs)
    assert expected.added_batch, "it came without the batch axis"


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize("name", BOXES)
def test_a_plain_row_does_take_the_short_way(name: str) -> None:
    box = BOXES[name]
    body = b'{"inputs":[1,2.5,-3e-1]}'
    if isinstance(box.model.input, TabularInput):
        body = ' {"age":2.5, "amount":1,"größe":\n-0.3}'.encode()
    assert box.predict_short(body) is not None


# ---------------------------------------------------------------------- the same answer


@settings(max_examples=200, deadline=None)
@given(requests())
@example(("fp32", b'{"x":[1,2,3],"inputs":null}'))
@example(("fp32", b'{"x":[1e39,2,3]}'))
@example(("fp32", b'{"x":[1,2,3000]}'))
@example(("classes", b'{"x":[1,2,3000]}'))
@example(("table", '{"amount":1e39,"age":-1e39,"größe":0}'.encode()))
@example(("scaled", '{"amount":1e39,"age":1,"größe":1e308}'.encode()))
@example(("embedding", '{"amount":0,"age":0,"größe":0}'.encode()))
def test_predict_says_the_same_byte_for_byte(asking: tuple[str, bytes]) -> None:
    name, body = asking
    box = BOXES[name]
    job = box.predict_short(body)
    if job is not None:
        assert said(box.run(job)[0]) == said(box.predict_long(body))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_that_share_a_run_are_answered_as_if_alone(data: st.DataObject) -> None:
    box = BOXES[data.draw(box_names)]
    asked_for = data.draw(st.lists(bodies(box), min_size=2, max_size=6))
    pairs = [(body, box.predict_short(body)) for body in asked_for]
    jobs = [job for _, job in pairs if job is not None]
    assume(len(jobs) >= 2)
    alone = [said(box.predict_long(body)) for body, job in pairs if job is not None]
    assert [said(reply) for reply in box.run(*jobs)] == alone


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("rows", [2, 8, 33])
def test_answers_of_a_batch_are_those_of_its_rows_to_the_bit(name: str, rows: int) -> None:
    box = BOXES[name]
    draw = np.random.default_rng(rows)
    x = (draw.standard_normal((rows, 3)) * np.logspace(-3, 2, rows)[:, np.newaxis]).tolist()
    form = row_reader(box.model)
    assert form is not None
    outputs = Session(box.model.signature).run(form.form.stacked(x))
    together = box.pipeline.answers(outputs, rows)
    item = box.predict._row
    alone = [
        box.pipeline.answer({key: array[row : row + 1] for key, array in outputs.items()}, item)
        for row in range(rows)
    ]
    assert [msgspec.json.encode(one) for one in together] == [msgspec.json.encode(one) for one in alone]


# ---------------------------------------------------------------------- Open Inference Protocol

tensor_parts: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["z", 1]),
        "shape": st.sampled_from([[3], [1, 4], [2, 3], [1.0, 3], [1, 3, 1], [-1, 3], [True, 3]]),
        "datatype": st.sampled_from(["FP64", "INT64", "fp32", None]),
        "parameters": st.sampled_from([{}, {"binary_data_size": 4}]),
    },
)


@st.composite
def infer_bodies(draw: st.DrawFn) -> bytes:
    tensor: dict[str, object] = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
    if draw(st.integers(0, 3)) == 0:
        tensor |= draw(tensor_parts)
    texts = [json.dumps(key) + ":" + json.dumps(value) for key, value in tensor.items()]
    texts.insert(draw(st.integers(0, len(texts))), '"data":' + draw(lists()))
    inputs = "{" + draw(st.sampled_from([",", ", ", ",\n  "])).join(texts) + "}"
    if draw(st.integers(0, 19)) == 0:
        inputs += "," + inputs
    more = draw(
        st.sampled_from(
            [
                "",
                "",
                "",
                ',"id":"a1"',
                ',"id":""',
                ',"id":"gr\\u00fc\\"n"',
                ',"id":3',
                ',"id":null',
                ',"parameters":{}',
                ',"outputs":[{"name":"y0"}]',
                ',"other":1',
                ',"inputs":[]',
            ]
        )
    )
    return ('{"inputs":[' + inputs + "]" + more + "}").encode()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["fp32", "two outputs", "classes", "scaled"]), infer_bodies())
@example("fp32", b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1e39,0,0]}]}')
@example(
    "fp32", b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[-2000,2000,0]}],"id":"\xc3\xbc"}'
)
@example("fp32", b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3],"data":[4,5,6]}]}')
def test_infer_says_the_same_byte_for_byte(name: str, body: bytes) -> None:
    box = BOXES[name]
    job = box.infer_short(body)
    if job is not None:
        assert said(box.run(job)[0]) == said(box.infer_long(body))


def test_a_plain_infer_request_does_take_the_short_way() -> None:
    tensor: dict[str, object] = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2.5, -3]}
    for document in ({"inputs": [tensor]}, {"id": "7", "inputs": [tensor]}):
        assert BOXES["fp32"].infer_short(json.dumps(document).encode()) is not None


def test_infer_rows_that_share_a_run_are_answered_as_if_alone() -> None:
    box = BOXES["two outputs"]
    tensors = [
        {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [n, -n * 400, 0.1]} for n in range(9)
    ]
    texts = [json.dumps({"inputs": [tensor], "id": f"r{n}"}).encode() for n, tensor in enumerate(tensors)]
    jobs = [box.infer_short(text) for text in texts]
    replies = box.run(*[job for job in jobs if job is not None])
    assert [said(reply) for reply in replies] == [said(box.infer_long(text)) for text in texts]


def test_a_body_of_raw_tensors_behind_json_takes_the_long_way() -> None:
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    ).encode()
    headers = {b"inference-header-content-length": b"%d" % len(body)}
    assert BOXES["fp32"].infer.row_job(asked(body, headers)) is None


# ---------------------------------------------------------------------- who has no short way


@pytest.mark.parametrize(
    "kind",
    [
        b"application/pdf", b"application/octet-stream", b"image/png", b"multipart/form-data; boundary=x",
        b"application/json; charset=klingon", b"application/json; charset=utf-16", b"text/csv",
    ],
)  # fmt: skip
def test_a_type_that_is_not_json_is_answered_as_the_long_way_answers_it(kind: bytes) -> None:
    headers = {b"content-type": kind}
    box, body = BOXES["table"], '{"amount":1,"age":2,"größe":3}'.encode()
    job = box.predict_short(body, headers)
    assert job is None or said(box.run(job)[0]) == said(box.predict_long(body, headers))


@pytest.mark.parametrize("headers", [{}, {b"content-type": b"application/json"}], ids=["no type", "json"])
def test_what_clients_usually_say_about_json_takes_the_short_way(headers: dict[bytes, bytes]) -> None:
    assert BOXES["fp32"].predict_short(b'{"x":[1,2,3]}', headers or {b"host": b"box"}) is not None


def of_shape(datatype: str, shape: tuple[Axis, ...] | None, batch_axis: str | None = "n") -> Signature:
    x = TensorSpec(name="x", datatype=datatype, shape=shape)
    return Signature(inputs=(x,), outputs=(x,), batch_axis=batch_axis)


@pytest.mark.parametrize(
    "other",
    [
        of_shape("INT64", ("n", 3)),
        of_shape("BYTES", ("n", 3)),
        of_shape("FP32", ("n",)),
        of_shape("FP32", ("n", "m")),
        of_shape("FP32", ("n", 0)),
        of_shape("FP32", ("n", 1000, 1000)),
        of_shape("FP32", None, None),
        of_shape("FP32", (1, 3), None),
        Signature(inputs=signature().inputs * 2, outputs=signature().outputs, batch_axis="n"),
    ],
    ids=[
        "whole numbers",
        "strings",
        "scalars",
        "open axis",
        "empty",
        "huge",
        "open rank",
        "no batch axis",
        "two inputs",
    ],
)
def test_what_is_no_row_of_numbers_has_no_short_way(other: Signature) -> None:
    assert row_form(other) is None
    assert row_reader(served(other)) is None


def test_words_texts_and_handlers_have_no_short_way() -> None:
    words = TabularInput(
        columns=(
            NumericColumn(name="a"), NumericColumn(name="b"), CategoricalColumn(name="c", vocabulary=("x", "y")),
        )
    )  # fmt: skip
    assert row_reader(served(signature(), words)) is None
    assert row_reader(served(signature(), TextInput())) is None
    model = served(signature())
    by_handler = ServedModel("m", model.path, model.signature, model.input, model.output, Path("/handler.py"))
    assert row_reader(by_handler) is None


def test_a_picture_has_a_row_form_of_its_shape_but_no_short_way_into_predict() -> None:
    other = of_shape("FP32", ("n", 2, 3))
    form = row_form(other)
    assert isinstance(form, RowForm)
    assert form.size == 6
    assert form.stacked([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])["x"].shape == (2, 2, 3)
    assert row_reader(served(other)) is None
