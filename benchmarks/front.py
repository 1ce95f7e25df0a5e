"""How much of a bare loop's speed the front keeps: requests/s side by side, as ratios.

The bare loop is the control of DESIGN 4 (uvloop + httptools + msgspec, nothing else): once with a run per
request, which is what the front does, and once with everything that arrived in a turn as one batch.
30 floats -> MLP. About 15 s: `PYTHONPATH=src python benchmarks/front.py`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

FIELDS, SECONDS, CONNECTIONS, ROUNDS = 30, 0.8, (1, 32), 3
VALUES = np.random.default_rng(3).standard_normal(FIELDS).astype(np.float32).tolist()


def make_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(7)
    sizes = (FIELDS, 64, 32, 2)
    constants, nodes, name = [], [], "input"
    for number, shape in enumerate(pairwise(sizes)):
        constants.append(
            numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), f"w{number}")
        )
        nodes.append(helper.make_node("MatMul", [name, f"w{number}"], [f"m{number}"]))
        kind, name = ("Softmax", "probs") if number == 2 else ("Relu", f"r{number}")
        nodes.append(helper.make_node(kind, [f"m{number}"], [name]))
    tensors = [
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["batch", size])
        for one, size in (("input", FIELDS), ("probs", 2))
    ]
    graph = helper.make_graph(nodes, "mlp", tensors[:1], tensors[1:], initializer=constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def bare(model: Path, listener: socket.socket, batching: bool) -> None:
    """The control: no routes, no limits, no checks, no metrics."""
    import httptools
    import msgspec

    from sealift.engine.onnxruntime import OnnxRuntime
    from sealift.engine.protocol import EngineOptions

    session = OnnxRuntime().load(model, EngineOptions(threads=1))._session

    class Row(msgspec.Struct):
        x: list[float]

    decode, encode = msgspec.json.Decoder(Row).decode, msgspec.json.Encoder().encode
    waiting: list[tuple[Any, list[float]]] = []

    def flush() -> None:
        rows = waiting[:]
        waiting.clear()
        found = session.run(None, {"input": np.array([row for _, row in rows], np.float32)})[0].tolist()
        for (connection, _), row in zip(rows, found, strict=True):
            connection.reply(row)

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.parser, self.parts = transport, httptools.HttpRequestParser(self), []

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_body(self, part: bytes) -> None:
            self.parts.append(part)

        def on_message_complete(self) -> None:
            row = decode(b"".join(self.parts)).x
            self.parts = []
            if not batching:
                self.reply(session.run(None, {"input": np.array([row], np.float32)})[0].tolist()[0])
                return
            if not waiting:
                asyncio.get_running_loop().call_soon(flush)
            waiting.append((self, row))

        def reply(self, row: list[float]) -> None:
            body = encode({"probs": [row]})
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
                body
            )
            self.transport.write(head + body)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Connection, sock=listener)
        await server.serve_forever()

    uvloop.run(main())


def front(model: Path, listener: socket.socket) -> None:
    from sealift.model.declaration import NumericColumn, TabularInput, TensorOutput
    from sealift.model.service import ServedModel, Service
    from sealift.model.signature import Signature, TensorSpec
    from sealift.observe.exposition import render
    from sealift.serve.worker import WorkerOptions, run_worker

    signature = Signature(
        inputs=(TensorSpec(name="input", datatype="FP32", shape=("batch", FIELDS)),),
        outputs=(TensorSpec(name="probs", datatype="FP32", shape=("batch", 2)),),
        batch_axis="batch",
    )
    columns = tuple(NumericColumn(name=f"f{number}") for number in range(FIELDS))
    served = ServedModel("mlp", model, signature, TabularInput(columns=columns), TensorOutput())
    service = Service("mlp", "1", (served,))
    run_worker(service, listener, WorkerOptions(), render_metrics=render, on_ready=lambda: None)


def message(path: str, body: bytes, headers: str = "") -> bytes:
    """A request as a common client writes it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def binary_infer() -> bytes:
    raw = np.array(VALUES, np.float32).tobytes()
    document = {
        "inputs": [
            {
                "name": "input",
                "shape": [1, FIELDS],
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(document).encode()
    return message("/v2/models/mlp/infer", text + raw, f"Inference-Header-Content-Length: {len(text)}\r\n")


class Load(asyncio.Protocol):
    """One connection that sends the next request when it has the answer to the last."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self._request, self._times = request, times
        self._data = b""
        self._size = -1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._size < 0:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._data[:end].lower()
            if b" 200 " not in head[:20]:
                sys.exit(self._data.decode("latin-1"))
            at = head.index(b"content-length: ") + 16
            self._size = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if len(self._data) >= self._size:
            self._times.append(time.perf_counter() - self._began)
            self._data, self._size = b"", -1
            self._next()


async def measure(port: int, request: bytes, connections: int, seconds: float) -> tuple[float, float]:
    """Requests/s and the median latency in ms."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    clients = [
        await loop.create_connection(lambda: Load(request, times), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(0.1)
    times.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    for transport, _ in clients:
        transport.abort()
    return len(times) / took, statistics.median(times) * 1e3


def start(target: Callable[..., None], *arguments: Any) -> tuple[multiprocessing.Process, int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port: int = listener.getsockname()[1]
    model, *rest = arguments
    process = multiprocessing.get_context("fork").Process(
        target=target, args=(model, listener, *rest), daemon=True
    )
    process.start()
    listener.close()
    return process, port


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "mlp.onnx"
        maker = multiprocessing.get_context("fork").Process(target=make_model, args=(model,))
        maker.start()
        maker.join()
        row = json.dumps({"x": VALUES}).encode()
        fields = json.dumps({f"f{number}": value for number, value in enumerate(VALUES)}).encode()
        tensor = {"name": "input", "shape": [1, FIELDS], "datatype": "FP32", "data": VALUES}
        infer = json.dumps({"inputs": [tensor]}).encode()
        bare_one, bare_batch, ours = start(bare, model, False), start(bare, model, True), start(front, model)
        cases = {
            "bare loop, a run each": (bare_one[1], message("/", row)),
            "bare loop, batching": (bare_batch[1], message("/", row)),
            "front, V2 JSON": (ours[1], message("/v2/models/mlp/infer", infer)),
            "front, V2 binary": (ours[1], binary_infer()),
            "front, /predict 30 fields": (ours[1], message("/predict", fields)),
            "front, /healthz": (ours[1], message("/healthz", b"").replace(b"POST", b"GET")),
        }
        try:
            report(cases)
        finally:
            for process, _ in (bare_one, bare_batch, ours):
                process.kill()


def report(cases: dict[str, tuple[int, bytes]]) -> None:
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    seconds = SECONDS / ROUNDS
    for _ in range(ROUNDS):  # interleaved, so that a noisy neighbour hits all of them
        for connections in CONNECTIONS:
            for name, (port, request) in cases.items():
                result = uvloop.run(measure(port, request, connections, seconds))
                found.setdefault((name, connections), []).append(result)
    for connections in CONNECTIONS:
        base = max(rate for rate, _ in found["bare loop, a run each", connections])
        print(f"\n{connections} connections{'requests/s':>26} {'p50 ms':>8} {'of bare':>8}")
        for name in cases:
            rate, latency = max(found[name, connections])
            print(f"{name:28}{rate:12,.0f} {latency:8.3f} {rate / base:8.2f}")


if __name__ == "__main__":
    main()
