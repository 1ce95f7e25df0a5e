"""MLflow models as MLflow saves them, and its `MLmodel` in the part of YAML that it is written in."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sealift.errors import ModelError, UsageError
from sealift.migrate.mlflow import read_mlflow
from sealift.migrate.mlmodel import NotYaml, read_mlmodel
from sealift.migrate.take_over import take_over
from sealift.model.declaration import NumericColumn, TabularInput, TensorInput
from sealift.project.file import load_project

COLUMNS = ("amount", "age of the customer, in years", "income")


@pytest.fixture
def saved(tmp_path: Path, row_net: Callable[..., Path]) -> Callable[..., Path]:
    """A folder as `mlflow.onnx.save_model` writes it."""

    def save(example: Any) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.onnx
            from mlflow.models import infer_signature

            model = onnx.load(row_net(tmp_path / "net.onnx"))
            signature = infer_signature(example, np.zeros((1, 1), np.float32))
            mlflow.onnx.save_model(
                model, str(tmp_path / "saved"), signature=signature, pip_requirements=["onnx", "onnxruntime"]
            )
        return tmp_path / "saved"

    return save


@pytest.mark.slow
def test_named_columns_of_the_signature_become_named_fields(
    tmp_path: Path, saved: Callable[..., Path]
) -> None:
    import pandas  # type: ignore[import-untyped]

    folder = saved(pandas.DataFrame({name: [1.0] for name in COLUMNS}))
    taken = take_over(tmp_path / "new", folder)
    entry = load_project(tmp_path / "new").models[0]
    assert entry.input == TabularInput(columns=tuple(NumericColumn(name=name) for name in COLUMNS))
    assert (taken.draft.service.form, taken.draft.service.path) == ("mlflow", "/invocations")
    assert "flavour onnx: model.onnx" in taken.draft.understood
    assert not any("does not run" in text for text in taken.draft.check)


@pytest.mark.slow
def test_tensors_of_the_signature_stay_tensors(tmp_path: Path, saved: Callable[..., Path]) -> None:
    take_over(tmp_path / "new", saved(np.zeros((1, 3), np.float32)))
    assert load_project(tmp_path / "new").models[0].input == TensorInput()


def mlmodel(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("mlflow_version: 3.0\n", UsageError, "expected flavors, such as onnx; found none"),
        ("flavors: {}\n", UsageError, "expected flavors"),
        ("flavors:\n  onnx: &x\n", UsageError, "line 2: '&x' is YAML that is not read here"),
        ("flavors:\n  onnx:\n    data: ../net.onnx\n", UsageError, "flavors.onnx.data"),
        (
            "flavors:\n  sklearn:\n    a: b\n  python_function:\n    c: d\n",
            ModelError,
            'flavour "sklearn" is a Python pickle',
        ),
        ("flavors:\n  pytorch:\n    a: b\n", ModelError, 'flavour "pytorch" is a Python pickle'),
        (
            "flavors:\n  python_function:\n    a: b\n",
            ModelError,
            'flavour "python_function" is not taken over',
        ),
        ("flavors:\n  spark:\n    a: b\n", ModelError, 'flavour "spark" is not taken over'),
    ],
)
def test_what_cannot_be_taken_over_is_refused_with_the_way_out(
    tmp_path: Path,
    contents: Callable[[Path], dict[str, bytes]],
    row_net: Callable[..., Path],
    text: str,
    kind: type[UsageError],
    said: str,
) -> None:
    row_net(tmp_path / "net.onnx")
    folder = mlmodel(tmp_path / "old", text)
    before = contents(tmp_path)
    with pytest.raises(kind) as caught:
        take_over(tmp_path / "new", folder)
    assert said in caught.value.message
    assert kind is UsageError or caught.value.next_step
    assert contents(tmp_path) == before


def test_columns_that_do_not_fit_the_model_leave_tensors(
    tmp_path: Path, row_net: Callable[..., Path]
) -> None:
    columns = json.dumps([{"name": "a", "type": "double"}, {"name": "b", "type": "double"}])
    text = f"flavors:\n  onnx:\n    data: model.onnx\nsignature:\n  inputs: '{columns}'\n"
    row_net(mlmodel(tmp_path / "old", text) / "model.onnx", columns=3)
    draft = read_mlflow(tmp_path / "old")
    assert draft.models[0].input == TensorInput()
    assert "the signature has 2 columns, the ONNX file another shape; inputs are tensors" in draft.check


def test_the_part_of_yaml_that_mlflow_writes_is_read() -> None:
    text = (
        "a:\n  b: null\n  c: 'it''s\n    folded: yes'\n  \"d e\": \"x\\ty\\u00e9\\\n    \\ z\"\n"
        "list:\n- one\n- two: 2\n  three: 'x'\n-\n  four: 4\nempty: []\nplain: some words\n  more words # not this\n"
        "block: |\n  line 1\n  line 2\n# the end\n"
    )
    assert read_mlmodel(text) == {
        "a": {"b": None, "c": "it's folded: yes", "d e": "x\tyé z"},
        "list": ["one", {"two": "2", "three": "x"}, {"four": "4"}],
        "empty": [],
        "plain": "some words more words",
        "block": "line 1\nline 2",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *x\n", "line 1: '*x' is YAML that is not read here"),
        ("a: [1, 2]\n", "line 1: '[1, 2]' is YAML that is not read here"),
        ("a:\n  b: 1\n c: 2\n", "line 3: its indentation fits nothing above"),
        ("a: 1\nb: 'x\n", "line 2: a string does not end"),
        ("- a\n", "line 1: expected keys and values"),
        ("\ta: 1\n", "line 1: a tab where spaces indent"),
        ("a: 1\na: 2\n", "line 2: 'a' stands twice"),
        ("x\n", "line 1: expected KEY: VALUE, found 'x'"),
        ('a: "\\q"\n', "line 1: the escape '\\\\q' is not read here"),
    ],
)
def test_other_yaml_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(NotYaml) as caught:
        read_mlmodel(text)
    assert str(caught.value) == said
