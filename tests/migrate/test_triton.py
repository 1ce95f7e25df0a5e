"""Triton model repositories: every model under its own name, and what cannot come along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.errors import UsageError
from sealift.migrate.pbtxt import NotTextFormat, Word, read_text_format
from sealift.migrate.take_over import take_over
from sealift.migrate.triton import read_triton
from sealift.model.declaration import ClassesOutput, TensorOutput
from sealift.project.file import load_project

RISK = """\
# the risk model
name: "risk"
backend: "onnxruntime"
max_batch_size: 64
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [
  { name: "y", data_type: TYPE_FP32, dims: [ 4 ], label_filename: "words.txt" }
]
instance_group [ { count: 2, kind: KIND_GPU } ]
dynamic_batching { max_queue_delay_microseconds: 500 }
"""
ENSEMBLE = 'name: "both" platform: "ensemble" ensemble_scheduling { step [ { model_name: "risk" } ] }'


@pytest.fixture
def repository(tmp_path: Path, row_net: Callable[..., Path], photo_net: Callable[[Path], Path]) -> Path:
    """Two models, an ensemble of them and a Python model."""
    folder = tmp_path / "repository"
    for version in (1, 9, 10):
        row_net(folder / "risk" / str(version) / "model.onnx", classes=4)
    (folder / "risk" / "config.pbtxt").write_text(RISK)
    (folder / "risk" / "words.txt").write_text("a\nb\nc\nd\n")
    photo_net(folder / "Photos" / "1" / "model.onnx")
    for name, text in (("both", ENSEMBLE), ("steps", 'backend: "python"')):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(text)
    return folder


def test_each_model_keeps_its_name_and_the_rest_is_said(repository: Path, tmp_path: Path) -> None:
    taken = take_over(tmp_path / "new", repository)
    photos, risk = load_project(tmp_path / "new").models
    assert (photos.name, risk.name) == ("photos", "risk")
    assert risk.device == ("cuda", "cpu")
    assert risk.output == ClassesOutput(name="y", labels=("a", "b", "c", "d"))
    assert photos.output == TensorOutput()
    assert "models.risk.batch_wait_ms = { default = 0.5 }" in (tmp_path / "new/sealift.toml").read_text()
    assert "risk: version 10, model.onnx (onnxruntime)" in taken.draft.understood
    check = "\n".join(taken.draft.check)
    for said in (
        "risk: only the newest version is taken over; left behind: 9, 1",
        "Photos: is called photos here",
        "both: ensemble cannot be taken over",
        "steps: python cannot be taken over; its model.py is code",
        "risk: it runs on a GPU today",
        "risk: instance_group count is not taken over",
    ):
        assert said in check
    assert (taken.draft.service.form, taken.draft.service.path) == ("v2", "/v2/models/{model}/infer")


@pytest.mark.slow
def test_a_torchscript_model_gets_tritons_own_tensor_names(
    tmp_path: Path, script_net: Callable[[Path, int], Path]
) -> None:
    home = tmp_path / "repository" / "scores"
    (home / "1").mkdir(parents=True)
    script_net(home / "1" / "model.pt", 5)
    (home / "config.pbtxt").write_text(
        'platform: "pytorch_libtorch" max_batch_size: 8\n'
        'input [{ name: "INPUT__0" data_type: TYPE_FP32 dims: [5] }]\n'
        'output [{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [4] }]\n'
    )
    taken = take_over(tmp_path / "new", home)
    entry = load_project(tmp_path / "new").models[0]
    assert (entry.inputs[0].name, entry.inputs[0].shape) == ("INPUT__0", ("batch", 5))
    assert entry.outputs[0].name == "OUTPUT__0"
    assert not any("does not run" in text for text in taken.draft.check)


def test_all_problems_of_all_models_come_at_once(
    repository: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    (repository / "risk" / "config.pbtxt").write_text(RISK.replace('name: "y",', "name: ,"))
    (repository / "Photos" / "1" / "model.onnx").unlink()
    (repository / "Photos" / "config.pbtxt").write_text('backend: "onnxruntime"')
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        take_over(tmp_path / "new", repository)
    assert caught.value.problems == (
        f"Photos: {repository}/Photos/1/model.onnx is missing",
        f"{repository}/risk/config.pbtxt: line 7: expected a value, found ','",
    )
    assert contents(tmp_path) == before


def test_a_repository_of_nothing_that_can_run_says_why(repository: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_triton(repository / "both")
    assert "ensemble cannot be taken over" in caught.value.problems[0]


def test_a_label_file_or_a_datatype_that_is_not_there_is_named(repository: Path) -> None:
    text = RISK.replace("words.txt", "../words.txt").replace("TYPE_FP32 dims", "TYPE_QUX dims")
    (repository / "risk" / "config.pbtxt").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_triton(repository)
    assert caught.value.problems == (
        'risk: line 5: data_type "QUX" of x is not read here',
        'risk: line 7: label_filename "../words.txt" is missing',
    )


def test_text_format_is_read_as_protobuf_writes_it() -> None:
    message = read_text_format(
        'a: 1 a: [2, 0x3]; b { c: \'x\' "y" } b < c: "\\"z\\n" > # end\nd: TYPE_X e: -1.5e3 f: []'
    )
    assert message.all("a") == (1, 2, 3)
    assert [inner.text("c") for inner in message.messages("b")] == ["xy", '"z\n']
    assert message.all("d") == (Word("TYPE_X"),)
    assert message.all("e") == (-1500.0,)
    assert message.all("f") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb {\n  c: 2\n", "line 4: expected '}', found the end of the file"),
        ("a: 1\nb 2", "line 2: expected ':' after b, found '2'"),
        ("a: [1 2]", "line 1: expected ',' or ']', found '2'"),
        ("a: [1, 2", "line 1: expected ',' or ']', found 'the end of the file'"),
        ("\n\n}", "line 3: expected the name of a field, found '}'"),
        ('a: "x', "line 1: unexpected '\"x'"),
        ('a: "\\q"', "line 1: the escape '\\\\q' is not read here"),
        ("a {" * 100, "line 1: nested too deeply"),
    ],
)
def test_broken_text_format_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(NotTextFormat) as caught:
        read_text_format(text)
    assert str(caught.value) == said
