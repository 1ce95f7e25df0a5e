"""`init`: scaffolds that load at once, and directories that stay as they were when it fails."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sealift.errors import ModelError, ProjectError, UsageError
from sealift.model.agreement import check_declaration
from sealift.model.declaration import (
    CategoricalColumn,
    ImageInput,
    NumericColumn,
    TabularInput,
    TensorInput,
    TensorOutput,
)
from sealift.model.onnx_graph import read_signature
from sealift.model.service import ServedModel
from sealift.model.signature import Signature, TensorSpec
from sealift.project.file import load_project
from sealift.project.scaffold import init_project
from sealift.project.templates import TEMPLATES, Template, project_text, template_for

Shape = Sequence[int | str]

PHOTO: Mapping[str, tuple[int, Shape]] = {"photo": (TensorProto.FLOAT, ["n", 3, 96, 128])}
FIELDS: Mapping[str, tuple[int, Shape]] = {
    "amount": (TensorProto.FLOAT, ["n", 1]),
    "land": (TensorProto.STRING, ["n", 1]),
    "age": (TensorProto.INT64, ["n"]),
    "known": (TensorProto.BOOL, ["n", 1]),
}
ROWS: Mapping[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, ["n", 3])}


def write_model(path: Path, inputs: Mapping[str, tuple[int, Shape]]) -> Path:
    """A model that gives back each of its inputs, called `NAME_out`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs],
        "echo",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, (kind, shape) in inputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def write_model_with_data(path: Path) -> Path:
    """A model whose weights lie in `weights/part.bin` and `rest.bin` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "weights").mkdir()
    tensors = []
    for number, location in enumerate(("weights/part.bin", "rest.bin")):
        tensor = numpy_helper.from_array(np.full((3,), number, np.float32), f"w{number}")
        (path.parent / location).write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
        tensors.append(tensor)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "w0"], ["m"]), helper.make_node("Add", ["m", "w1"], ["y"])]
    graph = helper.make_graph(nodes, "sum", info[:1], info[1:], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, hidden ones too, with its content."""
    return {
        entry.relative_to(folder).as_posix(): entry.read_bytes() if entry.is_file() else None
        for entry in sorted(folder.rglob("*"))
    }


def commented(text: str) -> dict[str, Any]:
    """The TOML that stands in comments under "Read from the model"."""
    lines = text.split("# Read from the model", 1)[1].split("\n")[1:]
    inside = [line[2:] for line in lines[: lines.index("")]]
    return tomllib.loads("\n".join(inside))


@pytest.mark.parametrize("template", [*TEMPLATES, None])
@pytest.mark.parametrize("inputs", [PHOTO, FIELDS, ROWS], ids=["photo", "fields", "rows"])
def test_a_scaffold_with_a_model_loads_at_once(
    tmp_path: Path, template: str | None, inputs: Mapping[str, tuple[int, Shape]]
) -> None:
    model = write_model(tmp_path / "Fraud v1.onnx", inputs)
    folder = tmp_path / "Fraud Check"
    written = init_project(folder, model=model, template=template)
    assert written == (folder / "sealift.toml", folder / "Fraud v1.onnx")
    assert set(tree(folder)) == {"sealift.toml", "Fraud v1.onnx"}
    project = load_project(folder)
    assert (project.name, project.version) == ("fraud-check", "0.1.0")
    assert project.models[0].path.read_bytes() == model.read_bytes()
    kinds = {"image": ImageInput, "tabular": TabularInput, "tensor": TensorInput}
    chosen = template or template_for(read_signature(model))
    assert type(project.models[0].input) is kinds[chosen]


@pytest.mark.parametrize(
    ("inputs", "template"),
    [(PHOTO, None), (FIELDS, None), (ROWS, None), (ROWS, "tabular")],
    ids=["photo", "fields", "rows", "rows as a table"],
)
def test_what_a_scaffold_declares_agrees_with_its_model(
    tmp_path: Path, inputs: Mapping[str, tuple[int, Shape]], template: str | None
) -> None:
    init_project(tmp_path / "p", model=write_model(tmp_path / "m.onnx", inputs), template=template)
    entry = load_project(tmp_path / "p").models[0]
    signature = read_signature(entry.path)
    served = ServedModel(
        name=entry.name, path=entry.path, signature=signature, input=entry.input, output=entry.output
    )
    assert check_declaration(served) == ()


@pytest.mark.parametrize("template", [*TEMPLATES, None])
def test_a_scaffold_without_a_model_loads_once_the_model_is_there(
    tmp_path: Path, template: str | None
) -> None:
    assert init_project(tmp_path / "x", template=template) == (tmp_path / "x/sealift.toml",)
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path / "x")
    line = (tmp_path / "x/sealift.toml").read_text().split("\n").index('path = "model.onnx"') + 1
    assert caught.value.problems == (f'line {line}: [model] path: "model.onnx" does not exist',)
    (tmp_path / "x/model.onnx").write_bytes(b"")
    assert load_project(tmp_path / "x").name == "x"


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_suggestion_of_a_scaffold_is_good_toml_of_known_keys(folder: Path, template: Template) -> None:
    """Take the comment signs away: the file still loads."""
    lines = project_text("fraud", "model.onnx", template, None).split("\n")
    starts = ("# license", "# device", "# resize", "# labels")
    suggested = [index for index, line in enumerate(lines) if line.startswith(starts)]
    for index in suggested:
        lines[index] = lines[index][2:]
    tail = lines.index(next(line for line in lines if line.startswith("# [handler]")))
    lines[tail:] = [line.removeprefix("# ") for line in lines[tail:]]
    (folder / "sealift.toml").write_text("\n".join(lines))
    project = load_project(folder)
    assert (project.slo.latency_p99_ms, project.target.preset) == (50, "ubuntu-20.04")
    assert project.models[0].handler == folder / "handler.py"
    assert len(suggested) == (4 if template == "image" else 2)


def test_an_image_scaffold_takes_layout_size_and_channels_from_the_model(tmp_path: Path) -> None:
    shape: Shape = ["n", 28, 20, 1]
    model = write_model(tmp_path / "m.onnx", {"digit": (TensorProto.FLOAT, shape)})
    init_project(tmp_path / "p", model=model)
    entry = load_project(tmp_path / "p").models[0]
    assert entry.input == ImageInput(size=(28, 20), mean=(0.0,), std=(255.0,), layout="NHWC", channels="GRAY")
    assert entry.output == TensorOutput(), "an output of rank 4 holds no classes"


def test_an_image_scaffold_of_a_classifier_gives_classes_and_marks_an_open_size() -> None:
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP16", shape=("n", 3, "h", "w")),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=("n", 1000)),),
    )
    text = project_text("p", "m.onnx", "image", signature)
    assert 'kind = "classes"' in text
    assert "size = [224, 224]                 # height, width; CHECK: the model leaves them open" in text


def test_an_image_scaffold_leaves_integer_pixels_alone() -> None:
    spec = TensorSpec(name="x", datatype="UINT8", shape=(1, 224, 224, 3))
    text = project_text("p", "m.onnx", "image", Signature(inputs=(spec,), outputs=(spec,)))
    assert "std = [1, 1, 1]" in text.split("\n")


def test_a_tabular_scaffold_has_a_column_for_each_input(tmp_path: Path) -> None:
    init_project(tmp_path / "p", model=write_model(tmp_path / "m.onnx", FIELDS))
    entry = load_project(tmp_path / "p").models[0]
    assert entry.input == TabularInput(
        columns=(
            NumericColumn(name="amount"),
            CategoricalColumn(name="land", vocabulary=("card", "transfer"), encoding="string"),
            NumericColumn(name="age"),
            CategoricalColumn(name="known", vocabulary=("false", "true")),
        )
    )


def test_a_tabular_scaffold_has_a_column_for_each_place_of_one_wide_input(tmp_path: Path) -> None:
    init_project(tmp_path / "p", model=write_model(tmp_path / "m.onnx", ROWS), template="tabular")
    declared = load_project(tmp_path / "p").models[0].input
    assert isinstance(declared, TabularInput)
    assert [column.name for column in declared.columns] == ["column_1", "column_2", "column_3"]


@pytest.mark.parametrize(
    ("shapes", "datatype", "expected"),
    [
        ([("n", 3, 224, 224)], "FP32", "image"),
        ([(1, 1, 8, 8)], "FP64", "image"),
        ([("n", "h", "w", 3)], "FP16", "image"),
        ([("n", 3, 224, 224)], "UINT8", "tensor"),
        ([("n", 16, 224, 224)], "FP32", "tensor"),
        ([("n", 3, 224, 224), ("n", 3, 8, 8)], "FP32", "tensor"),
        ([("n", 3, 224)], "FP32", "tensor"),
        ([None], "FP32", "tensor"),
        ([("n", 1), ("n", 1)], "FP32", "tabular"),
        ([("n",), ("n", 1)], "BYTES", "tabular"),
        ([("n", 1)], "FP32", "tensor"),
        ([("n", 1), ("n", 2)], "FP32", "tensor"),
        ([("n", 1), ()], "FP32", "tensor"),
        ([("n", 1), (2, 1)], "FP32", "tensor"),
        ([(8, 3, 224, 224)], "FP32", "tensor"),
        ([("n", 1), None], "FP32", "tensor"),
        ([], "FP32", "tensor"),
    ],
)
def test_the_template_follows_the_inputs(
    shapes: list[tuple[int | str, ...] | None], datatype: str, expected: str
) -> None:
    specs = [TensorSpec(name=f"i{n}", datatype=datatype, shape=shape) for n, shape in enumerate(shapes)]
    assert template_for(Signature(inputs=tuple(specs), outputs=())) == expected


def test_inputs_and_outputs_stand_as_toml_in_comments(tmp_path: Path) -> None:
    init_project(tmp_path / "p", model=write_model(tmp_path / "m.onnx", FIELDS))
    signature = read_signature(tmp_path / "m.onnx")
    found = commented((tmp_path / "p/sealift.toml").read_text())
    for title, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        assert found[title] == [
            {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape or ())} for spec in specs
        ]


def test_no_name_in_a_model_can_break_out_of_its_comment_or_string(folder: Path) -> None:
    name = 'x"\n[limits]\nmax_memory_mb = 1 # \x7f\x00\\ \u2028 é'
    spec = TensorSpec(name=name, datatype="FP32", shape=("\nn", 1))
    signature = Signature(inputs=(spec, spec), outputs=(TensorSpec(name="y", datatype="FP32", shape=None),))
    text = project_text("fraud", "model.onnx", "tabular", signature)
    assert commented(text)["inputs"][0] == {"name": name, "datatype": "FP32", "shape": ["\nn", 1]}
    assert commented(text)["outputs"][0]["shape"] == "any rank"
    (folder / "sealift.toml").write_text(
        text.replace("[[model.input.columns]]", "[[c]]", 1), encoding="utf-8"
    )
    assert tomllib.loads(text)["model"]["input"]["columns"][0]["name"] == name
    with pytest.raises(ProjectError) as caught:
        load_project(folder)
    assert [problem.split(": ", 1)[1][:22] for problem in caught.value.problems] == ["'c' is not a section; "]


def test_external_data_travels_with_the_model_and_keeps_its_place(tmp_path: Path) -> None:
    model = write_model_with_data(tmp_path / "from/model.onnx")
    written = init_project(tmp_path / "to/deeper", model=model)
    names = ["sealift.toml", "model.onnx", "rest.bin", "weights/part.bin"]
    assert written == tuple(tmp_path / "to/deeper" / name for name in names)
    copied = tree(tmp_path / "to/deeper")
    assert copied.pop("sealift.toml") is not None
    assert copied == tree(tmp_path / "from")
    assert load_project(tmp_path / "to/deeper").models[0].path == tmp_path / "to/deeper/model.onnx"


def test_a_model_that_lies_in_the_folder_already_is_used_where_it_is(tmp_path: Path) -> None:
    model = write_model_with_data(tmp_path / "p/net/model.onnx")
    before = tree(tmp_path)
    assert init_project(tmp_path / "p", model=model) == (tmp_path / "p/sealift.toml",)
    assert load_project(tmp_path / "p").models[0].path == model
    (tmp_path / "p/sealift.toml").unlink()
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("folder_name", "expected"),
    [
        ("fraud", "fraud"),
        ("Fraud Check!", "fraud-check"),
        ("..x", "x"),
        ("检测", "service"),
        ("a" * 80, "a" * 64),
    ],
)
def test_the_name_is_made_from_the_folder(tmp_path: Path, folder_name: str, expected: str) -> None:
    init_project(tmp_path / folder_name)
    (tmp_path / folder_name / "model.onnx").write_bytes(b"")
    assert load_project(tmp_path / folder_name).name == expected


def test_the_current_folder_and_a_name_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init_project(Path(), name="my.own-1") == (Path("sealift.toml"),)
    assert 'name = "my.own-1"' in (tmp_path / "sealift.toml").read_text()


def test_an_existing_project_is_never_overwritten(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", ROWS)
    init_project(tmp_path / "p", model=model)
    before = tree(tmp_path)
    with pytest.raises(UsageError) as caught:
        init_project(tmp_path / "p", model=model, template="image")
    assert caught.value.message == f"{tmp_path}/p: no project was made"
    assert caught.value.problems == (f"{tmp_path}/p/sealift.toml is already there; it is never overwritten",)
    assert tree(tmp_path) == before


def test_a_dangling_link_counts_as_an_existing_project(tmp_path: Path) -> None:
    (tmp_path / "sealift.toml").symlink_to("elsewhere.toml")
    with pytest.raises(UsageError, match="no project was made"):
        init_project(tmp_path)
    assert not (tmp_path / "elsewhere.toml").exists()


def test_all_wrong_arguments_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        init_project(tmp_path / "p", model=tmp_path / "m.onnx", template="imgae", name="No Name")
    assert caught.value.problems == (
        'template: expected "image", "tabular" or "tensor", got "imgae"; did you mean "image"?',
        'name: expected a name of a-z, 0-9, ".", "_" and "-" (first a letter or digit, at most 64 characters), '
        'got "No Name"',
        f"{tmp_path}/p is not a folder",
        f"model: {tmp_path}/m.onnx is not there",
    )


@pytest.mark.parametrize("taken", ["model.onnx", "rest.bin", "weights/part.bin"])
def test_a_file_that_is_in_the_way_is_kept(tmp_path: Path, taken: str) -> None:
    model = write_model_with_data(tmp_path / "from/model.onnx")
    (tmp_path / "to/weights").mkdir(parents=True)
    (tmp_path / "to" / taken).write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(UsageError) as caught:
        init_project(tmp_path / "to", model=model)
    assert caught.value.problems == (f"{tmp_path}/to/{taken} is already there",)
    assert tree(tmp_path) == before


def test_a_file_that_is_no_model_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x80\x04not a model")
    before = tree(tmp_path)
    with pytest.raises(ModelError):
        init_project(tmp_path / "deep/er", model=tmp_path / "m.onnx")
    assert tree(tmp_path) == before


def test_a_model_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", ROWS).rename(tmp_path / os.fsdecode(b"m\xe9.onnx"))
    with pytest.raises(UsageError) as caught:
        init_project(tmp_path / "p", model=model)
    assert caught.value.problems == ("the name of the model file 'm\\udce9.onnx' is not UTF-8",)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
@pytest.mark.parametrize("existing", [True, False], ids=["into a folder", "into a new folder"])
def test_a_disk_that_fails_at_any_step_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, existing: bool
) -> None:
    """The n-th call fails, for every n until the command comes through."""
    model = write_model_with_data(tmp_path / "from/model.onnx")
    target = tmp_path / "new/project"
    if existing:
        target.mkdir(parents=True)
        (target / "notes.txt").write_text("mine")
    before, real, messages = tree(tmp_path), getattr(os, call), list[str]()
    for fatal in range(1, 20):
        calls = iter(range(1, 100))

        def dying(*args: Any, fatal: int = fatal, calls: Any = calls, **options: Any) -> Any:
            if next(calls) == fatal:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, dying)
            try:
                init_project(target, model=model)
            except UsageError as error:
                messages.append(error.message)
            else:
                break
        assert tree(tmp_path) == before
    assert len(messages) >= 2
    assert all("No space left on device" in message for message in messages)
    assert load_project(target).name == "project"


def test_the_project_file_appears_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that looks meanwhile sees a whole project or none."""
    real, names = os.link, []

    def noting(source: Any, target: Any, **options: Any) -> None:
        names.append(Path(target).name)
        real(source, target, **options)

    monkeypatch.setattr(os, "link", noting)
    init_project(tmp_path / "p", model=write_model_with_data(tmp_path / "from/model.onnx"))
    assert sorted(names) == ["model.onnx", "part.bin", "rest.bin", "sealift.toml"]
    assert names[-1] == "sealift.toml"


def test_a_disk_without_hard_links_is_written_by_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT, as on a USB stick."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    model = write_model_with_data(tmp_path / "from/model.onnx")
    init_project(tmp_path / "p", model=model)
    assert set(tree(tmp_path / "p")) == {
        "sealift.toml",
        "model.onnx",
        "rest.bin",
        "weights",
        "weights/part.bin",
    }
    assert load_project(tmp_path / "p").name == "p"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EEXIST])
def test_a_project_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def racing(_: Any, target: Any, **__: Any) -> None:
        Path(target).write_text("theirs")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", racing)
    with pytest.raises(UsageError, match="File exists"):
        init_project(tmp_path)
    assert tree(tmp_path) == {"sealift.toml": b"theirs"}
