"""One model in every format: every engine gives the same answers, alone, in rows, on any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.made_models import IMAGE, photos, write_exported, write_ir, write_onnx, write_script

from sealift.engine.choose import engine_for
from sealift.engine.protocol import EngineOptions, Loaded
from sealift.errors import ModelError, ModelFailed
from sealift.model.graph_formats import ModelFile, adapt_file, files_of
from sealift.model.signature import Signature, TensorSpec

pytestmark = pytest.mark.slow

FORMATS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "onnx": (write_onnx, "net.onnx", ""),
    "onnx on openvino": (write_onnx, "net.onnx", "openvino"),
    "ir": (write_ir, "net.xml", ""),
    "torchscript": (write_script, "net.pt", ""),
    "exported": (write_exported, "net.pt2", ""),
}


@pytest.fixture(params=list(FORMATS))
def served(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Loaded, Signature]:
    """The model as a release would carry it, loaded on two threads."""
    write, name, engine = FORMATS[request.param]
    path = write(tmp_path / name)
    inputs = (IMAGE,) if path.suffix == ".pt" else ()
    adapted = adapt_file(ModelFile(path, engine, inputs), tmp_path / "release")
    assert adapted.path.name == f"model{path.suffix}"
    assert len(adapted.files) == len(files_of(path))
    signature = adapted.signature
    chosen = engine_for(adapted.path, engine, ("image",), ("output",))
    return chosen.load(adapted.path, EngineOptions(threads=2)), signature


def expected(rows: int) -> NDArray[np.float32]:
    """By hand, in float64."""
    from tests.engine.made_models import weights

    w = {name: values.astype(np.float64) for name, values in weights().items()}
    x = photos(rows).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    hidden = np.einsum("bchwij,ocij->bohw", windows, w["c.weight"]) + w["c.bias"][:, None, None]
    logits = np.maximum(hidden, 0).mean((2, 3)) @ w["f.weight"].T + w["f.bias"]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    chances: NDArray[np.float32] = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    return chances


def test_every_engine_agrees_with_arithmetic(served: tuple[Loaded, Signature]) -> None:
    session, _ = served
    (answer,) = session.run({"image": photos(5)}).values()
    assert answer.dtype == np.float32
    assert answer.shape == (5, 5)
    np.testing.assert_allclose(answer, expected(5), atol=1e-6)
    alone = session.run({"image": photos(5)[3:4]}, ["output"])["output"]
    np.testing.assert_allclose(alone, expected(5)[3:4], atol=1e-6)


def test_every_format_tells_or_shows_the_same_signature(served: tuple[Loaded, Signature]) -> None:
    _, signature = served
    output = TensorSpec(name="output", datatype="FP32", shape=("batch", 5))
    assert signature.inputs == (IMAGE,)
    assert [spec.shape for spec in signature.outputs] == [output.shape]
    assert [spec.datatype for spec in signature.outputs] == ["FP32"]
    assert signature.batch_axis == "batch"
    assert signature.probabilities == tuple(spec.name for spec in signature.outputs), "it ends in a softmax"


def test_a_second_layout_answers_the_same_and_both_run_at_once(served: tuple[Loaded, Signature]) -> None:
    session, _ = served
    narrow = session.with_threads(1, may_copy=True)
    assert narrow is not None
    assert (narrow.device, narrow.degraded) == ("cpu", "")
    wrong: list[object] = []

    def ask(layout: Loaded, seed: int) -> None:
        for rows in (1, 3, 2):
            inputs = photos(rows, seed)
            first = layout.run({"image": inputs})["output"]
            kept = first.copy()
            again = layout.run({"image": photos(rows, seed + 100)})["output"]
            wrong.extend([first] if not np.array_equal(first, kept) or np.array_equal(again, kept) else [])

    threads = [
        threading.Thread(target=ask, args=(layout, seed)) for seed, layout in enumerate((session, narrow) * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    np.testing.assert_allclose(
        narrow.run({"image": photos(4)})["output"], session.run({"image": photos(4)})["output"], atol=1e-6
    )
    session.idle()
    np.testing.assert_allclose(session.run({"image": photos(4)})["output"], expected(4), atol=1e-6)


def test_what_a_model_cannot_take_is_its_failure_and_the_next_run_works(
    served: tuple[Loaded, Signature],
) -> None:
    session, _ = served
    with pytest.raises(ModelFailed, match="the model refused this input: "):
        session.run({"image": photos(1)[:, :2]})
    with pytest.raises(ModelFailed):
        session.run({})
    with pytest.raises(ModelFailed):
        session.run({"image": photos(1)}, ["other"])
    np.testing.assert_allclose(session.run({"image": photos(1)})["output"], expected(1), atol=1e-6)


def test_the_requests_own_bytes_are_neither_needed_writable_nor_changed(
    served: tuple[Loaded, Signature],
) -> None:
    session, _ = served
    body = photos(2).tobytes()
    image = np.frombuffer(body, np.float32).reshape(2, 3, 32, 32)
    assert not image.flags.writeable
    np.testing.assert_allclose(session.run({"image": image})["output"], expected(2), atol=1e-6)
    assert body == photos(2).tobytes()


@pytest.mark.parametrize(("name", "engine"), [("net.xml", ""), ("net.pt", ""), ("net.onnx", "openvino")])
def test_no_engine_here_serves_on_a_device_that_is_not_there(tmp_path: Path, name: str, engine: str) -> None:
    write = next(write for write, written, _ in FORMATS.values() if written == name)
    path = write(tmp_path / name)
    chosen = engine_for(path, engine, ("image",), ("output",))
    with pytest.raises(ModelError, match=rf"{name}: device cuda: cuda cannot be used: "):
        chosen.load(path, EngineOptions(device=("cuda",)))
    session = chosen.load(path, EngineOptions(device=("cuda", "cpu")))
    assert session.device == "cpu"
    assert session.degraded.startswith("cuda cannot be used: ")
