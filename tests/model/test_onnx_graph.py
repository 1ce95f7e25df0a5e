"""Reading, refusing and adapting model files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sealift.errors import ModelError
from sealift.model.onnx_graph import adapt, data_files, model_size, read_signature
from sealift.model.signature import TensorSpec

Zoo = dict[str, Callable[[Path], Path]]


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


FOREIGN = {
    "empty.onnx": (b"", "is empty", "export or copy"),
    "lfs.onnx": (b"version https://git-lfs.github.com/spec/v1\noid x", "Git LFS pointer", "git lfs pull"),
    "script.pt": (
        zipped("script/code/x.py", "script/data.pkl"),
        "TorchScript",
        "torch.jit.load('script.pt')",
    ),
    "weights.pth": (zipped("archive/data.pkl"), "PyTorch checkpoint", "torch.onnx.export"),
    "program.pt2": (zipped("p/archive_format", "p/models/model.json"), "torch.export", "torch.export.load"),
    "old.pth": (b"\x80\x02}q\x00.", "Python pickle", "skl2onnx"),
    "model.keras": (zipped("model.weights.h5"), "Keras archive", "format='onnx'"),
    "model.h5": (b"\x89HDF\r\n\x1a\n0000", "HDF5", "Keras 3"),
    "model.tflite": (b"\x1c\0\0\0TFL3aaaa", "TensorFlow Lite", "tf2onnx.convert --tflite model.tflite"),
    "model.ort": (b"\x1c\0\0\0ORTMaaaa", "ORT format", ".onnx file"),
    "w.safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "safetensors", "load the weights"),
    "model.xml": (b"<?xml version='1.0'?><net/>", "OpenVINO", "ends in .xml"),
    "page.onnx": (b"<!doctype html><html>", "a web page", "download"),
    "graph.pb": (b"\x0a\x05hello\xff", "TensorFlow", "tf2onnx"),
    "zipped.onnx": (zipped("a/model.onnx"), "zip archive with an ONNX model", "unzip"),
    "cut.zip": (b"PK\x03\x04broken", "damaged zip", "again"),
    "noise.onnx": (bytes(range(7, 250)), "not a usable ONNX model", "onnx.checker"),
    "hollow.onnx": (onnx.ModelProto(ir_version=8).SerializeToString(), "no ONNX graph", "export it again"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_model_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    content, what, next_step = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_signature(path)
    assert what in caught.value.message
    assert str(path) in caught.value.message
    assert next_step in (caught.value.next_step or "")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx cannot be read: No such file"):
        read_signature(tmp_path / "none.onnx")


def test_a_folder_is_refused_and_its_models_are_named(zoo: Zoo, tmp_path: Path) -> None:
    zoo["scalars"](tmp_path)
    with pytest.raises(ModelError, match="is a folder") as caught:
        read_signature(tmp_path)
    assert caught.value.next_step == "set path to one of: net.onnx"


def test_a_saved_model_folder_is_refused_with_the_converter(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelError, match="SavedModel folder") as caught:
        read_signature(tmp_path)
    assert "tf2onnx" in (caught.value.next_step or "")


def test_a_file_above_two_gigabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelError, match="2,147,483,648 bytes") as caught:
        read_signature(path)
    assert "save_as_external_data" in (caught.value.next_step or "")


def test_a_model_cut_short_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    path = zoo["float_image"](tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        adapt(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_initialisers_listed_as_inputs_are_no_inputs(zoo: Zoo, tmp_path: Path) -> None:
    signature = read_signature(zoo["listed_initialisers"](tmp_path))
    assert [spec.name for spec in signature.inputs] == ["x"]


def test_shape_inference_names_the_axes_that_an_exporter_did_not(zoo: Zoo, tmp_path: Path) -> None:
    """The output's own junk names give way to the input axes they are proved equal to; so rows may batch."""
    signature = read_signature(zoo["dynamic_axes"](tmp_path))
    assert signature.outputs[0].shape == ("batch", "time", 4)
    assert signature.batch_axis == "batch"


def test_unnamed_axes_are_question_marks_and_never_a_batch_axis(zoo: Zoo, tmp_path: Path) -> None:
    signature = read_signature(zoo["unnamed_axis"](tmp_path))
    assert signature.inputs[0].shape == ("?", 4)
    assert signature.batch_axis is None


@pytest.mark.parametrize("name", ["no_batch_output", "stateful_gru", "scalars", "fixed_batch", "no_inputs"])
def test_there_is_no_batch_axis_unless_everything_has_it(name: str, zoo: Zoo, tmp_path: Path) -> None:
    assert read_signature(zoo[name](tmp_path)).batch_axis is None


def test_open_rank_and_scalars_are_told_apart(zoo: Zoo, tmp_path: Path) -> None:
    assert read_signature(zoo["unknown_rank"](tmp_path / "a")).outputs[0].shape is None
    assert read_signature(zoo["scalars"](tmp_path / "b")).outputs[0].shape == ()


def test_missing_output_shapes_are_inferred(zoo_module: ModuleType, tmp_path: Path) -> None:
    graph = zoo_module.model(
        [zoo_module.node("MatMul", ["x", "w"], ["y"])],
        [zoo_module.info("x", TensorProto.FLOAT, ["n", 5000])],
        [zoo_module.info("y", TensorProto.FLOAT, None)],
        [zoo_module.weights("w", 5000, 2)],
    )
    signature = read_signature(zoo_module.save(graph, tmp_path))
    assert signature.outputs[0].shape == ("n", 2)
    assert signature.batch_axis == "n"


def test_failing_shape_inference_is_not_fatal(zoo_module: ModuleType, tmp_path: Path) -> None:
    """A node of an unknown domain stops inference; the signature stays as the graph states it."""
    graph = zoo_module.model(
        [zoo_module.node("Mystery", ["x"], ["y"], domain="acme")],
        [zoo_module.info("x", TensorProto.FLOAT, ["n", 2])],
        [zoo_module.info("y", TensorProto.FLOAT, ["m"])],
    )
    assert read_signature(zoo_module.save(graph, tmp_path)).outputs[0].shape == ("m",)


def test_probabilities_are_found_behind_casts_and_reshapes(zoo_module: ModuleType, tmp_path: Path) -> None:
    node = zoo_module.node
    graph = zoo_module.model(
        [
            node("Softmax", ["x"], ["s"]),
            node("Cast", ["s"], ["p"], to=TensorProto.DOUBLE),
            node("Sigmoid", ["x"], ["g"]),
            node("Sub", ["one", "g"], ["rest"]),
            node("Concat", ["rest", "g"], ["both"], axis=1),
            node("Sub", ["g", "s"], ["difference"]),
            node("LogSoftmax", ["x"], ["logs"]),
        ],
        [zoo_module.info("x", TensorProto.FLOAT, ["n", 2])],
        [
            zoo_module.info("p", TensorProto.DOUBLE, ["n", 2]),
            zoo_module.info("both", TensorProto.FLOAT, ["n", 4]),
            zoo_module.info("difference", TensorProto.FLOAT, ["n", 2]),
            zoo_module.info("logs", TensorProto.FLOAT, ["n", 2]),
        ],
        [numpy_helper.from_array(np.ones((), np.float32), "one")],
    )
    assert read_signature(zoo_module.save(graph, tmp_path)).probabilities == ("p", "both")


def test_the_words_of_a_string_input_are_read_from_its_encoders(zoo: Zoo, tmp_path: Path) -> None:
    text, word = read_signature(zoo["string_inputs"](tmp_path)).inputs
    assert (text.words, word.words) == ((), ("a", "b", "red"))


def test_an_unchanged_model_is_copied_byte_for_byte(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["several_outputs"](tmp_path / "in")
    adapted = adapt(source, tmp_path / "out")
    assert adapted.notes == ()
    assert adapted.path == tmp_path / "out" / "model.onnx"
    assert adapted.path.read_bytes() == source.read_bytes()


def test_zipmap_leaves_a_tensor_with_the_models_labels(zoo_module: ModuleType, tmp_path: Path) -> None:
    """A hand-made ZipMap: names kept, labels kept, the label output untouched, a sentence says so."""
    adapted = adapt(zipmap_model(zoo_module, tmp_path), tmp_path / "out")
    expected = TensorSpec(name="p", datatype="FP32", shape=("n", 2), labels=("good", "fraud"))
    assert adapted.signature.outputs == (expected,)
    assert adapted.signature.batch_axis == "n"
    assert adapted.signature.probabilities == ("p",)
    assert adapted.notes == (
        "Output 'p' was a list of dictionaries (ZipMap); it is now a tensor [n, 2] with the columns good, fraud.",
    )


def zipmap_model(zoo_module: ModuleType, folder: Path) -> Path:
    node = zoo_module.node
    graph = zoo_module.model(
        [
            node("Softmax", ["x"], ["s"]),
            node("ZipMap", ["s"], ["p"], domain="ai.onnx.ml", classlabels_strings=["good", "fraud"]),
        ],
        [zoo_module.info("x", TensorProto.FLOAT, ["n", 2])],
        [zoo_module.info("p", TensorProto.FLOAT, None)],
    )
    kind = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    )
    graph.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kind))
    path: Path = zoo_module.save(graph, folder)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("boosting_int_classes", ("0", "1", "2")),
        ("boosting_string_classes", ("setosa", "versicolor", "virginica")),
    ],
)
def test_default_boosting_exports_keep_names_labels_and_values(
    name: str, labels: tuple[str, ...], zoo: Zoo, zoo_module: ModuleType, tmp_path: Path
) -> None:
    """The tensor holds what the list of dictionaries held, column by column."""
    source = zoo[name](tmp_path / "in")
    adapted = adapt(source, tmp_path / "out")
    label, probability = adapted.signature.outputs
    assert (label.name, probability.name) == ("output_label", "output_probability")
    assert (label.shape, probability.shape) == (("rows",), ("rows", 3))
    assert probability.labels == labels
    assert adapted.signature.probabilities == ("output_probability",)
    assert adapted.signature.batch_axis == "rows"
    features = zoo_module.iris()[0]
    was = onnxruntime.InferenceSession(str(source)).run(None, {"X": features})
    now = onnxruntime.InferenceSession(str(adapted.path)).run(None, {"X": features})
    assert was[0].tolist() == now[0].tolist()
    assert [[row[key] for key in row] for row in was[1]] == now[1].tolist()
    assert [str(key) for key in was[1][0]] == list(labels)


@pytest.mark.slow
def test_which_sklearn_outputs_are_probabilities(zoo_module: ModuleType, tmp_path: Path) -> None:
    """predict_proba behind a ZipMap is; the raw scores of SVC and LinearSVC are not."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    features, classes = zoo_module.iris()
    expected = {
        RandomForestClassifier(n_estimators=2, random_state=0): True,
        make_pipeline(StandardScaler(), LogisticRegression()): True,
        GaussianNB(): True,
        KNeighborsClassifier(): True,
        SVC(): False,
        LinearSVC(random_state=0): False,
    }
    for position, (estimator, made) in enumerate(expected.items()):
        path = tmp_path / f"{position}.onnx"
        path.write_bytes(zoo_module.to_onnx(estimator.fit(features, classes), features[:1]))
        signature = adapt(path, tmp_path / str(position)).signature
        scores = signature.outputs[1]
        assert scores.labels == ("0", "1", "2")
        assert (signature.probabilities == (scores.name,)) is made, estimator


@pytest.mark.slow
def test_labels_are_found_without_a_zipmap(zoo_module: ModuleType, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    features, classes = zoo_module.iris()
    estimator = LogisticRegression(max_iter=500).fit(features, zoo_module.SPECIES[classes])
    path = tmp_path / "m.onnx"
    path.write_bytes(zoo_module.to_onnx(estimator, features[:1], options={"zipmap": False}))
    signature = read_signature(path)
    assert signature.outputs[0].labels == ()
    assert signature.outputs[1].labels == ("setosa", "versicolor", "virginica")
    assert signature.probabilities == (signature.outputs[1].name,)


def test_bfloat16_edges_become_float32_and_compute_the_same(zoo: Zoo, tmp_path: Path) -> None:
    adapted = adapt(zoo["bf16_edge"](tmp_path / "in"), tmp_path / "out")
    assert [spec.datatype for spec in (*adapted.signature.inputs, *adapted.signature.outputs)] == [
        "BOOL", "FP32", "FP32",
    ]  # fmt: skip
    assert adapted.notes == (
        "Input 'x' of type BFLOAT16 is now FP32, cast inside the model.",
        "Output 'y' of type BFLOAT16 is now FP32, cast inside the model.",
    )
    session = onnxruntime.InferenceSession(str(adapted.path))
    x = np.array([[1.5, 3.140625]], np.float32)
    assert session.run(None, {"x": x, "plus": np.array(True)})[0].tolist() == x.tolist()
    assert session.run(None, {"x": x, "plus": np.array(False)})[0].tolist() == (-x).tolist()


def test_four_bit_edges_become_bytes(zoo: Zoo, tmp_path: Path) -> None:
    adapted = adapt(zoo["int4_edge"](tmp_path / "in"), tmp_path / "out")
    session = onnxruntime.InferenceSession(str(adapted.path))
    found = session.run(None, {"x": np.array([[-8, -1, 0, 7]], np.int8)})[0]
    assert (found.dtype, found.tolist()) == (np.uint8, [[8, 1, 0, 7]])


def test_an_exotic_constant_output_and_a_taken_name_are_cast_too(
    zoo_module: ModuleType, tmp_path: Path
) -> None:
    """The output is an initialiser, and the name for the hidden tensor is in use."""
    half = TensorProto(name="y", data_type=TensorProto.BFLOAT16, dims=[1], raw_data=b"\x80\x3f")
    graph = zoo_module.model(
        [zoo_module.node("Identity", ["x"], ["y__inner"]), zoo_module.node("Abs", ["y__inner"], ["z"])],
        [zoo_module.info("x", TensorProto.FLOAT, [1])],
        [zoo_module.info("y", TensorProto.BFLOAT16, [1]), zoo_module.info("z", TensorProto.FLOAT, [1])],
        [half],
    )
    adapted = adapt(zoo_module.save(graph, tmp_path / "in"), tmp_path / "out")
    session = onnxruntime.InferenceSession(str(adapted.path))
    found = session.run(None, {"x": np.array([-2.0], np.float32)})
    assert [array.tolist() for array in found] == [[1.0], [2.0]]


def test_a_type_that_the_engine_cannot_cast_is_refused(zoo_module: ModuleType, tmp_path: Path) -> None:
    graph = zoo_module.model(
        [zoo_module.node("Identity", ["x"], ["y"])],
        [zoo_module.info("x", TensorProto.FLOAT4E2M1, ["n"])],
        [zoo_module.info("y", TensorProto.FLOAT4E2M1, ["n"])],
        opset=23,
        ir_version=11,
    )
    with pytest.raises(ModelError) as caught:
        adapt(zoo_module.save(graph, tmp_path), tmp_path / "out")
    assert "tensor(float4e2m1)" in caught.value.problems[0]
    assert f"onnxruntime {onnxruntime.__version__} cannot convert it" in caught.value.problems[0]
    assert not (tmp_path / "out").exists()


def test_every_edge_that_no_protocol_carries_is_named_at_once(zoo_module: ModuleType, tmp_path: Path) -> None:
    info = zoo_module.info
    graph = zoo_module.model(
        [zoo_module.node("Identity", ["c"], ["d"])],
        [info("c", TensorProto.COMPLEX64, ["n"]), info("o", TensorProto.FLOAT, ["n"])],
        [info("d", TensorProto.COMPLEX128, ["n"]), info("s", TensorProto.FLOAT, ["n"])],
    )
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    graph.graph.input[1].type.CopyFrom(helper.make_optional_type_proto(tensor))
    graph.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(tensor))
    with pytest.raises(ModelError, match="no release can carry") as caught:
        read_signature(zoo_module.save(graph, tmp_path))
    assert caught.value.problems == (
        "input 'c': of type tensor(complex64), which no protocol datatype carries; "
        "give real and imaginary part as two tensors in the model",
        "input 'o': of type optional(tensor(float)), which no tensor protocol carries; "
        "make the value mandatory, or export a variant of the model without it",
        "output 'd': of type tensor(complex128), which no protocol datatype carries; "
        "give real and imaginary part as two tensors in the model",
        "output 's': of type seq(tensor(float)), which no tensor protocol carries; "
        "return the tensors one by one, or stack them inside the model",
    )


def test_two_inputs_of_one_name_are_refused(zoo_module: ModuleType, tmp_path: Path) -> None:
    graph = zoo_module.model(
        [zoo_module.node("Relu", ["x"], ["y"])],
        [zoo_module.info("x", TensorProto.FLOAT, [1]), zoo_module.info("x", TensorProto.FLOAT, [1])],
        [zoo_module.info("y", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(ModelError, match="inputs are not distinctly named"):
        read_signature(zoo_module.save(graph, tmp_path))


def test_a_model_is_not_adapted_over_itself(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["bf16_edge"](tmp_path)
    before = source.read_bytes()
    with pytest.raises(ModelError, match="choose another folder"):
        adapt(source, tmp_path)
    assert source.read_bytes() == before


# External data


def test_external_data_travels_and_counts(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["external_data"](tmp_path / "in")
    files = data_files(source)
    assert [file.relative_to(source.parent).as_posix() for file in files] == ["net.onnx.data", "parts/v.bin"]
    assert model_size(source) == sum(file.stat().st_size for file in (source, *files))
    adapted = adapt(source, tmp_path / "out")
    assert [file.read_bytes() for file in adapted.files[1:]] == [file.read_bytes() for file in files]
    assert adapted.files[2] == tmp_path / "out" / "parts" / "v.bin"


def test_a_signature_needs_no_external_data(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["external_data"](tmp_path)
    for file in data_files(source):
        file.unlink()
    assert read_signature(source).outputs[0].shape == ("batch", 2)


def relocated(zoo: Zoo, folder: Path, **entries: str) -> Path:
    """The external model with entries of its first tensor replaced; `key=""` removes one."""
    source = zoo["external_data"](folder)
    model = onnx.load(source, load_external_data=False)
    kept = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
    model.graph.initializer[0].ClearField("external_data")
    for key, value in {**kept, **entries}.items():
        if value:
            model.graph.initializer[0].external_data.add(key=key, value=value)
    source.write_bytes(model.SerializeToString())
    return source


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"location": "/etc/passwd"}, "expected a path relative to the model's folder"),
        ({"location": "../outside.bin"}, "leaves the model's folder"),
        ({"location": "parts/../../outside.bin"}, "leaves the model's folder"),
        ({"location": "C:\\weights.bin"}, "expected a path relative to the model's folder"),
        ({"location": ""}, "external data without a location"),
        ({"location": "."}, "external data without a location"),
        ({"location": "none.bin"}, "none.bin: missing beside the model"),
        ({"location": "parts"}, "parts: not a regular file"),
        ({"offset": "100000"}, "net.onnx.data: 192 bytes, the model needs 100,128"),
        ({"offset": "100000", "length": ""}, "net.onnx.data: 192 bytes, the model needs 100,128"),
        ({"offset": "-5"}, "must not be negative"),
        ({"offset": "five"}, "must be whole numbers"),
        ({"length": "12"}, "external data of 12 bytes, its shape [4, 8] needs 128"),
    ],
)
def test_external_data_that_cannot_travel_is_refused(
    entries: dict[str, str], problem: str, zoo: Zoo, tmp_path: Path
) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(1000))
    source = relocated(zoo, tmp_path / "in", **entries)
    with pytest.raises(ModelError, match="external data cannot be taken along") as caught:
        adapt(source, tmp_path / "out")
    assert problem in "\n".join(caught.value.problems)
    assert not (tmp_path / "out").exists()


def test_a_symbolic_link_out_of_the_folder_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["external_data"](tmp_path / "in")
    outside = tmp_path / "blob"
    (tmp_path / "in" / "net.onnx.data").rename(outside)
    (tmp_path / "in" / "net.onnx.data").symlink_to(outside)
    with pytest.raises(ModelError) as caught:
        data_files(source)
    assert "a symbolic link leads out of the model's folder" in caught.value.problems[0]
    assert "cp -rL" in (caught.value.next_step or "")


def test_a_symbolic_link_inside_the_folder_is_followed(zoo: Zoo, tmp_path: Path) -> None:
    source = zoo["external_data"](tmp_path / "in")
    (tmp_path / "in" / "net.onnx.data").rename(tmp_path / "in" / "blob")
    (tmp_path / "in" / "net.onnx.data").symlink_to("blob")
    adapted = adapt(source, tmp_path / "out")
    assert not adapted.files[1].is_symlink()


def test_weights_in_a_file_called_like_the_graph_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    source = relocated(zoo, tmp_path / "in", location="model.onnx")
    (tmp_path / "in" / "net.onnx.data").rename(tmp_path / "in" / "model.onnx")
    with pytest.raises(ModelError, match=r"keeps its weights in a file called model\.onnx"):
        adapt(source, tmp_path / "out")


def test_external_data_hides_nowhere(zoo_module: ModuleType, tmp_path: Path) -> None:
    """Subgraphs, functions, attributes and sparse initialisers are all walked."""

    def escaping(name: str) -> TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"../{name}")
        return tensor

    node, info = zoo_module.node, zoo_module.info
    branch = helper.make_graph(
        [node("Identity", ["sub"], ["z"])], "b", [], [info("z", TensorProto.FLOAT, [1])], [escaping("sub")]
    )
    graph = zoo_module.model(
        [
            node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch),
            node("Constant", [], ["k"], value=escaping("attribute")),
        ],
        [info("flag", TensorProto.BOOL, [])],
        [info("y", TensorProto.FLOAT, [1])],
    )
    sparse = graph.graph.sparse_initializer.add(dims=[1])
    sparse.values.CopyFrom(escaping("sparse"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "i"))
    inside = [node("Constant", [], ["o"], value=escaping("function"))]
    graph.functions.append(
        helper.make_function("acme", "F", [], ["o"], inside, [helper.make_opsetid("", 17)])
    )
    with pytest.raises(ModelError) as caught:
        data_files(zoo_module.save(graph, tmp_path))
    text = "\n".join(caught.value.problems)
    assert all(f"'../{name}'" in text for name in ("sub", "attribute", "sparse", "function"))
