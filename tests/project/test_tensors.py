"""Which engine loads the file, and what a TorchScript file is said to take and give."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.model.signature import TensorSpec
from sealift.project.file import load_project
from sealift.project.project import Architecture, ModelEntry

HEAD = '[project]\nname = "scores"\nversion = "1"\n[model]\n'


def read(folder: Path, text: str) -> ModelEntry:
    (folder / "sealift.toml").write_text(HEAD + text)
    return load_project(folder).models[0]


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ('path = "model.onnx"', ""),
        ('path = "model.onnx"\nengine = "onnxruntime"', ""),
        ('path = "model.onnx"\nengine = "openvino"', "openvino"),
        ('path = "model.xml"\nengine = "openvino"', ""),
        ('path = "model.pt"', ""),
    ],
)
def test_an_engine_is_recorded_only_where_the_suffix_does_not_say_it(
    folder: Path, text: str, engine: str
) -> None:
    assert read(folder, text).engine == engine


def test_tensors_are_declared_in_the_order_of_the_arguments(folder: Path) -> None:
    model = read(
        folder,
        'path = "model.pt"\n'
        '[[model.inputs]]\nname = "ids"\ndatatype = "INT64"\nshape = ["batch", "length"]\n'
        '[[model.inputs]]\nname = "scale"\ndatatype = "FP32"\nshape = []\n'
        '[[model.outputs]]\nname = "score"\ndatatype = "FP32"\nshape = ["batch", 1]\n',
    )
    assert model.inputs == (
        TensorSpec(name="ids", datatype="INT64", shape=("batch", "length")),
        TensorSpec(name="scale", datatype="FP32", shape=()),
    )
    assert model.outputs == (TensorSpec(name="score", datatype="FP32", shape=("batch", 1)),)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('kind = "image"\nsize = [8, 9]', ("batch", 3, 8, 9)),
        ('kind = "image"\nsize = [8, 9]\nlayout = "NHWC"\nchannels = "GRAY"', ("batch", 8, 9, 1)),
        (
            'kind = "tabular"\n[[model.input.columns]]\nname = "a"\nkind = "numeric"\n'
            '[[model.input.columns]]\nname = "b"\nkind = "categorical"\nvocabulary = ["x", "y"]\nencoding = "onehot"',
            ("batch", 3),
        ),
    ],
)
def test_a_kind_of_input_says_the_shape_of_the_only_tensor(
    folder: Path, text: str, shape: tuple[int | str, ...]
) -> None:
    (spec,) = read(folder, f'path = "model.pt"\n[model.input]\n{text}\n').inputs
    assert (spec.datatype, spec.shape) == ("FP32", shape)


def test_columns_that_go_to_inputs_of_their_own_say_nothing(folder: Path) -> None:
    text = (
        'path = "model.pt"\n[model.input]\nkind = "tabular"\n'
        '[[model.input.columns]]\nname = "a"\nkind = "numeric"\ninput = "left"\n'
    )
    assert read(folder, text).inputs == ()


INPUTS = '[[model.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = ["batch", 4]\n'


def test_weights_come_with_the_python_that_builds_their_module(folder: Path) -> None:
    text = 'path = "weights.safetensors"\narchitecture = "net.py:Net"\n[model.arguments]\nclasses = 3\n'
    model = read(folder, text + INPUTS)
    assert model.architecture == Architecture(folder / "net.py", "Net", {"classes": 3})
    assert model.needs_export
    assert model.inputs == (TensorSpec(name="x", datatype="FP32", shape=("batch", 4)),)


def test_the_shape_of_a_photo_is_enough_for_weights(folder: Path) -> None:
    text = 'path = "weights.pth"\narchitecture = "net.py:Net"\n[model.input]\nkind = "image"\nsize = [8, 9]\n'
    assert read(folder, text).inputs[0].shape == ("batch", 3, 8, 9)


@pytest.mark.parametrize(("engine", "kept"), [("openvino", "openvino"), ("onnxruntime", "")])
def test_weights_may_name_an_engine_that_loads_onnx(folder: Path, engine: str, kept: str) -> None:
    text = f'path = "weights.pth"\narchitecture = "net.py:Net"\nengine = "{engine}"\n'
    assert read(folder, text + INPUTS).engine == kept


def test_a_whole_model_needs_no_export(folder: Path) -> None:
    assert not read(folder, 'path = "model.pt"').needs_export
