"""Data as people keep it -> items; what cannot be read is told at once, by name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealift.errors import InvalidInput, ProjectError
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    Input,
    NumericColumn,
    Output,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
)
from sealift.model.signature import Signature, TensorSpec
from sealift.optimize.data.dataset import Dataset, Item, evenly, read_dataset
from sealift.optimize.data.item import FileSource
from sealift.optimize.data.npz import prepared_tensors
from sealift.project.project import ModelEntry

TABLE = TabularInput(
    columns=(
        NumericColumn(name="amount", missing=0.0),
        CategoricalColumn(name="zip", vocabulary=("01234", "99999")),
    )
)
ANIMALS = ClassesOutput(labels=("tabby", "tiger cat", "lynx"))
NPZ = {
    "x": np.arange(12, dtype=np.float32).reshape(4, 3),
    "label": np.array(["yes", "no", "yes", "no"]),
}


def entry(
    given: Input | None = None, output: Output | None = None, name: str = "m", **more: Any
) -> ModelEntry:
    return ModelEntry(
        name=name,
        path=Path("m.onnx"),
        input=given or TensorInput(),
        output=output or TensorOutput(),
        **more,
    )


def write(folder: Path, **files: str | bytes) -> Path:
    """`a__b_jpg` is the file `a/b.jpg`."""
    for name, content in files.items():
        parts = name.replace("__", "/").rpartition("_")
        path = folder / f"{parts[0]}.{parts[2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def named(data: Dataset) -> list[tuple[str, object]]:
    return [(item.name, item.label) for item in data.items]


def test_a_folder_a_label_is_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    write(tmp_path, lynx__b_jpg=b"2", lynx__a_jpg=b"1")
    write(tmp_path / "tiger cat", x_json='{"inputs": [1]}')
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "c").write_bytes(b"3")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "lynx" / ".hidden").touch()
    data = read_dataset(tmp_path, entry(output=ANIMALS))
    expected = [
        ("1/c", "1"),
        ("lynx/a.jpg", "lynx"),
        ("lynx/b.jpg", "lynx"),
        ("tiger cat/x.json", "tiger cat"),
    ]
    assert named(data) == expected
    assert [item.payload() for item in data.items] == [b"3", b"1", b"2", {"inputs": [1]}]


def test_files_can_be_listed_or_have_no_labels(tmp_path: Path) -> None:
    write(tmp_path, b_raw=b"2", a_raw=b"1")
    assert named(read_dataset(tmp_path, entry())) == [("a.raw", None), ("b.raw", None)]
    write(tmp_path, labels_csv="file,label\nb.raw,lynx\na.raw,0\n")
    assert named(read_dataset(tmp_path, entry(output=ANIMALS))) == [("b.raw", "lynx"), ("a.raw", "0")]


def test_a_row_of_a_table_is_an_object_of_named_fields(tmp_path: Path) -> None:
    text = '\ufeffid;amount;zip;risk\n1;12.5;01234;good\n2;;"99\n999";bad\n\n3;-3;99999;good\n'
    path = write(tmp_path, cases_csv=text) / "cases.csv"
    data = read_dataset(path, entry(TABLE, ScoresOutput(positive="bad")), "risk")
    assert named(data) == [("cases.csv:1", "good"), ("cases.csv:2", "bad"), ("cases.csv:4", "good")]
    assert [item.payload() for item in reversed(data.items)] == [
        {"id": 3, "amount": -3, "zip": "99999"},
        {"id": 2, "zip": "99\n999"},
        {"id": 1, "amount": 12.5, "zip": "01234"},
    ]


def test_a_line_of_json_is_an_object_without_its_label(tmp_path: Path) -> None:
    lines = '{"text": "a", "label": 1}\n\n{"label": [1, 2], "text": "b"}\n'
    data = read_dataset(write(tmp_path, cases_jsonl=lines), entry())  # the only file of a folder is enough
    assert named(data) == [("cases.jsonl:1", 1), ("cases.jsonl:3", [1, 2])]
    assert [item.payload() for item in data.items] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_row_by_row_in_any_order(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "cases.npz", **NPZ)
    data = read_dataset(tmp_path / "cases.npz", entry())
    assert [label for _, label in named(data)] == ["yes", "no", "yes", "no"]
    for number in (2, 0, 3, 1, 1):
        assert data.items[number].payload() == {"inputs": {"x": NPZ["x"][number].tolist()}}


def test_arrays_become_tensors_of_the_models_own_type_and_rank() -> None:
    signature = Signature(
        inputs=(
            TensorSpec(name="x", datatype="FP32", shape=("batch", 3)),
            TensorSpec(name="word", datatype="BYTES", shape=("batch",)),
        ),
        outputs=(),
    )
    prepared = prepared_tensors(signature, {"x": np.arange(3.0), "word": np.array("ja")})
    assert {name: (array.dtype.kind, array.shape) for name, array in prepared.inputs.items()} == {
        "x": ("f", (1, 3)),
        "word": ("O", (1,)),
    }
    assert prepared.added_axes == {"batch"}
    for wrong, text in (
        ({"x": np.arange(3.0)}, "the file has arrays x, the model takes word, x"),
        ({"x": np.array("a"), "word": np.array("b")}, "x: <U1 does not go into FP32[batch, 3]"),
        ({"x": np.arange(4.0), "word": np.array("b")}, "x: expected shape [batch, 3], got [1, 4]"),
    ):
        with pytest.raises(InvalidInput) as failure:
            prepared_tensors(signature, wrong)
        assert failure.value.message == text


def test_each_of_several_models_has_data_of_its_own_name_or_none(tmp_path: Path) -> None:
    write(tmp_path, one__a_raw=b"1", two_jsonl='{"x": 1}\n')
    found = [read_dataset(tmp_path, entry(name=name), several=True) for name in ("one", "two", "three")]
    assert [named(data) for data in found] == [[("a.raw", None)], [("two.jsonl:1", None)], []]


def test_the_digest_follows_names_labels_and_bytes(tmp_path: Path) -> None:
    write(tmp_path, x__a_raw=b"1", y__b_raw=b"2")
    before = read_dataset(tmp_path, entry()).digest()
    assert read_dataset(tmp_path, entry()).digest() == before
    write(tmp_path, y__b_raw=b"3")
    changed = read_dataset(tmp_path, entry()).digest()
    (tmp_path / "y").rename(tmp_path / "z")
    assert len({before, changed, read_dataset(tmp_path, entry()).digest()}) == 3


def test_items_are_spread_over_the_whole_and_over_the_labels() -> None:
    def made(count: int, label: Callable[[int], object]) -> list[Item]:
        return [Item(str(number), label(number), FileSource(Path("x"))) for number in range(count)]

    bare = made(100, lambda number: None)
    assert [int(item.name) for item in evenly(bare, 4)] == [12, 37, 62, 87]
    assert evenly(bare, 200) == tuple(bare)
    rare = evenly(made(100, lambda number: "rare" if number % 10 == 0 else "common"), 20)
    assert sum(item.label == "rare" for item in rare) == 2
    assert [int(item.name) for item in rare] == sorted(int(item.name) for item in rare)
    assert evenly(bare, 0) == ()


def ragged(folder: Path) -> None:
    np.savez(folder / "m.npz", x=np.zeros((3, 2)), label=np.zeros(4))


def pickled(folder: Path) -> None:
    np.savez(folder / "m.npz", x=np.array([{"a": 1}], dtype=object), y=np.float32(3))


def fortran(folder: Path) -> None:
    np.savez(folder / "m.npz", x=np.asfortranarray(np.zeros((3, 2))))


def truncated(folder: Path) -> None:
    np.savez(folder / "m.npz", x=np.zeros((3, 2)))
    (folder / "m.npz").write_bytes((folder / "m.npz").read_bytes()[:-30])


BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "an unknown label": (
        lambda folder: write(folder, lynx__a_raw=b"", tigercat__a_raw=b"", x7__a_raw=b""),
        ["label 'tigercat'", "did you mean 'tiger cat'?", "label 'x7'", "a class number below 3"],
    ),
    "files beside label folders": (
        lambda folder: write(folder, lynx__a_raw=b"", lynx__deep__b_raw=b"", loose_raw=b""),
        ["loose.raw: a file beside folders of labels", "lynx/deep: a folder inside the folder of a label"],
    ),
    "a list that does not fit": (
        lambda folder: write(
            folder, a_raw=b"", labels_csv="file,label\nb.raw,0\n../x,0\na.raw,\na.raw,1\na.raw,1\n"
        ),
        [
            "b.raw: named in labels.csv, and not there",
            "row 2: ../x lies outside the folder",
            "row 3: expected file and label",
            "a.raw: stands twice",
        ],
    ),
    "nothing": (lambda folder: write(folder, x_txt=b"").joinpath("x.txt").unlink(), ["holds no items"]),
    "arrays of different length": (ragged, ["the first axes differ: x 3, label 4"]),
    "a pickle": (pickled, ["x holds Python objects, which are not read (pickle)", "y is a single value"]),
    "columns first": (fortran, ["x lies in Fortran order; save np.ascontiguousarray of it"]),
    "half a file": (truncated, ["m.npz is not an .npz file"]),
    "lines that are no objects": (
        lambda folder: write(folder, m_jsonl='{"x": 1, "label": 1}\n[1]\nnull{\n{"x": 2}\n'),
        ["line 2: expected a JSON object", "line 3: expected a JSON object", "m.jsonl:4: no 'label'"],
    ),
    "no text": (lambda folder: write(folder, m_csv=b"a,b\n\xff\xfe,1\n"), ["m.csv is not CSV in UTF-8"]),
    "a column twice": (
        lambda folder: write(folder, m_csv="a,a\n1,2\n"),
        ["a stands twice in its first line"],
    ),
    "another kind of file": (
        lambda folder: write(folder, m_csv=b"").joinpath("m.csv").unlink(),
        ["holds no"],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_data_is_told_in_full_and_left_alone(what: str, tmp_path: Path) -> None:
    spoil, expected = BAD[what]
    spoil(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ProjectError) as failure:
        read_dataset(tmp_path, entry(output=ANIMALS))
    told = "\n".join([failure.value.message, *failure.value.problems])
    for text in expected:
        assert text in told
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount,zpi,label\n", ["no column 'zip'; did you mean 'zpi'?"]),
        ("amount,zip,risk\n", ["no column 'label' for the labels; risk are no fields of the model"]),
        (
            "amount,zip,label\n1,01234\n1,01234,\n",
            ["row 1: 2 cells, the header has 3", "row 2: label is empty"],
        ),
        ("amount,zip,label\n1,01234,good\n1,01234,fine\n1,01234,bad\n", ["label 'fine'", "label 'good'"]),
    ],
)
def test_a_table_that_does_not_fit_its_declaration_is_refused(
    text: str, expected: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path, cases_csv=text) / "cases.csv"
    with pytest.raises(ProjectError) as failure:
        read_dataset(path, entry(TABLE, ScoresOutput(positive="bad")))
    for part in expected:
        assert part in "\n".join(failure.value.problems)


def test_a_table_without_labels_is_calibration_data(tmp_path: Path) -> None:
    path = write(tmp_path, cases_csv="amount,zip\n1,01234\n") / "cases.csv"
    assert named(read_dataset(path, entry(TABLE, ScoresOutput(positive="bad")))) == [("cases.csv:1", None)]


def test_two_places_for_one_model_and_a_path_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path, m__a_raw=b"", m_csv="x\n1\n", other_txt="")
    with pytest.raises(ProjectError, match=r"holds m and m\.csv, expected one of them"):
        read_dataset(tmp_path, entry(), several=True)
    with pytest.raises(ProjectError, match=r"other\.txt: expected a folder, or a file that ends in \.csv"):
        read_dataset(tmp_path / "other.txt", entry())
    with pytest.raises(ProjectError, match="No such file"):
        read_dataset(tmp_path / "none", entry())


def test_a_file_that_is_damaged_later_is_told_and_not_thrown(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 2)))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue()[:-8])
    path = write(tmp_path, rows_jsonl=json.dumps({"x": 1}) + "\n") / "rows.jsonl"
    lines, arrays = read_dataset(path, entry()), read_dataset(tmp_path / "x.npz", entry())
    path.write_text("{")
    with pytest.raises(Exception, match=r"rows\.jsonl changed while it was read"):
        lines.items[0].payload()
    with pytest.raises(Exception, match=r"x\.npz: x is damaged"):
        arrays.items[1].payload()
    path.unlink()
    with pytest.raises(ProjectError, match="No such file"):
        lines.digest()
