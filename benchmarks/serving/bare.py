"""The control of DESIGN 4: uvloop + httptools + msgspec, one process, nothing that a service needs around the model.

No routes, no limits, no checks, no metrics. Table rows that arrived in one turn of the loop run as one batch, in the
loop; photos and tensors run one by one on two threads, single-threaded runs on one shared session. `CASE=echo` reads
the body and answers, no model: what a request of that size costs by itself.

    MODELS=FOLDER CASE=tab|tabv2|img|raw|echo PORT=N python benchmarks/serving/bare.py
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httptools
import msgspec
import numpy as np
import uvloop
from models import decode, session

CASE, MOST = os.environ["CASE"], 32
encode = msgspec.json.Encoder().encode


class Row(msgspec.Struct):
    input: list[float]


class Photo(msgspec.Struct):
    image: str


class Tensor(msgspec.Struct):
    data: list[float]


class Tensors(msgspec.Struct):
    inputs: list[Tensor]


def main() -> None:
    loop = uvloop.new_event_loop()
    answer = ready(Path(os.environ["MODELS"]), loop)
    listening = loop.create_server(
        lambda: Connection(answer), "127.0.0.1", int(os.environ["PORT"]), backlog=512
    )
    loop.run_until_complete(listening)
    loop.run_forever()


def ready(models: Path, loop: asyncio.AbstractEventLoop) -> Callable[[Connection, bytes], None]:
    """What is done with a whole body."""
    if CASE == "echo":
        return lambda connection, body: connection.send(encode({"bytes": len(body)}))
    if CASE in ("tab", "tabv2"):
        return rows(session(models / "table.onnx", 1), loop)
    return pictures(session(models / "lite0.onnx", 1), loop)


def rows(model: Any, loop: asyncio.AbstractEventLoop) -> Callable[[Connection, bytes], None]:
    one, several = msgspec.json.Decoder(Row).decode, msgspec.json.Decoder(Tensors).decode
    waiting: list[tuple[Connection, list[float]]] = []

    def flush() -> None:
        gathered = waiting[:]
        waiting.clear()
        for start in range(0, len(gathered), MOST):
            batch = gathered[start : start + MOST]
            found = model.run(None, {"input": np.array([row for _, row in batch], np.float32)})[0].tolist()
            for (connection, _), probs in zip(batch, found, strict=True):
                connection.send(encode({"probs": [probs]}))

    def answer(connection: Connection, body: bytes) -> None:
        if not waiting:
            loop.call_soon(flush)
        waiting.append((connection, one(body).input if CASE == "tab" else several(body).inputs[0].data))

    return answer


def pictures(model: Any, loop: asyncio.AbstractEventLoop) -> Callable[[Connection, bytes], None]:
    photo, pool = msgspec.json.Decoder(Photo).decode, ThreadPoolExecutor(2)

    def run(body: bytes) -> int:
        if CASE == "img":
            pixels = decode(base64.b64decode(photo(body).image))[None]
        else:
            pixels = np.frombuffer(body, np.float32).reshape(-1, 3, 224, 224)
        return int(model.run(None, {"input": pixels})[0].argmax())

    def answer(connection: Connection, body: bytes) -> None:
        def done(future: asyncio.Future[int]) -> None:
            connection.send(encode({"class": future.result()}))

        loop.run_in_executor(pool, run, body).add_done_callback(done)

    return answer


class Connection(asyncio.Protocol):
    def __init__(self, answer: Callable[[Connection, bytes], None]) -> None:
        self.answer = answer
        self.parts: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts = []
        self.answer(self, body)

    def send(self, body: bytes) -> None:
        if not self.transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
            self.transport.write(b"%s%d\r\n\r\n%s" % (head, len(body), body))


if __name__ == "__main__":
    main()
