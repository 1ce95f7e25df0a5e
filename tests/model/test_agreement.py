"""Declarations that do not fit the model: every problem, in words, before anything is packed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from sealift.errors import ModelError
from sealift.model.agreement import check_declaration
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Column,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.pipeline import build_pipeline
from sealift.model.service import ServedModel
from sealift.model.signature import Axis, Signature, TensorSpec

Shape = tuple[Axis, ...] | None


def spec(name: str, shape: Shape, datatype: str = "FP32", labels: tuple[str, ...] = ()) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, labels=labels)


def served(inputs: list[TensorSpec], outputs: list[TensorSpec], **declared: Any) -> ServedModel:
    parts = {"input": TensorInput(), "output": TensorOutput(), **declared}
    return ServedModel("m", Path("m.onnx"), Signature(inputs=tuple(inputs), outputs=tuple(outputs)), **parts)


Y = spec("y", ("n", 3))


def image(shape: Shape, datatype: str = "FP32", **declared: Any) -> tuple[str, ...]:
    settings = {"size": (20, 30), **declared}
    return check_declaration(served([spec("x", shape, datatype)], [Y], input=ImageInput(**settings)))


@pytest.mark.parametrize(
    ("shape", "declared"),
    [
        (("n", 3, 20, 30), {}),
        ((1, 3, "h", "w"), {}),
        ((3, 20, 30), {}),
        (None, {}),
        (("n", 20, 30, 3), {"layout": "NHWC", "channels": "BGR"}),
        (("n", 1, 20, 30), {"channels": "GRAY"}),
        (("n", 20, 30), {"channels": "GRAY"}),
        ((20, 30), {"channels": "GRAY"}),
        (("n", 3, 20, 30), {"mean": (1.0, 2.0, 3.0), "std": (4.0,), "resize": 30}),
    ],
)
def test_images_that_fit_are_accepted(shape: Shape, declared: dict[str, Any]) -> None:
    assert image(shape, **declared) == ()


@pytest.mark.parametrize(
    ("shape", "datatype", "declared", "problem"),
    [
        (("n", 3, 20, 20), "FP32", {}, "NCHW with size [20, 30] and RGB makes [1, 3, 20, 30], x is FP32[n, 3, 20, 20]"),
        (("n", 20, 30, 3), "FP32", {}, "NCHW with size [20, 30] and RGB makes [1, 3, 20, 30], x is FP32[n, 20, 30, 3]"),
        (("n", 3, 20, 30), "FP32", {"channels": "GRAY"}, "makes [1, 1, 20, 30]"),
        ((8, 3, 20, 30), "FP32", {}, "a batch of exactly 8; export it with a batch of 1 or a dynamic first axis"),
        (("n", 600), "FP32", {}, "an image takes an input of 3 or 4 axes, x is FP32[n, 600]"),
        ((), "FP32", {}, "an image takes an input of 3 or 4 axes, x is FP32"),
        (("n", 3, 20, 30), "INT64", {}, "an image takes a floating-point or UINT8 input, x is INT64"),
        (("n", 3, 20, 30), "UINT8", {"std": (2.0,)}, "mean and std need a floating-point input"),
        (("n", 3, 20, 30), "FP32", {"mean": (1.0, 2.0)}, "mean has 2 values, expected 1 or 3 (RGB)"),
        (("n", 3, 20, 30), "FP32", {"std": (1.0, 0.0, 1.0)}, "std must not be 0"),
        (("n", 3, 20, 30), "FP32", {"mean": (math.nan,)}, "mean must be finite"),
        (("n", 3, 20, 30), "FP32", {"resize": 25}, "resize = 25 is smaller than size [20, 30]"),
        ((1, 3, 0, 30), "FP32", {"size": (0, 30)}, "size [0, 30] must be positive"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(
    shape: Shape, datatype: str, declared: dict[str, Any], problem: str
) -> None:
    (found,) = image(shape, datatype, **declared)
    assert found.startswith("[model.input] ")
    assert problem in found


@pytest.mark.parametrize("declared", [ImageInput(size=(4, 4)), TextInput()])
def test_photos_and_texts_need_a_model_with_one_input(declared: Any) -> None:
    (found,) = check_declaration(served([spec("a", (1,)), spec("b", (1,))], [Y], input=declared))
    assert found.endswith("takes a model with one input, this one has a, b; write a handler")


def test_texts_need_a_string_input() -> None:
    assert check_declaration(served([spec("t", ("n", 1), "BYTES")], [Y], input=TextInput())) == ()
    (tokens,) = check_declaration(served([spec("t", ("n", 9), "INT64")], [Y], input=TextInput()))
    assert tokens == '[model.input] kind = "text" takes a string input, t is INT64[n, 9]; name its tokenizer'
    (several,) = check_declaration(served([spec("t", ("n", 9), "BYTES")], [Y], input=TextInput()))
    assert several.endswith('kind = "text" gives one string, t is BYTES[n, 9]')


def table(inputs: list[TensorSpec], *columns: Column) -> tuple[str, ...]:
    return tuple(
        problem.removeprefix("[model.input] ")
        for problem in check_declaration(served(inputs, [Y], input=TabularInput(columns=columns)))
    )


A = NumericColumn(name="a")
WORD = CategoricalColumn(name="w", vocabulary=("x", "y"))


def test_tables_that_fit_are_accepted() -> None:
    assert (
        table([spec("x", ("n", 3))], A, CategoricalColumn(name="w", vocabulary=("p", "q"), encoding="onehot"))
        == ()
    )
    assert table([spec("a", ("n", 1)), spec("w", ("n", 1), "INT64")], A, WORD) == ()
    assert table([spec("x", None)], A, WORD) == ()
    assert table([spec("a", ()), spec("w", ("n",), "BOOL")], A, WORD) == ()


@pytest.mark.parametrize(
    ("inputs", "columns", "problem"),
    [
        ([spec("x", ("n", 3))], (), "columns is empty"),
        ([spec("x", ("n", 2))], (A, A), "column a is declared twice"),
        ([spec("x", ("n", 3))], (A, WORD), "2 values from columns a, w go to x, which is FP32[n, 3]"),
        ([spec("x", (8, 1))], (A,), "x is FP32[8, 1]: 8 rows at once; export it with a dynamic first axis"),
        ([spec("x", ("n", 1, 1))], (A,), "columns fill inputs of at most 2 axes, write a handler"),
        ([spec("x", ("n", 1), "INT64")], (NumericColumn(name="a", std=2.0),), "mean and std need a floating-point"),
        ([spec("x", ("n", 1), "INT64")], (NumericColumn(name="a", missing=0.5),), "missing = 0.5 does not fit x"),
        ([spec("x", ("n", 1), "BOOL")], (A,), 'x is BOOL; declare it categorical with vocabulary = ["false", "true"]'),
        ([spec("x", ("n", 1), "BYTES")], (A,), "a number does not go into x, which is BYTES[n, 1]"),
        (
            [spec("x", ("n", 1))],
            (CategoricalColumn(name="w", vocabulary=("p",), encoding="string"),),
            'column w: encoding = "string" does not go into x, which is FP32[n, 1]',
        ),
        (
            [spec("x", ("n", 1), "BOOL")],
            (CategoricalColumn(name="w", vocabulary=("p", "q", "r")),),
            "column w: 3 words do not fit x, which is BOOL[n, 1]",
        ),
        ([spec("x", ("n", 1))], (NumericColumn(name="a", std=0.0),), "mean and std must be finite and std not 0"),
        ([spec("x", ("n", 1))], (NumericColumn(name="a", missing=math.inf),), "missing must be a number or nan"),
        ([spec("x", ("n", 1))], (CategoricalColumn(name="w", vocabulary=()),), "column w: vocabulary is empty"),
        (
            [spec("x", ("n", 1))],
            (CategoricalColumn(name="w", vocabulary=("p", "p")),),
            "column w: 'p' stands twice in vocabulary",
        ),
        (
            [spec("x", ("n", 1))],
            (CategoricalColumn(name="w", vocabulary=("cash", "card"), missing="csh"),),
            "column w: missing = 'csh' is not in vocabulary; did you mean 'cash'?",
        ),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(
    inputs: list[TensorSpec], columns: tuple[Column, ...], problem: str
) -> None:
    (found,) = table(inputs, *columns)
    assert problem in found


def test_columns_that_lead_nowhere_are_named_with_the_inputs_that_stay_empty() -> None:
    inputs = [spec("amount", ("n", 1)), spec("age", ("n", 1))]
    columns = (NumericColumn(name="amuont"), NumericColumn(name="b", input="agee"))
    assert table(inputs, *columns) == (
        "column amuont: set input to one of amount, age; did you mean 'amount'?",
        "column b: input 'agee' is not one of amount, age; did you mean 'age'?",
        "no column goes to the input amount FP32[n, 1]",
        "no column goes to the input age FP32[n, 1]",
    )


@pytest.mark.parametrize(
    ("outputs", "declared", "problem"),
    [
        (
            [spec("scores", ("n", 3))],
            ClassesOutput(name="score"),
            "name = 'score' is not an output (scores); did you mean 'scores'?",
        ),
        ([spec("y", ("n",), "INT64")], ClassesOutput(), "none of the outputs (y) is floating-point; name one"),
        ([spec("y", ("n",), "BYTES")], ClassesOutput(name="y"), "y is BYTES[n]; expected numbers"),
        ([Y], ClassesOutput(labels=("a", "b")), "2 labels for 3 classes (y is FP32[n, 3])"),
        ([Y], ClassesOutput(top=0), "top = 0 must be at least 1"),
        ([spec("y", ("n", 1))], ClassesOutput(), 'one value is no choice; use kind = "scores"'),
        ([Y], ScoresOutput(positive="fraud"), "positive = 'fraud': y has 3 columns without labels"),
        (
            [spec("y", ("n", 3), labels=("fine", "frauds", "odd"))],
            ScoresOutput(positive="fraud"),
            "y has 3 columns labelled fine, frauds, odd; did you mean 'frauds'?",
        ),
        ([spec("y", ("n", 2))], ScoresOutput(positive="a", negative="a"), "positive and negative are both 'a'"),
        ([spec("y", ("n", 2))], ScoresOutput(positive="a", threshold=math.nan), "threshold = nan must be finite"),
        ([Y], EmbeddingOutput(name="z"), "name = 'z' is not an output (y)"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_fit_are_refused(outputs: list[TensorSpec], declared: Any, problem: str) -> None:
    (found,) = check_declaration(served([spec("x", ("n", 2))], outputs, output=declared))
    assert found.startswith("[model.output] ")
    assert problem in found


def test_all_problems_of_both_ends_come_in_one_error() -> None:
    model = served(
        [spec("x", ("n", 600))],
        [Y],
        input=ImageInput(size=(4, 4), std=(0.0,)),
        output=ClassesOutput(labels=("a",)),
    )
    with pytest.raises(ModelError, match="do not fit") as caught:
        build_pipeline(model)
    assert len(caught.value.problems) == 3
    assert caught.value.next_step is not None


def test_what_a_handler_replaces_is_not_checked_and_not_run(tmp_path: Path) -> None:
    """The handler's packages need not be on the packing machine."""
    handler = tmp_path / "handler.py"
    wrong = {"input": ImageInput(size=(4, 4)), "output": ClassesOutput(labels=("a",)), "handler": handler}
    model = served([spec("x", ("n", 600))], [Y], **wrong)
    handler.write_text("import no_such_package\ndef preprocess(b): ...\n")
    assert check_declaration(model) == ("[model.output] 1 labels for 3 classes (y is FP32[n, 3])",)
    handler.write_text("import no_such_package\ndef postprocess(b): ...\n")
    (found,) = check_declaration(model)
    assert found.startswith("[model.input] an image takes")
    handler.write_text("from no_such_package import preprocess, postprocess\n")
    assert check_declaration(model) == ()
