"""Every model of the zoo, as nobody prepared it, all the way: adapt -> engine -> pipeline -> JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sealift.model.adapted import Adapted
from sealift.model.arrays import Arrays
from sealift.model.datatypes import ORT_NAME_OF
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.examples import example_candidates, example_inputs
from sealift.model.onnx_graph import adapt, model_size, read_signature
from sealift.model.pipeline import build_pipeline
from sealift.model.service import ServedModel
from sealift.model.signature import Signature

Zoo = dict[str, Callable[[Path], Path]]


def run(path: Path, inputs: Arrays) -> Arrays:
    """onnxruntime in process, on one thread: the reference."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def runnable(adapted: Adapted) -> tuple[Arrays, Arrays]:
    """The first candidate that the engine takes, with its outputs."""
    failures = []
    for inputs in example_candidates(adapted.signature, seed=1):
        try:
            return inputs, run(adapted.path, inputs)
        except Exception as error:  # noqa: BLE001  onnxruntime's exceptions share no public base
            failures.append(str(error))
    raise AssertionError(failures)


def served(path: Path, signature: Signature) -> ServedModel:
    return ServedModel("m", path, signature, TensorInput(), TensorOutput())


def through_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def same(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    return found.shape == wanted.shape and found.dtype == wanted.dtype and found.tolist() == wanted.tolist()


def test_model_runs_on_examples_and_survives_the_round_trip(zoo: Zoo, zoo_name: str, tmp_path: Path) -> None:
    """Tensors through JSON and the pipeline give exactly what onnxruntime gives in process."""
    adapted = adapt(zoo[zoo_name](tmp_path / "source"), tmp_path / "release")
    inputs, wanted = runnable(adapted)
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    body = through_json({"inputs": {name: array.tolist() for name, array in inputs.items()}})
    prepared = pipeline.prepare(body)
    assert not prepared.added_batch
    assert prepared.inputs.keys() == inputs.keys()
    assert all(same(prepared.inputs[name], inputs[name]) for name in inputs)
    assert all(array.flags.c_contiguous for array in prepared.inputs.values())
    outputs = run(adapted.path, prepared.inputs)
    assert all(same(outputs[name], wanted[name]) for name in wanted)
    plain = {name: array.tolist() for name, array in wanted.items()}
    expected = plain if len(plain) > 1 else next(iter(plain.values()))
    assert through_json(pipeline.answer(outputs, prepared)) == {"prediction": expected}


def test_signature_is_what_onnxruntime_sees(zoo: Zoo, zoo_name: str, tmp_path: Path) -> None:
    """Names, order, datatypes, ranks and fixed sizes agree with the engine's own reading of the file."""
    adapted = adapt(zoo[zoo_name](tmp_path / "source"), tmp_path / "release")
    session = onnxruntime.InferenceSession(str(adapted.path), providers=["CPUExecutionProvider"])
    for specs, nodes in (
        (adapted.signature.inputs, session.get_inputs()),
        (adapted.signature.outputs, session.get_outputs()),
    ):
        assert [spec.name for spec in specs] == [node.name for node in nodes]
        assert [ORT_NAME_OF[spec.datatype] for spec in specs] == [node.type for node in nodes]
        for spec, node in zip(specs, nodes, strict=True):
            if spec.shape is None:
                continue
            fixed = [axis if isinstance(axis, int) else None for axis in spec.shape]
            assert fixed == [axis if isinstance(axis, int) else None for axis in node.shape]


def test_outputs_have_the_shapes_that_the_signature_promises(zoo: Zoo, zoo_name: str, tmp_path: Path) -> None:
    """Axes of one name have one size over inputs and outputs, also with three rows."""
    adapted = adapt(zoo[zoo_name](tmp_path / "source"), tmp_path / "release")
    rows = 3 if adapted.signature.batch_axis else 1
    inputs = example_inputs(adapted.signature, seed=2, rows=rows)
    outputs = run(adapted.path, inputs)
    sizes: dict[str, int] = {}
    for specs, arrays in ((adapted.signature.inputs, inputs), (adapted.signature.outputs, outputs)):
        for spec in specs:
            if spec.shape is None:
                continue
            assert arrays[spec.name].ndim == len(spec.shape)
            for axis, size in zip(spec.shape, arrays[spec.name].shape, strict=True):
                if axis == "?":
                    continue
                assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size))


def test_adapting_twice_gives_the_same_bytes_and_a_third_time_changes_nothing(
    zoo: Zoo, zoo_name: str, tmp_path: Path
) -> None:
    source = zoo[zoo_name](tmp_path / "source")
    first, second = adapt(source, tmp_path / "a"), adapt(source, tmp_path / "b")
    assert [file.read_bytes() for file in first.files] == [file.read_bytes() for file in second.files]
    again = adapt(first.path, tmp_path / "c")
    assert again.notes == ()
    assert again.signature == first.signature == read_signature(source)
    assert again.path.read_bytes() == first.path.read_bytes()
    assert model_size(again.path) == sum(file.stat().st_size for file in again.files)


def test_an_item_without_the_batch_axis_gives_the_answer_of_the_row(tmp_path: Path, zoo: Zoo) -> None:
    adapted = adapt(zoo["several_outputs"](tmp_path / "source"), tmp_path / "release")
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    row = [0.5, -1.0, 2.0, 0.0, 1.0]
    one, batch = pipeline.prepare({"x": row}), pipeline.prepare({"x": [row]})
    assert (one.added_batch, batch.added_batch) == (True, False)
    alone = pipeline.answer(run(adapted.path, one.inputs), one)["prediction"]
    listed = pipeline.answer(run(adapted.path, batch.inputs), batch)["prediction"]
    assert {name: [value] for name, value in alone.items()} == listed


def test_state_goes_round_through_answers(tmp_path: Path, zoo: Zoo) -> None:
    """Two steps with the state handed back by the client equal one run over both steps."""
    adapted = adapt(zoo["stateful_gru"](tmp_path / "source"), tmp_path / "release")
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    steps = np.random.default_rng(0).standard_normal((2, 1, 3)).astype(np.float32)
    state: Any = np.zeros((1, 1, 6), np.float32).tolist()
    for step in steps:
        prepared = pipeline.prepare({"inputs": {"x": [step.tolist()], "h": state}})
        answer = through_json(pipeline.answer(run(adapted.path, prepared.inputs), prepared))["prediction"]
        state = answer["next_h"]
    whole = run(adapted.path, {"x": steps, "h": np.zeros((1, 1, 6), np.float32)})
    np.testing.assert_allclose(np.array(state, np.float32), whole["next_h"], atol=1e-6)


def test_an_output_with_no_batch_axis_keeps_its_axes_for_a_single_item(tmp_path: Path, zoo: Zoo) -> None:
    adapted = adapt(zoo["no_batch_output"](tmp_path / "source"), tmp_path / "release")
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    prepared = pipeline.prepare({"inputs": [1.0, -2.0, 3.0, 0.0]})
    answer = pipeline.answer(run(adapted.path, prepared.inputs), prepared)
    assert answer == {"prediction": {"rows": [1.0, 0.0, 3.0, 0.0], "mean": [1.0, -2.0, 3.0, 0.0]}}


def test_strings_come_and_go(tmp_path: Path, zoo: Zoo) -> None:
    adapted = adapt(zoo["string_inputs"](tmp_path / "source"), tmp_path / "release")
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    prepared = pipeline.prepare({"text": ["abc", "b"], "word": [["red"], ["zzz"]]})
    answer = pipeline.answer(run(adapted.path, prepared.inputs), prepared)
    assert answer["prediction"]["number"] == [[30], [-1]]
    assert answer["prediction"]["upper"] == ["ABC", "B"]


def test_nan_leaves_as_null_in_a_tensor_answer(tmp_path: Path, zoo: Zoo) -> None:
    adapted = adapt(zoo["fixed_batch"](tmp_path / "source"), tmp_path / "release")
    pipeline = build_pipeline(served(adapted.path, adapted.signature))
    prepared = pipeline.prepare({"x": [[0.0, 0.0, 0.0, 0.0]]})
    outputs = {"y": np.array([[np.nan, -np.inf]], np.float32)}
    assert pipeline.answer(outputs, prepared) == {"prediction": [[None, None]]}
