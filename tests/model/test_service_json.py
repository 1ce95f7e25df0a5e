"""`service.json`: round trips, and everything that is not exactly it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sealift.errors import MalformedBundle, ModelError
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.service import ServedModel
from sealift.model.service_json import dump_models, load_models
from sealift.model.signature import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=("n", 3)),
        TensorSpec(name="k", datatype="INT64", shape=()),
    ),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=None, labels=("ä", "b")),),
    batch_axis="n",
    probabilities=("y",),
)


def models(root: Path) -> tuple[ServedModel, ...]:
    table = TabularInput(
        columns=(
            NumericColumn(name="a", mean=0.1, std=3.0, missing=0.0),
            CategoricalColumn(name="b", vocabulary=("x", "y"), encoding="onehot", unknown="y"),
        )
    )
    ends: list[tuple[Any, Any]] = [
        (TensorInput(), TensorOutput()),
        (TextInput(), EmbeddingOutput(normalize=True)),
        (ImageInput(size=(2, 3), mean=(1.0, 2.0, 3.0)), ClassesOutput(labels=("p", "q"), top=1)),
        (table, ScoresOutput(positive="fraud", threshold=0.83)),
    ]
    return tuple(
        ServedModel(
            name=f"m{position}",
            path=root / "models" / f"m{position}" / "model.onnx",
            signature=SIGNATURE,
            input=before,
            output=after,
            handler=root / "code" / "handler.py" if position else None,
            device=("cuda", "cpu") if position else ("cpu",),
        )
        for position, (before, after) in enumerate(ends)
    )


def test_models_come_back_under_another_root(tmp_path: Path) -> None:
    data = dump_models(models(tmp_path / "packed"), tmp_path / "packed")
    assert load_models(data, tmp_path / "installed") == models(tmp_path / "installed")
    assert str(tmp_path) not in data.decode()


def test_equal_models_give_equal_bytes_with_sorted_keys(tmp_path: Path) -> None:
    first = dump_models(models(tmp_path / "a"), tmp_path / "a")
    assert first == dump_models(models(tmp_path / "b"), tmp_path / "b")
    assert first == dump_models(load_models(first, tmp_path), tmp_path)
    document = msgspec.json.decode(first)
    assert msgspec.json.encode(document, order="sorted") + b"\n" == first


def test_nan_for_missing_survives(tmp_path: Path) -> None:
    """JSON has no NaN; null would silently mean 'required'."""
    column = NumericColumn(name="a", missing=math.nan)
    model = ServedModel("m", tmp_path / "m.onnx", SIGNATURE, TabularInput(columns=(column,)), TensorOutput())
    (found,) = load_models(dump_models([model], tmp_path), tmp_path)
    assert isinstance(found.input, TabularInput)
    missing = found.input.columns[0].missing
    assert isinstance(missing, float)
    assert math.isnan(missing)


@pytest.mark.parametrize("path", ["/elsewhere/m.onnx", "../m.onnx", "a/../../m.onnx", "."])
def test_files_outside_the_root_are_refused(path: str, tmp_path: Path) -> None:
    model = ServedModel("m", tmp_path / path, SIGNATURE, TensorInput(), TensorOutput())
    with pytest.raises(ModelError, match="does not lie inside"):
        dump_models([model], tmp_path)
    outside = ServedModel(
        "m", tmp_path / "m", SIGNATURE, TensorInput(), TensorOutput(), handler=tmp_path / path
    )
    with pytest.raises(ModelError, match="does not lie inside"):
        dump_models([outside], tmp_path)


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    model = models(tmp_path)[0]
    with pytest.raises(ModelError, match="several models are called 'm0'"):
        dump_models([model, model], tmp_path)
    document = msgspec.json.decode(dump_models([model], tmp_path))
    document["models"] *= 2
    with pytest.raises(MalformedBundle, match="several models are called 'm0'"):
        load_models(msgspec.json.encode(document), tmp_path)


def changed(tmp_path: Path, *steps: Any, value: Any) -> bytes:
    document = msgspec.json.decode(dump_models(models(tmp_path), tmp_path))
    inner = document
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = value
    return msgspec.json.encode(document)


@pytest.mark.parametrize(
    ("steps", "value", "message"),
    [
        (["extra"], 1, "unknown field `extra`"),
        (["models", 0, "extra"], 1, "unknown field `extra`"),
        (["models", 0, "signature", "extra"], 1, "unknown field `extra`"),
        (["models", 0, "signature", "inputs", 0, "extra"], 1, "unknown field `extra`"),
        (["models", 2, "input", "sizes"], [1, 2], "unknown field `sizes`"),
        (["models", 3, "input", "columns", 0, "kind"], "ordinal", "Invalid value 'ordinal'"),
        (["models", 0, "input", "kind"], "video", "Invalid value 'video'"),
        (["models", 0, "name"], 5, "Expected `str`, got `int`"),
        (["models", 3, "output", "threshold"], {"$float": "zero"}, "'zero' is not nan, inf or -inf"),
        (["models", 3, "output", "threshold"], {"$float": ["nan"]}, "is not nan, inf or -inf"),
        (["format"], 2, "has format 2, this sealift reads 1"),
        (["models", 0, "path"], "/etc/passwd", "expected a plain path inside the release"),
        (["models", 0, "path"], "a/../../b", "expected a plain path inside the release"),
        (["models", 0, "path"], "a//b", "expected a plain path inside the release"),
        (["models", 0, "path"], "", "expected a plain path inside the release"),
        (["models", 1, "handler"], "../handler.py", "expected a plain path inside the release"),
    ],
)
def test_anything_else_is_refused(steps: list[Any], value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedBundle) as caught:
        load_models(changed(tmp_path, *steps, value=value), tmp_path)
    assert message in caught.value.message


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 5000])
def test_what_is_no_service_json_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(MalformedBundle, match="is not readable"):
        load_models(data, tmp_path)
