"""What each release of the engine reads, and models that are too new for it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sealift.errors import ModelError
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.engine_limits import ML, check_models, engine_problems, limits_of
from sealift.model.onnx_header import OnnxHeader, read_header
from sealift.model.service import ServedModel, Variant
from sealift.model.signature import Signature

BOX = {"onnxruntime": "1.16.3", "numpy": "1.26.4"}


@dataclass(frozen=True)
class Entry:
    name: str
    path: Path
    engine: str = ""


def written(path: Path, opset: int, ir: int, **others: int) -> Path:
    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", edges[:1], edges[1:])
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain.replace("_", "."), version) for domain, version in others.items()]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
    return path


def loads(path: Path) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 (onnxruntime's own share no base)
        return False
    return True


def test_the_table_says_what_the_installed_engine_does(tmp_path: Path) -> None:
    limits = limits_of(onnxruntime.__version__)
    assert limits is not None, "a new onnxruntime: install it, look, and add it to the table"
    assert loads(written(tmp_path / "m.onnx", limits.opset, limits.ir, ai_onnx_ml=limits.ml))
    assert not loads(written(tmp_path / "m.onnx", limits.opset + 1, limits.ir))
    assert not loads(written(tmp_path / "m.onnx", limits.opset, limits.ir + 1))
    assert not loads(written(tmp_path / "m.onnx", limits.opset, limits.ir, ai_onnx_ml=limits.ml + 1))


def test_everything_that_is_too_new_is_told_for_all_models_at_once(tmp_path: Path) -> None:
    new = written(tmp_path / "new.onnx", 22, 10, ai_onnx_ml=5)
    old = written(tmp_path / "old.onnx", 17, 8)
    with pytest.raises(ModelError) as caught:
        check_models([Entry("fraud", new), Entry("old", old)], BOX)
    engine = "(onnxruntime 1.16.3), found"
    assert caught.value.problems == (
        f"model fraud (new.onnx): expected opset 19 or older {engine} 22; export it with opset_version=19, or convert "
        "it: onnx.save(onnx.version_converter.convert_version(onnx.load(PATH), 19), PATH)",
        f"model fraud (new.onnx): expected opset of ai.onnx.ml 3 or older {engine} 5; export it with "
        'target_opset={"": 19, "ai.onnx.ml": 3}',
        f"model fraud (new.onnx): expected IR version 9 or older {engine} 10; model = onnx.load(PATH); "
        "model.ir_version = 9; onnx.save(model, PATH)",
    )
    assert "glibc 2.28 or newer" in str(caught.value.next_step)


def test_what_the_remedies_say_makes_the_model_fit(tmp_path: Path) -> None:
    path = written(tmp_path / "new.onnx", 22, 10)
    assert len(engine_problems([Entry("m", path)], BOX)) == 2
    converted = onnx.version_converter.convert_version(onnx.load(path), 19)
    converted.ir_version = 9
    onnx.save(converted, path)
    check_models([Entry("m", path)], BOX)


@pytest.mark.parametrize(
    "packages", [{"onnxruntime": "1.32.0"}, {"onnxruntime-gpu": "1.23.2"}, {}, {"onnxruntime": "7.0.0"}]
)
def test_an_engine_that_reads_it_or_that_nobody_tried_is_no_problem(
    tmp_path: Path, packages: dict[str, str]
) -> None:
    check_models([Entry("m", written(tmp_path / "m.onnx", 22, 10))], packages)


def test_the_gpu_build_has_the_same_limits(tmp_path: Path) -> None:
    entry = Entry("m", written(tmp_path / "m.onnx", 22, 8))
    (problem,) = engine_problems([entry], {"onnxruntime-gpu": "1.20.1"})
    assert "expected opset 21 or older (onnxruntime 1.20.1), found 22" in problem


def test_models_of_other_engines_are_passed_over(tmp_path: Path) -> None:
    new = written(tmp_path / "m.onnx", 22, 10)
    others = [
        Entry("a", new, "openvino"),
        Entry("b", tmp_path / "b.pt2"),
        Entry("c", tmp_path / "c.safetensors"),
    ]
    assert engine_problems(others, BOX) == ()


def test_variants_travel_and_are_looked_at_too(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old.onnx", 17, 8), written(tmp_path / "new.onnx", 22, 8)
    nothing = Signature(inputs=(), outputs=())
    variants = (Variant("fp32", old), Variant("int8", new), Variant("bf16", new, engine="openvino"))
    served = ServedModel("fraud", old, nothing, TensorInput(), TensorOutput(), variants=variants)
    (problem,) = engine_problems([served], BOX)
    assert problem.startswith("model fraud, variant int8 (new.onnx): expected opset 19 or older")


def test_the_header_is_what_onnx_reads(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", 18, 8, com_microsoft=1, ai_onnx_ml=3)
    assert read_header(path) == OnnxHeader(8, {"": 18, "com.microsoft": 1, ML: 3})
    path = written(tmp_path / "m.onnx", 18, 8, ai_onnx=19)
    assert read_header(path).opsets == {"": 19}


def test_a_graph_of_a_gigabyte_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x08\x3a" + b"\x80\x80\x80\x80\x04")  # ir_version 8, a graph of 2**30 bytes
        file.seek(2**30, os.SEEK_CUR)  # a hole: no byte of it is written
        file.write(b"\x42\x02\x10\x11")  # opset_import: version 17
    assert read_header(path) == OnnxHeader(8, {"": 17})


@given(cut=st.integers(min_value=0, max_value=70))
def test_a_file_that_is_cut_short_is_refused_or_read_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = written(tmp_path_factory.mktemp("cut") / "m.onnx", 18, 8)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    with contextlib.suppress(ModelError):
        assert read_header(path).ir == 8


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path)
    path = tmp_path / "m.onnx"
    for bytes_ in (b"", b"PK\x03\x04" * 20, b"\xff" * 40, b"\x42\xff\xff\xff\x7f" + b"\x00" * 9):
        path.write_bytes(bytes_)
        with pytest.raises(ModelError, match="is not a usable ONNX model"):
            read_header(path)
