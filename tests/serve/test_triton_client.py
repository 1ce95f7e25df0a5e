"""Unmodified `tritonclient.http` against a real worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tests.serve.nets import colours, echo, fraud, served, service
from tests.serve.running import Serving
from tritonclient.utils import InferenceServerException

from sealift.model.datatypes import NUMPY_OF
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.examples import example_candidates
from sealift.model.onnx_graph import adapt
from sealift.model.service import ServedModel

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

SAMPLES: dict[str, NDArray[Any]] = {
    name: np.array([[0, 1], [1, 0]], dtype) for name, dtype in NUMPY_OF.items() if name != "BYTES"
}
for _name in ("INT8", "INT16", "INT32", "INT64"):
    SAMPLES[_name] = np.array(
        [[np.iinfo(_name.lower()).min, 1], [np.iinfo(_name.lower()).max, 0]], _name.lower()
    )
for _name in ("UINT8", "UINT16", "UINT32", "UINT64"):
    SAMPLES[_name] = np.array([[0, 1], [np.iinfo(_name.lower()).max, 0]], _name.lower())
for _name in ("FP16", "FP32", "FP64"):
    SAMPLES[_name] = np.array([[0.1, -2.5], [60000, 1e-3]], NUMPY_OF[_name])
SAMPLES["BYTES"] = np.array([["", "grün"], ["a\nb", "c"]], np.object_)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("models")
    serving = Serving(service(served("echo", echo(folder / "echo.onnx")), fraud(folder), colours(folder)))
    yield serving
    assert serving.stop() == 0
    assert serving.thread.reported == []


@pytest.fixture
def client(serving: Serving) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(serving.host) as client:
        yield client


def inputs(binary: bool) -> list[triton.InferInput]:
    found = []
    for name, array in SAMPLES.items():
        tensor = triton.InferInput(name.lower(), list(array.shape), name)
        tensor.set_data_from_numpy(array, binary_data=binary)
        found.append(tensor)
    return found


def zeros() -> triton.InferInput:
    return triton.InferInput("x", [1, 3], "FP32").set_data_from_numpy(np.zeros((1, 3), np.float32))


def as_strings(array: NDArray[Any]) -> list[str]:
    return [text.decode() if isinstance(text, bytes) else text for text in array.reshape(-1)]


@pytest.mark.parametrize("binary_out", [False, True], ids=["json out", "binary out"])
@pytest.mark.parametrize("binary_in", [False, True], ids=["json in", "binary in"])
def test_all_thirteen_datatypes_travel_there_and_back(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    outputs = [triton.InferRequestedOutput(f"{name.lower()}_out", binary_data=binary_out) for name in SAMPLES]
    result = client.infer("echo", inputs(binary_in), outputs=outputs, request_id="r1")
    assert result.get_response()["id"] == "r1"
    for name, sent in SAMPLES.items():
        found = result.as_numpy(f"{name.lower()}_out")
        if name == "BYTES":
            assert as_strings(found) == as_strings(sent)
        else:
            assert found.dtype == sent.dtype
            np.testing.assert_array_equal(found, sent)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests_and_answers(client: triton.InferenceServerClient, coding: str) -> None:
    result = client.infer(
        "echo", inputs(True), request_compression_algorithm=coding, response_compression_algorithm=coding
    )
    np.testing.assert_array_equal(result.as_numpy("fp32_out"), SAMPLES["FP32"])


def test_a_large_tensor_is_compressed_both_ways(client: triton.InferenceServerClient) -> None:
    tensors = inputs(True)
    big = np.tile(np.arange(50_000, dtype=np.float32), (2, 1)).T.copy()
    wide = [triton.InferInput(name.lower(), [50_000, 2], name) for name in SAMPLES]
    for tensor, name in zip(wide, SAMPLES, strict=True):
        array = big if name == "FP32" else np.zeros((50_000, 2), NUMPY_OF[name]) if name != "BYTES" else None
        tensor.set_data_from_numpy(np.full((50_000, 2), "", np.object_) if array is None else array)
    assert len(tensors) == len(wide)
    result = client.infer(
        "echo", wide, request_compression_algorithm="gzip", response_compression_algorithm="gzip"
    )
    np.testing.assert_array_equal(result.as_numpy("fp32_out"), big)


def test_classification_answers_with_labels(client: triton.InferenceServerClient) -> None:
    image = np.zeros((2, 3, 8, 8), np.float32)
    image[0, 1], image[1, 2] = 0.5, 0.25
    tensor = triton.InferInput("image", [2, 3, 8, 8], "FP32").set_data_from_numpy(image)
    output = triton.InferRequestedOutput("logits", class_count=2)
    found = client.infer("colours", [tensor], outputs=[output]).as_numpy("logits")
    assert found.shape == (2, 2)
    assert as_strings(found) == ["0.500000:1:green", "0.000000:0:red", "0.250000:2:blue", "0.000000:0:red"]


def test_the_scores_are_those_of_the_engine_in_process(
    client: triton.InferenceServerClient, serving: Serving
) -> None:
    rows = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    expected = serving.predictors["fraud"].wide.run({"x": rows})["score"]
    for binary in (False, True):
        tensor = triton.InferInput("x", [5, 3], "FP32").set_data_from_numpy(rows, binary_data=binary)
        found = client.infer("fraud", [tensor]).as_numpy("score")
        assert np.abs(found - expected).max() <= 1e-6


def test_everything_the_client_can_ask_about_a_server(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1.2.0")
    assert not client.is_model_ready("echo", "9")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("fraud", "1.2.0")
    assert metadata["versions"] == ["1.2.0"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    config = client.get_model_config("echo")
    assert {"name": "bytes", "data_type": "TYPE_STRING", "dims": [-1, 2]} in config["input"]
    index = client.get_model_repository_index()
    assert [entry["name"] for entry in index] == ["echo", "fraud", "colours"]
    assert {entry["state"] for entry in index} == {"READY"}


def test_statistics_count_the_runs(client: triton.InferenceServerClient) -> None:
    def count() -> int:
        found: int = client.get_inference_statistics("fraud")["model_stats"][0]["inference_count"]
        return found

    before = count()
    client.infer("fraud", [zeros()], model_version="1.2.0")
    assert count() == before + 1
    assert len(client.get_inference_statistics()["model_stats"]) == 3


def test_concurrent_requests_get_their_own_answers(serving: Serving) -> None:
    with triton.InferenceServerClient(serving.host, concurrency=8) as client:
        pending = []
        for number in range(40):
            image = np.full((1, 3, 8, 8), number, np.float32)
            tensor = triton.InferInput("image", [1, 3, 8, 8], "FP32").set_data_from_numpy(image)
            pending.append(client.async_infer("colours", [tensor]))
        for number, request in enumerate(pending):
            assert request.get_result().as_numpy("logits").tolist() == [[number] * 3]


def test_errors_reach_the_client_with_their_text(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.zeros((1, 4), np.float32))
    with pytest.raises(
        InferenceServerException, match=r"x: expected shape \[batch, 3\], got \[1, 4\]"
    ) as caught:
        client.infer("fraud", [tensor])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no such path: /v2/models/frau/infer; did you mean"):
        client.infer("frau", [tensor])
    shared = triton.InferInput("x", [1, 3], "FP32").set_shared_memory("region", 12)
    with pytest.raises(InferenceServerException, match="shared memory is not offered"):
        client.infer("fraud", [shared])
    with pytest.raises(InferenceServerException, match="no state is kept"):
        client.infer("fraud", [zeros()], sequence_id=7)


def test_a_deadline_that_has_passed_before_the_run_is_504(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="deadline") as caught:
        client.infer("fraud", [zeros()], timeout=1)
    assert caught.value.status() == "504"


def test_any_model_answers_as_the_engine_does(
    zoo: dict[str, Callable[[Path], Path]], zoo_name: str, tmp_path: Path
) -> None:
    """Models that nobody prepared for sealift: scalars, strings, open ranks, several outputs, ..."""
    adapted = adapt(zoo[zoo_name](tmp_path / "made"), tmp_path / "release")
    model = ServedModel(zoo_name, adapted.path, adapted.signature, TensorInput(), TensorOutput())
    serving = Serving(service(model))
    try:
        sample, expected = _that_runs(serving, model)
        for binary in (False, True):
            found = _ask(serving, model, sample, binary)
            for spec in model.signature.outputs:
                if spec.datatype == "BYTES":
                    assert as_strings(found.as_numpy(spec.name)) == as_strings(expected[spec.name])
                else:
                    np.testing.assert_allclose(
                        found.as_numpy(spec.name), expected[spec.name], rtol=0, atol=1e-6
                    )
    finally:
        assert serving.stop() == 0


def _that_runs(
    serving: Serving, model: ServedModel
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    session = serving.predictors[model.name].wide
    for sample in example_candidates(model.signature, seed=3):
        try:
            return sample, session.run(sample)
        except Exception as error:  # noqa: BLE001 - the next candidate is tried
            last = error
    raise last


def _ask(
    serving: Serving, model: ServedModel, sample: dict[str, NDArray[Any]], binary: bool
) -> triton.InferResult:
    tensors = []
    for spec in model.signature.inputs:
        tensor = triton.InferInput(spec.name, list(sample[spec.name].shape), spec.datatype)
        tensors.append(tensor.set_data_from_numpy(sample[spec.name], binary_data=binary))
    outputs = [triton.InferRequestedOutput(spec.name, binary_data=binary) for spec in model.signature.outputs]
    with triton.InferenceServerClient(serving.host) as client:
        return client.infer(model.name, tensors, outputs=outputs)


def test_bf16_is_taken_in_binary_where_fp32_is_expected(client: triton.InferenceServerClient) -> None:
    values = np.array([[1.0, -2.5, 3.140625]]).astype(ml_dtypes.bfloat16)
    narrow = triton.InferInput("x", [1, 3], "BF16").set_data_from_numpy(values)
    wide = triton.InferInput("x", [1, 3], "FP32").set_data_from_numpy(values.astype(np.float32))
    narrow_score, wide_score = (client.infer("fraud", [x]).as_numpy("score") for x in (narrow, wide))
    np.testing.assert_array_equal(narrow_score, wide_score)


def test_bf16_has_no_json_form(serving: Serving) -> None:
    x = {"name": "x", "datatype": "BF16", "shape": [1, 3], "data": [1, 2, 3]}
    answer = serving.post("/v2/models/fraud/infer", {"inputs": [x]})
    assert (answer.status, answer.json()["error"]) == (
        400,
        "x: BF16 has no JSON form; send it as binary data",
    )
