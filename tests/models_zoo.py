"""ONNX models that nobody prepared for sealift, each written into a folder by a small builder.

Loaded by `tests/conftest.py` as the fixture `zoo: dict[str, Callable[[Path], Path]]`: name -> builder, which
takes a folder and returns the model file in it. Small on purpose: each is about one thing that real
exporters do. `SLOW` names those that train a scikit-learn estimator first.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sealift.model.engine_limits import limits_of

Builder = Callable[[Path], Path]
ML = "ai.onnx.ml"


def info(name: str, element: int, shape: Sequence[int | str | None] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def weights(name: str, *shape: int, seed: int = 7) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "zoo", list(inputs), list(outputs), initializer=list(constants))
    domains = [helper.make_opsetid("", opset)]
    if any(node.domain == ML for node in nodes):
        domains.append(helper.make_opsetid(ML, 3))
    return helper.make_model(graph, opset_imports=domains, ir_version=ir_version)


def save(proto: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def mixed_inputs(folder: Path) -> Path:
    """int64, float32 and bool together; y = where(flag, x * n, x)."""
    return save(
        model(
            [
                node("Cast", ["n"], ["nf"], to=TensorProto.FLOAT),
                node("Mul", ["x", "nf"], ["xn"]),
                node("Where", ["flag", "xn", "x"], ["y"]),
            ],
            [
                info("n", TensorProto.INT64, ["batch", 3]),
                info("x", TensorProto.FLOAT, ["batch", 3]),
                info("flag", TensorProto.BOOL, ["batch", 3]),
            ],
            [info("y", TensorProto.FLOAT, ["batch", 3])],
        ),
        folder,
    )


def dynamic_axes(folder: Path) -> Path:
    """Two symbolic axes that both inputs share; the output's own axis names are the exporter's junk."""
    return save(
        model(
            [node("Add", ["a", "b"], ["sum"]), node("Relu", ["sum"], ["y"])],
            [
                info("a", TensorProto.FLOAT, ["batch", "time", 4]),
                info("b", TensorProto.FLOAT, ["batch", "time", 4]),
            ],
            [info("y", TensorProto.FLOAT, ["Relu_y_dim_0", "Relu_y_dim_1", 4])],
        ),
        folder,
    )


def scalars(folder: Path) -> Path:
    """Scalar in, scalar out."""
    return save(
        model(
            [node("Mul", ["x", "x"], ["y"])],
            [info("x", TensorProto.FLOAT, [])],
            [info("y", TensorProto.FLOAT, [])],
        ),
        folder,
    )


def several_outputs(folder: Path) -> Path:
    """Values, their class as int64 and a probability; three datatypes out."""
    return save(
        model(
            [
                node("MatMul", ["x", "w"], ["logits"]),
                node("ArgMax", ["logits"], ["winner"], axis=1, keepdims=0),
                node("Softmax", ["logits"], ["chances"], axis=-1),
                node("Greater", ["logits", "zero"], ["positive"]),
            ],
            [info("x", TensorProto.FLOAT, ["batch", 5])],
            [
                info("logits", TensorProto.FLOAT, ["batch", 3]),
                info("winner", TensorProto.INT64, ["batch"]),
                info("chances", TensorProto.FLOAT, ["batch", 3]),
                info("positive", TensorProto.BOOL, ["batch", 3]),
            ],
            [weights("w", 5, 3), numpy_helper.from_array(np.zeros((), np.float32), "zero")],
        ),
        folder,
    )


def no_batch_output(folder: Path) -> Path:
    """Per-row values and one mean over all rows, which no batch may share."""
    return save(
        model(
            [node("Relu", ["x"], ["rows"]), node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=0)],
            [info("x", TensorProto.FLOAT, ["batch", 4])],
            [info("rows", TensorProto.FLOAT, ["batch", 4]), info("mean", TensorProto.FLOAT, [4])],
        ),
        folder,
    )


def stateful_gru(folder: Path) -> Path:
    """A GRU that takes its state and gives the next one; sequence-first, as ONNX has it."""
    return save(
        model(
            [node("GRU", ["x", "w", "r", "", "", "h"], ["y", "next_h"], hidden_size=6)],
            [
                info("x", TensorProto.FLOAT, ["time", "batch", 3]),
                info("h", TensorProto.FLOAT, [1, "batch", 6]),
            ],
            [
                info("y", TensorProto.FLOAT, ["time", 1, "batch", 6]),
                info("next_h", TensorProto.FLOAT, [1, "batch", 6]),
            ],
            [weights("w", 1, 18, 3), weights("r", 1, 18, 6, seed=8)],
        ),
        folder,
    )


def string_inputs(folder: Path) -> Path:
    """Strings upper-cased, and a word turned into its number.

    `locale="C"`: the default en_US.UTF-8 does not load where that locale is not installed.
    """
    return save(
        model(
            [
                node("StringNormalizer", ["text"], ["upper"], case_change_action="UPPER", locale="C"),
                node(
                    "LabelEncoder",
                    ["word"],
                    ["number"],
                    domain=ML,
                    keys_strings=["a", "b", "red"],
                    values_int64s=[10, 20, 30],
                    default_int64=-1,
                ),
            ],
            [info("text", TensorProto.STRING, ["words"]), info("word", TensorProto.STRING, ["batch", 1])],
            [info("upper", TensorProto.STRING, ["words"]), info("number", TensorProto.INT64, ["batch", 1])],
        ),
        folder,
    )


def external_data(folder: Path) -> Path:
    """Two weights in files beside the model, one in a sub-folder, one behind an offset."""
    first, second = weights("w", 4, 8), weights("v", 8, 2, seed=9)
    proto = model(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["a"]), node("MatMul", ["a", "v"], ["y"])],
        [info("x", TensorProto.FLOAT, ["batch", 4])],
        [info("y", TensorProto.FLOAT, ["batch", 2])],
        [first, second],
    )
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    outside(proto.graph.initializer[0], folder, "net.onnx.data", padding=64)
    outside(proto.graph.initializer[1], folder, "parts/v.bin")
    return save(proto, folder)


def outside(tensor: TensorProto, folder: Path, location: str, padding: int = 0) -> None:
    """Move a tensor's bytes into a file, after `padding` zero bytes."""
    data = tensor.raw_data
    (folder / location).write_bytes(b"\0" * padding + data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", padding), ("length", len(data))):
        tensor.external_data.add(key=key, value=str(value))


def bf16_edge(folder: Path) -> Path:
    """bfloat16 in and out, float inside; the input is also used in a subgraph."""
    inner = helper.make_graph(
        [node("Cast", ["x"], ["inner_x"], to=TensorProto.FLOAT)],
        "then",
        [],
        [info("inner_x", TensorProto.FLOAT, ["batch", 2])],
    )
    other = helper.make_graph(
        [node("Cast", ["x"], ["other_x"], to=TensorProto.FLOAT), node("Neg", ["other_x"], ["minus"])],
        "else",
        [],
        [info("minus", TensorProto.FLOAT, ["batch", 2])],
    )
    return save(
        model(
            [
                node("If", ["plus"], ["chosen"], then_branch=inner, else_branch=other),
                node("Cast", ["chosen"], ["y"], to=TensorProto.BFLOAT16),
            ],
            [info("plus", TensorProto.BOOL, []), info("x", TensorProto.BFLOAT16, ["batch", 2])],
            [info("y", TensorProto.BFLOAT16, ["batch", 2])],
        ),
        folder,
    )


def int4_edge(folder: Path) -> Path:
    """int4 in, uint4 out."""
    return save(
        model(
            [
                node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
                node("Abs", ["f"], ["a"]),
                node("Cast", ["a"], ["y"], to=TensorProto.UINT4),
            ],
            [info("x", TensorProto.INT4, ["batch", 4])],
            [info("y", TensorProto.UINT4, ["batch", 4])],
            opset=21,
            ir_version=10,
        ),
        folder,
    )


def uint8_image(folder: Path) -> Path:
    """A photo as bytes in, 4 logits out: normalises inside the graph."""
    return save(
        model(
            [
                node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
                node("Div", ["f", "scale"], ["s"]),
                node("Transpose", ["s"], ["chw"], perm=[0, 3, 1, 2]),
                node("GlobalAveragePool", ["chw"], ["pool"]),
                node("Flatten", ["pool"], ["flat"]),
                node("MatMul", ["flat", "w"], ["logits"]),
            ],
            [info("image", TensorProto.UINT8, ["batch", 16, 16, 3])],
            [info("logits", TensorProto.FLOAT, ["batch", 4])],
            [numpy_helper.from_array(np.array(255.0, np.float32), "scale"), weights("w", 3, 4)],
        ),
        folder,
    )


def float_image(folder: Path) -> Path:
    """The classic photo classifier, NCHW float32, ends in a softmax."""
    return save(
        model(
            [
                node("Conv", ["image", "k"], ["c"], strides=[2, 2]),
                node("Relu", ["c"], ["r"]),
                node("GlobalAveragePool", ["r"], ["pool"]),
                node("Flatten", ["pool"], ["flat"]),
                node("MatMul", ["flat", "w"], ["logits"]),
                node("Softmax", ["logits"], ["chances"], axis=1),
            ],
            [info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
            [info("chances", TensorProto.FLOAT, ["batch", 5])],
            [weights("k", 4, 3, 3, 3), weights("w", 4, 5, seed=9)],
        ),
        folder,
    )


def unnamed_axis(folder: Path) -> Path:
    """The first axis has neither size nor name."""
    return save(
        model(
            [node("MatMul", ["x", "w"], ["y"])],
            [info("x", TensorProto.FLOAT, [None, 4])],
            [info("y", TensorProto.FLOAT, [None, 2])],
            [weights("w", 4, 2)],
        ),
        folder,
    )


def unknown_rank(folder: Path) -> Path:
    """Reshape to a shape that arrives as an input: the rank of the output is open."""
    return save(
        model(
            [node("Reshape", ["x", "shape"], ["y"])],
            [info("x", TensorProto.FLOAT, ["count"]), info("shape", TensorProto.INT64, ["rank"])],
            [info("y", TensorProto.FLOAT, None)],
        ),
        folder,
    )


def listed_initialisers(folder: Path) -> Path:
    """IR version 3: every weight must stand among the inputs, too."""
    return save(
        model(
            [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])],
            [
                info("x", TensorProto.FLOAT, ["batch", 4]),
                info("w", TensorProto.FLOAT, [4, 2]),
                info("b", TensorProto.FLOAT, [2]),
            ],
            [info("y", TensorProto.FLOAT, ["batch", 2])],
            [weights("w", 4, 2), weights("b", 2, seed=3)],
            opset=8,
            ir_version=3,
        ),
        folder,
    )


def half_precision(folder: Path) -> Path:
    """float16 throughout."""
    half = numpy_helper.from_array(np.array([[1.5, -2.0], [0.25, 3.0]], np.float16), "w")
    return save(
        model(
            [node("MatMul", ["x", "w"], ["y"])],
            [info("x", TensorProto.FLOAT16, ["batch", 2])],
            [info("y", TensorProto.FLOAT16, ["batch", 2])],
            [half],
        ),
        folder,
    )


def every_integer(folder: Path) -> Path:
    """All eight integer types and double, each handed through."""
    kinds = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "DOUBLE")
    return save(
        model(
            [node("Identity", [f"in_{kind}"], [f"out_{kind}"]) for kind in kinds],
            [info(f"in_{kind}", getattr(TensorProto, kind), ["batch", 2]) for kind in kinds],
            [info(f"out_{kind}", getattr(TensorProto, kind), ["batch", 2]) for kind in kinds],
        ),
        folder,
    )


def fixed_batch(folder: Path) -> Path:
    """A first axis of exactly 1, the way careless exports look."""
    return save(
        model(
            [node("MatMul", ["x", "w"], ["y"])],
            [info("x", TensorProto.FLOAT, [1, 4])],
            [info("y", TensorProto.FLOAT, [1, 2])],
            [weights("w", 4, 2)],
        ),
        folder,
    )


def no_inputs(folder: Path) -> Path:
    """A constant: no input at all."""
    return save(
        model([node("Identity", ["c"], ["y"])], [], [info("y", TensorProto.FLOAT, [2])], [weights("c", 2)]),
        folder,
    )


@functools.cache
def iris() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """150 flowers, 4 measures, classes 0, 1, 2."""
    from sklearn.datasets import load_iris

    features, classes = load_iris(return_X_y=True)
    return features.astype(np.float32), classes


SPECIES = np.array(["setosa", "versicolor", "virginica"])


@functools.cache
def _boosted(names: bool) -> bytes:
    from sklearn.ensemble import GradientBoostingClassifier

    features, classes = iris()
    estimator = GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0)
    return to_onnx(estimator.fit(features, SPECIES[classes] if names else classes), features[:1])


def to_onnx(estimator: Any, sample: Any, **options: Any) -> bytes:
    """A default skl2onnx export, whose own warnings are not ours; for an older engine one that it reads."""
    import onnxruntime
    import skl2onnx

    limits = limits_of(onnxruntime.__version__)
    if limits is not None and limits.opset < 21:
        options["target_opset"] = {"": limits.opset, ML: limits.ml}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(skl2onnx.to_onnx(estimator, sample, **options).SerializeToString())


def boosting_int_classes(folder: Path) -> Path:
    """Default skl2onnx GradientBoostingClassifier: ZipMap over int64 classes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "boosting.onnx").write_bytes(_boosted(False))
    return folder / "boosting.onnx"


def boosting_string_classes(folder: Path) -> Path:
    """The same with string classes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "boosting.onnx").write_bytes(_boosted(True))
    return folder / "boosting.onnx"


@functools.cache
def _mixed_table() -> bytes:
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    amount, country = rng.gamma(2.0, 50.0, 200), rng.choice(["DE", "FR", "US"], 200)
    table = np.array([amount, country.astype(object)], dtype=object).T
    fraud = np.where((amount > 120) & (country != "DE"), "fraud", "good")
    columns = ColumnTransformer([("number", StandardScaler(), [0]), ("word", OneHotEncoder(), [1])])
    estimator = make_pipeline(columns, RandomForestClassifier(n_estimators=5, max_depth=3, random_state=0))
    types = [("amount", FloatTensorType([None, 1])), ("country", StringTensorType([None, 1]))]
    return to_onnx(estimator.fit(table, fraud), None, initial_types=types)


def mixed_table(folder: Path) -> Path:
    """A ColumnTransformer pipeline: one [n, 1] input per column, one of them strings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.onnx").write_bytes(_mixed_table())
    return folder / "table.onnx"


QUICK: dict[str, Builder] = {
    builder.__name__: builder
    for builder in (
        mixed_inputs, dynamic_axes, scalars, several_outputs, no_batch_output, stateful_gru, string_inputs,
        external_data, bf16_edge, int4_edge, uint8_image, float_image, unnamed_axis, unknown_rank,
        listed_initialisers, half_precision, every_integer, fixed_batch, no_inputs,
    )
}  # fmt: skip
SLOW: dict[str, Builder] = {
    builder.__name__: builder for builder in (boosting_int_classes, boosting_string_classes, mixed_table)
}
ZOO: dict[str, Builder] = {**QUICK, **SLOW}
