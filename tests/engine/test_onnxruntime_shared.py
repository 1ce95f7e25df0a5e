"""One set of weights under several thread layouts: the same answers, and nothing left behind."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sealift.engine import onnxruntime as engine
from sealift.engine.onnxruntime import OnnxRuntime, OnnxSession
from sealift.engine.protocol import Arrays, EngineOptions
from sealift.engine.stored import StoredModel
from sealift.errors import ModelError, ModelFailed
from sealift.model.examples import example_candidates
from sealift.model.onnx_graph import adapt

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

Zoo = dict[str, Callable[[Path], Path]]

UNSERVABLE = {"bf16_edge", "int4_edge"}
"""Their edge types are for the pack side to adapt or to refuse."""


@pytest.fixture
def share_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share models of any size, whatever their kernels pack."""
    monkeypatch.setattr(engine, "SHARED_FROM_BYTES", 0)
    monkeypatch.setattr(engine, "own_bytes", lambda: 0)


def mapped() -> list[str]:
    """What this process has open or mapped of stored models."""
    gc.collect()
    opened: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            opened.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # the listing's own descriptor
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [name for name in (*opened, *lines) if "memfd:" in name and "onnx" in name]


def convolutions(folder: Path, count: int = 12, wide: int = 64) -> Path:
    """A small picture model of 1.8 MB: what its kernels read is laid out when it is optimised."""
    rng = np.random.default_rng(0)
    weights = [
        rng.standard_normal((wide, wide if n else 3, 3, 3)).astype(np.float32) / np.float32(24)
        for n in range(count)
    ]
    names = ["x", *(f"c{n}" for n in range(count))]
    nodes = [
        helper.make_node("Conv", [names[n], f"w{n}"], [names[n + 1]], pads=[1, 1, 1, 1]) for n in range(count)
    ]
    nodes.append(helper.make_node("GlobalAveragePool", [names[-1]], ["y"]))
    return _saved(folder, nodes, weights, ["batch", 3, 16, 16], ["batch", wide, 1, 1])


def products(folder: Path, wide: int = 640) -> Path:
    """Matrix products only, 4.9 MB: each session packs all of its weights."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((wide, wide)).astype(np.float32) / np.float32(25) for _ in range(3)]
    names = ["x", "c0", "c1", "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(3)]
    return _saved(folder, nodes, weights, ["batch", wide], ["batch", wide])


def _saved(
    folder: Path, nodes: list[onnx.NodeProto], weights: list[NDArray[np.float32]], taken: list[str | int],
    given: list[str | int],
) -> Path:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, given)],
        [numpy_helper.from_array(values, f"w{n}") for n, values in enumerate(weights)],
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def same(one: Arrays, other: Arrays) -> bool:
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name], equal_nan=True)
        if one[name].dtype.kind == "f"
        else np.array_equal(one[name], other[name])
        for name in one
    )


@pytest.mark.usefixtures("share_all")
@pytest.mark.slow
def test_every_model_of_the_zoo_answers_bitwise_as_from_its_file(
    zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sealift.engine.onnxruntime")
    shared: list[str] = []
    for name, build in zoo.items():
        if name in UNSERVABLE:
            continue
        adapted = adapt(build(tmp_path / name), tmp_path / "out" / name)
        model = OnnxRuntime().load(adapted.path, EngineOptions(threads=2))
        layouts = (model, model.with_threads(1, may_copy=True))
        for threads, layout in zip((2, 1), layouts, strict=True):
            plain = OnnxRuntime().load(adapted.path, EngineOptions(threads=threads, share=False))
            assert layout is not None
            assert not plain.shares_weights
            assert (layout.input_names, layout.output_names) == (plain.input_names, plain.output_names)
            assert _agrees(layout, plain, example_candidates(adapted.signature, seed=1)), name
        shared += [name] if model.shares_weights else []
        del model, layouts, layout, plain
    assert {"float_image", "uint8_image", "external_data", "stateful_gru", "mixed_table"} <= set(shared)
    assert len(shared) >= len(zoo) - len(UNSERVABLE) - 2, caplog.text
    assert mapped() == []


def _agrees(layout: OnnxSession, plain: OnnxSession, candidates: Iterator[Arrays]) -> bool:
    for inputs in candidates:
        try:
            expected = plain.run(inputs)
        except ModelFailed:
            with pytest.raises(ModelFailed):
                layout.run(inputs)
            continue
        return same(layout.run(inputs), expected)
    return False


def test_layouts_share_weights_and_release_them_with_the_last_session(tmp_path: Path) -> None:
    before = mapped()
    wide = OnnxRuntime().load(convolutions(tmp_path), EngineOptions(threads=2))
    assert wide.shares_weights
    narrow = wide.with_threads(1, may_copy=False)
    assert narrow is not None
    x = {"x": np.random.default_rng(1).standard_normal((2, 3, 16, 16)).astype(np.float32)}
    expected = OnnxRuntime().load(tmp_path / "made.onnx", EngineOptions(threads=1, share=False)).run(x)
    assert same(narrow.run(x), expected)
    del wide
    gc.collect()
    assert same(narrow.run(x), expected), "the weights live as long as anybody maps them"
    assert mapped() != before
    del narrow
    assert mapped() == before


def test_a_model_whose_kernels_pack_everything_is_copied_only_if_permitted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sealift.engine.onnxruntime")
    model = OnnxRuntime().load(products(tmp_path), EngineOptions(threads=2))
    assert not model.shares_weights
    assert "are packed for running" in caplog.text
    assert model.with_threads(1, may_copy=False) is None
    narrow = model.with_threads(1, may_copy=True)
    assert narrow is not None
    x = {"x": np.random.default_rng(1).standard_normal((3, 640)).astype(np.float32)}
    for layout, threads in ((model, 2), (narrow, 1)):
        plain = OnnxRuntime().load(tmp_path / "made.onnx", EngineOptions(threads=threads, share=False))
        assert same(layout.run(x), plain.run(x))
    assert mapped() == []


@pytest.mark.usefixtures("share_all")
def test_without_memory_files_or_room_a_model_loads_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = convolutions(tmp_path, count=2)
    assert not OnnxRuntime().load(path, EngineOptions(room_bytes=1000)).shares_weights

    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    caplog.set_level(logging.INFO, "sealift.engine.onnxruntime")
    assert not OnnxRuntime().load(path, EngineOptions()).shares_weights
    assert "made.onnx: each thread layout has its own weights" in caplog.text


@pytest.mark.usefixtures("share_all")
def test_a_damaged_model_is_refused_once_and_with_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"^m\.onnx: onnxruntime .* cannot load it"):
        OnnxRuntime().load(tmp_path / "m.onnx", EngineOptions())
    assert mapped() == []


def test_a_stored_model_cannot_be_changed_any_more() -> None:
    stored = StoredModel("net.onnx")
    Path(stored.path).write_bytes(b"weights")
    stored.seal()
    with pytest.raises(PermissionError):
        Path(stored.path).write_bytes(b"others!")
    with pytest.raises(PermissionError), Path(stored.path).open("r+b") as file:
        file.write(b"o")
    assert (Path(stored.path).read_bytes(), stored.size) == (b"weights", 7)


@pytest.mark.slow
def test_a_bounded_arena_refuses_the_run_and_not_the_process(tmp_path: Path) -> None:
    """In a process of its own: onnxruntime has one arena a process, for good."""
    import subprocess
    import sys

    code = (
        "import sys, pathlib, numpy as np;"
        "from sealift.engine.onnxruntime import OnnxRuntime;"
        "from sealift.engine.protocol import EngineOptions;"
        "from sealift.errors import ModelFailed\n"
        "m = OnnxRuntime().load(pathlib.Path(sys.argv[1]), EngineOptions(threads=1, memory_bytes=30_000_000))\n"
        "m.run({'x': np.zeros((1, 3, 16, 16), np.float32)})\n"
        "try: m.run({'x': np.zeros((2000, 3, 16, 16), np.float32)})\n"
        "except ModelFailed as error: print(error)\n"
        "m.run({'x': np.zeros((1, 3, 16, 16), np.float32)})\n"
    )
    model = convolutions(tmp_path)
    ran = subprocess.run([sys.executable, "-c", code, str(model)], check=True, capture_output=True, text=True)
    assert "the model refused this input" in ran.stdout


def test_spinning_is_a_choice_of_the_wide_layout_and_changes_no_answer(tmp_path: Path) -> None:
    path = convolutions(tmp_path, count=3)
    spinning = OnnxRuntime().load(path, EngineOptions(threads=2, spin=True))
    narrow = spinning.with_threads(1, may_copy=True)
    assert narrow is not None
    x = {"x": np.random.default_rng(1).standard_normal((2, 3, 16, 16)).astype(np.float32)}
    assert same(spinning.run(x), OnnxRuntime().load(path, EngineOptions(threads=2)).run(x))
    assert same(narrow.run(x), OnnxRuntime().load(path, EngineOptions(threads=1)).run(x))
