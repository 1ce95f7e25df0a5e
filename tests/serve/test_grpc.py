"""Unmodified `tritonclient.grpc` and plain gRPC calls against the gRPC face on a real socket."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.serve.certificates import Authority
from tests.serve.grpc_running import GrpcServing, echo_service
from tests.serve.nets import ELEMENT, brightness, fraud, one_echo, served, service
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from sealift.errors import ModelFailed, NotFound, RequestError, TooLarge, Unavailable
from sealift.model.declaration import ClassesOutput, TensorInput
from sealift.serve.grpc import frames, messages
from sealift.serve.grpc.connection import GrpcConnection
from sealift.serve.grpc.connections import GrpcLimits
from sealift.serve.grpc.status import Status
from sealift.serve.http.tls import server_context

pytestmark = pytest.mark.slow

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcServing]:
    serving = GrpcServing(echo_service(tmp_path_factory.mktemp("models")))
    yield serving
    assert serving.stop() == 0
    assert serving.thread.reported == []
    assert serving.server.connections.held_bytes == 0
    assert serving.server.connections.in_flight == 0


@pytest.fixture
def client(serving: GrpcServing) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(serving.host) as client:
        yield client


@pytest.fixture
def channel(serving: GrpcServing) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serving.host) as channel:
        yield channel


def zeros(rows: int = 1) -> triton.InferInput:
    tensor = triton.InferInput("x", [rows, 3], "FP32")
    return tensor.set_data_from_numpy(np.zeros((rows, 3), np.float32))


def sample(datatype: str) -> NDArray[Any]:
    """Shape (2, 2), the ends of the datatype's range included."""
    if datatype == "BYTES":
        return np.array([["", "ä"], ["x" * 300, "\u0000"]], dtype=np.object_)
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    if datatype.startswith("FP"):
        dtype = np.dtype(f"float{datatype[2:]}")
        return np.array([[np.finfo(dtype).max, -0.5], [np.nan, 0]], dtype=dtype)
    dtype = np.dtype(datatype.lower())
    return np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max], [0, 1]], dtype=dtype)


def text_of(array: NDArray[Any]) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else value for value in array.reshape(-1)]


def given_inputs(*changed: tuple[str, NDArray[Any]]) -> list[triton.InferInput]:
    """All inputs of the echo model."""
    arrays = {name: sample(name) for name in ELEMENT} | dict(changed)
    return [
        triton.InferInput(name.lower(), list(array.shape), name).set_data_from_numpy(array)
        for name, array in arrays.items()
    ]


# ---------------------------------------------------------------------- documents


def test_health_and_documents(serving: GrpcServing, client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fraud")
    assert client.is_model_ready("fraud", "1.2.0")
    assert not client.is_model_ready("fraud", "9")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata(as_json=True)["name"] == "sealift"
    metadata = client.get_model_metadata("fraud", as_json=True)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}]
    config = client.get_model_config("fraud", as_json=True)["config"]
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", "3"]}]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert index[0] == {"name": "fraud", "version": "1.2.0", "state": "READY"}
    before = _successes(client)
    client.infer("fraud", [zeros()])
    assert _successes(client) == before + 1
    assert len(client.get_inference_statistics(as_json=True)["model_stats"]) == 2


def _successes(client: triton.InferenceServerClient) -> int:
    (found,) = client.get_inference_statistics("fraud", as_json=True)["model_stats"]
    return int(found["inference_stats"]["success"].get("count", 0))


def test_every_datatype_of_triton_s_configuration_has_its_number() -> None:
    from tritonclient.grpc import model_config_pb2

    ours = messages._POOL.FindEnumTypeByName("inference.DataType")
    theirs = model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"]
    assert {v.name: v.number for v in ours.values} == {v.name: v.number for v in theirs.values}


@pytest.mark.parametrize(
    "name",
    [
        "ModelInferRequest", "ModelInferResponse", "InferParameter", "InferTensorContents", "ModelStatistics",
        "ModelStatisticsResponse", "InferStatistics", "InferBatchStatistics", "ServerMetadataResponse",
        "ModelMetadataResponse", "ModelReadyResponse", "ServerLiveResponse", "ServerReadyResponse",
        "RepositoryIndexRequest", "RepositoryIndexResponse", "ModelConfigResponse", "StatisticDuration",
    ],
)  # fmt: skip
def test_our_description_of_the_messages_agrees_with_the_client_s(name: str) -> None:
    """Every field we know has the number, type and label that the unmodified client gives it."""
    theirs = service_pb2.DESCRIPTOR.message_types_by_name[name].fields_by_name
    for field in messages._POOL.FindMessageTypeByName(f"inference.{name}").fields:
        other = theirs[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated)
        assert (field.message_type is None) == (other.message_type is None)


def test_the_health_service_of_grpc_answers(channel: grpc.Channel) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check", messages.HealthRequest.SerializeToString, messages.Health.FromString
    )
    assert check(messages.HealthRequest()).status == messages.SERVING
    assert check(messages.HealthRequest(service="inference.GRPCInferenceService")).status == messages.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check(messages.HealthRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_unknown_call_is_unimplemented(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"no such call: .*RepositoryModelLoad") as caught:
        client.load_model("fraud")
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


# ---------------------------------------------------------------------- inference


def test_every_datatype_goes_in_and_out_raw(client: triton.InferenceServerClient) -> None:
    found = client.infer("echo", given_inputs(), request_id="seven")
    assert found.get_response().id == "seven"
    for name in ELEMENT:
        array = found.as_numpy(f"{name.lower()}_out")
        if name == "BYTES":
            assert text_of(array) == text_of(sample(name))
        else:
            np.testing.assert_array_equal(array, sample(name))
            assert np_to_triton_dtype(array.dtype) == name


CONTENTS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_every_datatype_but_the_half_ones_goes_in_as_typed_contents(datatype: str, tmp_path: Path) -> None:
    serving = GrpcServing(service(served("one", one_echo(tmp_path / "one.onnx", datatype, ["n", 2]))))
    try:
        request = service_pb2.ModelInferRequest(model_name="one")
        tensor = request.inputs.add(name="x", datatype=datatype, shape=[2, 2])
        values = sample(datatype).reshape(-1).tolist()
        field = getattr(tensor.contents, CONTENTS[datatype])
        field.extend([value.encode() for value in values] if datatype == "BYTES" else values)
        with grpc.insecure_channel(serving.host) as channel:
            found = triton.InferResult(_infer(channel)(request)).as_numpy("y")
        if datatype == "BYTES":
            assert text_of(found) == values
        else:
            np.testing.assert_array_equal(found, sample(datatype))
    finally:
        assert serving.stop() == 0


def _infer(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        INFER, service_pb2.ModelInferRequest.SerializeToString, service_pb2.ModelInferResponse.FromString
    )


def test_bf16_fits_where_fp32_is_expected(client: triton.InferenceServerClient) -> None:
    """Every value of BF16 is one of FP32; `pack` gives a BF16 edge of a graph that type (ADR 0016)."""
    values = np.array([[1.0, -0.0, 2.5], [3.140625, 1e-40, 2.0**127]]).astype(ml_dtypes.bfloat16)
    rows = triton.InferInput("x", [2, 3], "BF16").set_data_from_numpy(values)
    plain = triton.InferInput("x", [2, 3], "FP32").set_data_from_numpy(values.astype(np.float32))
    narrow, wide = (client.infer("fraud", [tensor]).as_numpy("score") for tensor in (rows, plain))
    np.testing.assert_array_equal(narrow, wide)


def test_outputs_are_chosen_and_classified(tmp_path: Path) -> None:
    declared = ClassesOutput(labels=("red", "green", "blue"))
    model = served("colours", brightness(tmp_path / "colours.onnx"), TensorInput(), declared)
    serving = GrpcServing(service(model))
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[0, 1] = 0.5
    tensor = triton.InferInput("image", [1, 3, 8, 8], "FP32").set_data_from_numpy(image)
    try:
        with triton.InferenceServerClient(serving.host) as client:
            top = client.infer(
                "colours", [tensor], outputs=[triton.InferRequestedOutput("logits", class_count=2)]
            )
            assert text_of(top.as_numpy("logits")) == ["0.500000:1:green", "0.000000:0:red"]
    finally:
        assert serving.stop() == 0


def test_named_outputs_come_alone_and_in_the_order_asked(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput("int8_out"), triton.InferRequestedOutput("bool_out")]
    found = client.infer("echo", given_inputs(), outputs=outputs, priority=3, parameters={"mine": 1.5})
    assert [output.name for output in found.get_response().outputs] == ["int8_out", "bool_out"]


def test_big_tensors_and_many_calls_at_once(client: triton.InferenceServerClient) -> None:
    """2.4 MB each way, then 64 calls over one connection."""
    big = np.random.default_rng(1).standard_normal((200_000, 3)).astype(np.float32)
    tensor = triton.InferInput("x", list(big.shape), "FP32").set_data_from_numpy(big)
    assert client.infer("fraud", [tensor]).as_numpy("score").shape == (200_000, 1)
    wide = sample("FP64").repeat(75_000, axis=0)
    others = [
        (name, sample(name).repeat(75_000, axis=0)) for name in ELEMENT if name not in ("FP64", "BYTES")
    ]
    strings = ("BYTES", np.full(wide.shape, "s", np.object_))
    found = client.infer(
        "echo",
        given_inputs(*others, ("FP64", wide), strings),
        outputs=[triton.InferRequestedOutput("fp64_out")],
    )
    np.testing.assert_array_equal(found.as_numpy("fp64_out"), wide)

    row = np.array([[1.0, 2.0, 3.0]], np.float32)
    tensor = triton.InferInput("x", [1, 3], "FP32").set_data_from_numpy(row)
    answers: list[Future[Any]] = []
    for _ in range(64):
        answer: Future[Any] = Future()
        answers.append(answer)

        def settle(result: Any, error: Any, answer: Future[Any] = answer) -> None:
            answer.set_result((result, error))

        client.async_infer("fraud", [tensor], settle)
    expected = client.infer("fraud", [tensor]).as_numpy("score")
    for answer in answers:
        result, error = answer.result(20)
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("score"), expected)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_read(client: triton.InferenceServerClient, algorithm: str) -> None:
    found = client.infer("fraud", [zeros(500)], compression_algorithm=algorithm)
    assert found.as_numpy("score").shape == (500, 1)


def test_every_answer_names_request_and_release(channel: grpc.Channel) -> None:
    request = service_pb2.ModelInferRequest(model_name="fraud")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    _, call = _infer(channel).with_call(request, metadata=(("x-request-id", "mine-1"),))
    assert dict(call.initial_metadata())["x-request-id"] == "mine-1"
    assert dict(call.initial_metadata())["x-sealift-release"] == "fraud@1.2.0"
    request.model_name = "nobody"
    with pytest.raises(grpc.RpcError) as caught:
        _infer(channel)(request)
    metadata = dict((*caught.value.initial_metadata(), *caught.value.trailing_metadata()))
    assert metadata["x-sealift-release"] == "fraud@1.2.0"
    assert metadata["x-request-id"]


def test_the_asyncio_client(serving: GrpcServing) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(serving.host) as client:
            assert await client.is_server_live()
            assert (await client.get_model_metadata("fraud")).name == "fraud"
            with pytest.raises(InferenceServerException, match="no such model: frau; did you mean fraud"):
                await client.infer("frau", [zeros()])
            many = [client.infer("fraud", [zeros(rows)]) for rows in range(1, 33)]
            return list(await asyncio.gather(*many, client.infer("echo", given_inputs())))

    *rows, echoed = asyncio.run(ask())
    assert [found.as_numpy("score").shape[0] for found in rows] == list(range(1, 33))
    for name in ELEMENT:
        np.testing.assert_array_equal(
            text_of(echoed.as_numpy(f"{name.lower()}_out")), text_of(sample(name).astype(object))
        )


# ---------------------------------------------------------------------- refusals


def refusal(
    client: triton.InferenceServerClient, *tensors: triton.InferInput, **more: Any
) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("fraud", list(tensors), **more)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def test_refusals_say_what_rest_says(serving: GrpcServing, client: triton.InferenceServerClient) -> None:
    before = serving.statuses().get("400", 0)
    wide = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.zeros((1, 4), np.float32))
    assert refusal(client, wide) == ("INVALID_ARGUMENT", "x: expected shape [batch, 3], got [1, 4]")
    other = triton.InferInput("y", [1, 3], "FP32").set_data_from_numpy(np.zeros((1, 3), np.float32))
    assert refusal(client, other) == ("INVALID_ARGUMENT", "y: no such input; the model takes x; x: missing")
    long = triton.InferInput("x", [1, 3], "INT64").set_data_from_numpy(np.zeros((1, 3), np.int64))
    assert refusal(client, long) == ("INVALID_ARGUMENT", "x: expected datatype FP32, got INT64")
    shared = triton.InferInput("x", [1, 3], "FP32").set_shared_memory("region", 12)
    assert "shared memory is not offered" in refusal(client, shared)[1]
    assert "no state is kept" in refusal(client, zeros(), sequence_id=7)[1]
    assert "no such output" in refusal(client, zeros(), outputs=[triton.InferRequestedOutput("z")])[1]
    assert refusal(client, zeros(), model_version="2")[0] == "NOT_FOUND"
    assert serving.statuses()["400"] == before + 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("negative", "shape: expected sizes of 0 to"),
        ("several", "expected one entry for each of 1 inputs, got 2"),
        ("short", r"FP32 of shape \[1, 3\] takes 12 bytes, got 4"),
        ("both", "give contents or raw_input_contents, not both"),
        ("kind", "FP32 is sent in fp32_contents, got int_contents"),
        ("nothing", r"shape \[1, 3\] takes 3 elements, got 0"),
        ("axes", "at most 32 axes|expected shape"),
    ],
    ids=["negative", "several", "short", "both", "kind", "nothing", "axes"],
)
def test_malformed_requests_are_named(channel: grpc.Channel, change: str, says: str) -> None:
    request = service_pb2.ModelInferRequest(model_name="fraud")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    if change == "negative":
        tensor.shape[0] = -1
    elif change == "several":
        request.raw_input_contents.extend([bytes(12), bytes(12)])
    elif change == "short":
        request.raw_input_contents.append(bytes(4))
    elif change == "both":
        tensor.contents.fp32_contents.append(1)
        request.raw_input_contents.append(bytes(12))
    elif change == "kind":
        tensor.contents.int_contents.append(1)
    elif change == "axes":
        tensor.shape.extend([1] * 100)
    with pytest.raises(grpc.RpcError) as caught:
        _infer(channel)(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(says, caught.value.details())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("gone", code="x"), grpc.StatusCode.NOT_FOUND),
        (TooLarge("much", code="x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Unavailable("later", code="x"), grpc.StatusCode.UNAVAILABLE),
        (ModelFailed("the model said \u00e4 100 %\n", code="x"), grpc.StatusCode.INTERNAL),
    ],
    ids=["404", "413", "503", "500"],
)
def test_errors_of_a_run_have_their_status_and_text(
    serving: GrpcServing, client: triton.InferenceServerClient, error: RequestError, code: grpc.StatusCode
) -> None:
    serving.lanes["fraud"].error = error
    try:
        assert refusal(client, zeros()) == (code.name, error.message)
    finally:
        serving.lanes["fraud"].error = None


def test_a_failure_of_ours_is_internal_and_names_the_request(
    serving: GrpcServing, client: triton.InferenceServerClient
) -> None:
    serving.lanes["fraud"].error = RuntimeError("a bug")
    try:
        code, text = refusal(client, zeros())
    finally:
        serving.lanes["fraud"].error = None
    assert code == "INTERNAL"
    assert "the log of the server has it under request id" in text
    assert client.infer("fraud", [zeros()]).as_numpy("score").shape == (1, 1)


def test_a_deadline_is_the_ticket_s(serving: GrpcServing, client: triton.InferenceServerClient) -> None:
    """The earlier of the call's (`grpc-timeout`) and the message's (`timeout`, microseconds)."""
    lane = serving.lanes["fraud"]
    client.infer("fraud", [zeros()], client_timeout=60)
    assert 50 < (lane.tickets[-1].deadline or 0) - time.perf_counter() < 61  # gRPC rounds
    client.infer("fraud", [zeros()], client_timeout=60, timeout=30_000_000)
    assert 20 < (lane.tickets[-1].deadline or 0) - time.perf_counter() <= 30
    assert refusal(client, zeros(), timeout=1) == (
        "DEADLINE_EXCEEDED", "the deadline of the request passed before its run",
    )  # fmt: skip
    client.infer("fraud", [zeros()])
    assert lane.tickets[-1].deadline is None


@pytest.mark.parametrize("how", ["cancelled", "deadline", "connection"])
def test_no_work_is_done_for_a_call_that_nobody_waits_for(tmp_path: Path, how: str) -> None:
    serving = GrpcServing(service(fraud(tmp_path)))
    lane = serving.lanes["fraud"]
    serving.thread.call(lane.hold)
    channel = grpc.insecure_channel(serving.host)
    request = service_pb2.ModelInferRequest(model_name="fraud")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    try:
        call = _infer(channel).future(request, timeout=0.2 if how == "deadline" else None)
        assert lane.arrived.acquire(timeout=10)
        if how == "cancelled":
            call.cancel()
        elif how == "connection":
            channel.close()
        if how == "deadline":
            assert call.exception(10).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        _until(lambda: lane.tickets[0].abandoned)
        serving.thread.call(lane.let_go)
        _until(lambda: serving.statuses() == {"499": 1})
        assert lane.runs == 0
    finally:
        channel.close()
        assert serving.stop() == 0


def _until(happened: Any) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


# ---------------------------------------------------------------------- limits, slow and odd clients


def test_a_message_above_the_limit_is_refused_on_its_first_bytes(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(body_bytes=1000))
    try:
        with triton.InferenceServerClient(serving.host) as client:
            assert client.infer("fraud", [zeros(20)]).as_numpy("score").shape == (20, 1)
            code, text = refusal(client, zeros(100))
            assert (code, "at most 1000 are taken" in text) == ("RESOURCE_EXHAUSTED", True)
            code, text = refusal(client, zeros(10_000), compression_algorithm="gzip")
            assert (code, "once decompressed" in text) == ("RESOURCE_EXHAUSTED", True)
            assert client.infer("fraud", [zeros(1)]).as_numpy("score").shape == (1, 1)
    finally:
        assert serving.stop() == 0
        assert serving.server.connections.held_bytes == 0


def test_too_much_in_memory_is_refused_for_now(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(total_body_bytes=1000))
    try:
        with triton.InferenceServerClient(serving.host) as client:
            assert refusal(client, zeros(1000))[0] == "UNAVAILABLE"
            assert client.infer("fraud", [zeros(1)]).as_numpy("score").shape == (1, 1)
    finally:
        assert serving.stop() == 0


def test_one_connection_too_many_is_closed(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(connections=1))
    try:
        with socket.create_connection(serving.address), socket.create_connection(serving.address) as second:
            second.settimeout(10)
            assert second.recv(1) == b""
    finally:
        serving.stop(0)


def test_a_client_that_says_nothing_is_dropped(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(head_s=0.1))
    try:
        with socket.create_connection(serving.address, timeout=10) as silent:
            while silent.recv(4096):
                pass
    except ConnectionResetError:
        pass
    finally:
        assert serving.stop() == 0


def test_a_request_that_does_not_arrive_is_ended(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(body_s=0.1))
    never = threading.Event()

    def slowly() -> Iterator[bytes]:
        never.wait(10)
        yield b""

    try:
        with grpc.insecure_channel(serving.host) as channel:
            answer = channel.stream_unary(INFER).future(slowly())
            error = answer.exception(10)
            never.set()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive within 0.1 s" in error.details()
    finally:
        never.set()
        assert serving.stop() == 0


@pytest.mark.parametrize("gives_up", [False, True], ids=["waits", "resets"])
def test_a_client_that_opens_no_window_does_not_get_its_answer(tmp_path: Path, gives_up: bool) -> None:
    """The answer is not kept for ever, and the call is counted once, as it was answered."""
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(write_s=0.1))
    live = b"/inference.GRPCInferenceService/ServerLive"
    reset = frames.frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(frames.Code.CANCEL))
    try:
        with socket.create_connection(serving.address, timeout=10) as client:
            opening = frames.PREFACE + frames.settings(((frames.INITIAL_WINDOW_SIZE, 0),))
            client.sendall(opening + frames.frame(frames.SETTINGS, frames.ACK, 0) + call(1, live))
            got = b""
            if gives_up:
                client.sendall(reset)
            else:
                while reset not in got:
                    got += client.recv(4096)
            ping = frames.frame(frames.PING, 0, 0, b"8 bytes.")
            client.sendall(ping)
            while b"8 bytes." not in got:
                got += client.recv(4096)
            assert serving.server.connections.in_flight == 0
        assert serving.statuses("grpc/ServerLive") == {"200": 1}
    finally:
        assert serving.stop() == 0


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    serving = GrpcServing(
        service(served("one", one_echo(tmp_path / "one.onnx", "FP32", ["n"]))), GrpcLimits(write_s=0.1)
    )
    request = messages.InferRequest(model_name="one")
    request.inputs.add(name="x", datatype="FP32", shape=[4_000_000])
    request.raw_input_contents.append(bytes(16_000_000))
    body = request.SerializeToString()
    windows = frames.settings(((frames.INITIAL_WINDOW_SIZE, frames.LARGEST),)) + frames.frame(
        frames.WINDOW_UPDATE, 0, 0, frames.WORD.pack(2**30)
    )
    try:
        with socket.create_connection(serving.address, timeout=10) as client:
            client.sendall(frames.PREFACE + windows + frames.frame(frames.SETTINGS, frames.ACK, 0))
            whole = call(1, INFER.encode(), body, pieces=True)
            client.sendall(whole)
            _until(lambda: len(serving.server.connections) == 0)
    except ConnectionError:
        pass
    finally:
        assert serving.stop() == 0
    assert serving.server.connections.held_bytes == 0


def call(number: int, path: bytes, message: bytes = b"", *, pieces: bool = False) -> bytes:
    """A call as frames; `pieces`: as many DATA frames as a long message takes."""
    head = b"".join(
        frames.literal(name, value)
        for name, value in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", b"application/grpc"),
        )
    )  # fmt: skip
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    size = 16_384 if pieces else len(body)
    data = [
        frames.frame(
            frames.DATA, frames.END_STREAM if at + size >= len(body) else 0, number, body[at : at + size]
        )
        for at in range(0, len(body), size)
    ]
    return frames.frame(frames.HEADERS, frames.END_HEADERS, number, head) + b"".join(data)


def test_an_idle_connection_is_sent_away_and_comes_back(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)), GrpcLimits(idle_s=0.05, linger_s=0.05))
    try:
        with triton.InferenceServerClient(serving.host) as client:
            for _ in range(3):
                assert client.infer("fraud", [zeros()]).as_numpy("score").shape == (1, 1)
                _until(lambda: len(serving.server.connections) == 0)
    finally:
        assert serving.stop() == 0


def test_a_person_who_meant_rest_is_told(tmp_path: Path) -> None:
    serving = GrpcServing(service(fraud(tmp_path)))
    try:
        with socket.create_connection(serving.address, timeout=10) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
            answer = b""
            while data := client.recv(4096):
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"Content-Length: %d" % len(body) in head
    finally:
        assert serving.stop() == 0


def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    serving = GrpcServing(service(fraud(tmp_path)), tls=server_context(authority.issue()))
    try:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        with triton.InferenceServerClient(
            f"localhost:{serving.address[1]}", ssl=True, creds=credentials
        ) as client:
            assert client.infer("fraud", [zeros()]).as_numpy("score").shape == (1, 1)
    finally:
        assert serving.stop() == 0


# ---------------------------------------------------------------------- draining


def test_a_drain_answers_what_is_here_and_sends_clients_to_the_next_worker(tmp_path: Path) -> None:
    """Two faces on one listening socket, as two workers are: no call fails when the first one leaves."""
    first = GrpcServing(service(fraud(tmp_path)))
    lane = first.lanes["fraud"]
    first.thread.call(lane.hold)
    with triton.InferenceServerClient(first.host) as client, ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client.infer, "fraud", [zeros()])
        assert lane.arrived.acquire(timeout=10)
        second = GrpcServing(service(fraud(tmp_path)), listener=first.listener.dup())
        leaving = pool.submit(first.thread.run, first.server.drain(10))
        (connection,) = first.server.connections._open
        assert isinstance(connection, GrpcConnection)
        _until(lambda: connection._http2.was_told)  # the client knows, and has said so
        assert client.infer("fraud", [zeros(2)]).as_numpy("score").shape == (2, 1)
        assert second.lanes["fraud"].runs == 1
        first.thread.call(lane.let_go)
        assert waiting.result(10).as_numpy("score").shape == (1, 1)
        assert leaving.result(10) == 0
    assert first.stop() == 0
    assert second.stop() == 0


def test_draining_is_not_ready(serving: GrpcServing, client: triton.InferenceServerClient) -> None:
    serving.server.service.draining = True
    try:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("fraud")
    finally:
        serving.server.service.draining = False


# ---------------------------------------------------------------------- abuse


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_bytes_never_harm_the_worker(serving: GrpcServing, data: st.DataObject) -> None:
    """Plain noise, noise behind a good opening, damaged calls: the client is cut off, the next one is served."""
    whole = call(1, INFER.encode(), data.draw(st.binary(max_size=60)))
    opening = frames.PREFACE + frames.settings(())
    frame = st.builds(
        lambda kind, flags, stream, body: frames.frame(kind, flags, stream, body),
        st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40),
    )  # fmt: skip
    noise = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=200).map(lambda junk: opening + junk),
            st.lists(st.one_of(frame, st.just(whole)), max_size=8).map(lambda all_: opening + b"".join(all_)),
            st.integers(0, len(whole) - 1).map(lambda at: opening + whole[:at] + b"\xff" + whole[at + 1 :]),
        )
    )
    with socket.create_connection(serving.address, timeout=10) as client:
        try:
            client.sendall(noise)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except ConnectionError:
            pass
    assert serving.thread.reported == []


def test_the_worker_still_serves_after_the_noise(client: triton.InferenceServerClient) -> None:
    assert client.infer("fraud", [zeros()]).as_numpy("score").shape == (1, 1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.binary(max_size=120))
def test_random_messages_are_refused_politely(serving: GrpcServing, message: bytes) -> None:
    with grpc.insecure_channel(serving.host) as channel:
        try:
            channel.unary_unary(INFER)(message)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)  # noqa: PT017


def test_the_status_numbers_are_grpc_s() -> None:
    theirs = {code.name: code.value[0] for code in grpc.StatusCode}
    assert {status.name: int(status) for status in Status}.items() <= theirs.items()
