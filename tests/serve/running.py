"""Real servers on real sockets for tests: an event loop in a thread, raw clients outside."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from sealift.model.service import Service
from sealift.observe.exposition import render
from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Outcome, Reply, Request, problem
from sealift.serve.http.protocol import HttpConnection
from sealift.serve.http.server import HttpServer
from sealift.serve.worker import Worker, WorkerOptions, load_all

Result = TypeVar("Result")


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.reported: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.reported.append(dict(context)))
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()

    def call(self, what: Callable[[], Result]) -> Result:
        """Run in the loop's thread and wait for the result."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(what())
            except BaseException as error:  # noqa: BLE001 - handed to the test's thread
                future.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return future.result(10)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Echo:
    """An application for tests: `/echo` gives the body back, `/slow` waits until the test answers."""

    def __init__(self) -> None:
        self.pending: list[Request] = []
        self.finishes: list[tuple[bytes, int]] = []
        self.arrived = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def admit(self, request: Request) -> Reply | None:
        if request.path.startswith(b"/refused"):
            return problem(404, "not_found", "no such path")
        return None

    def again(self, request: Request) -> Outcome:
        request.refusal = self.admit(request)
        return request.refusal or self.answer(request)

    def answer(self, request: Request) -> Outcome:
        if request.path == b"/big":
            return Reply(200, b"x" * int(request.query))
        if request.path == b"/parts":
            return Reply(200, (b"one", memoryview(b"two"), b"three"), b"text/plain")
        if request.path == b"/boom":
            raise RuntimeError("a route that fails")
        if request.path != b"/slow":
            return Reply(200, b"%b %b?%b|%b" % (request.method, request.path, request.query, request.body))
        self.pending.append(request)
        self.arrived.release()
        return None

    def finished(self, request: Request, status: int, sent: int, now: float) -> None:
        assert now >= request.arrived
        self.finishes.append((request.path, status))
        self.ended.release()


@dataclass
class Answer:
    """One parsed answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A raw socket that speaks only what a test writes."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self._rest:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._rest)
            self._rest += data
        head, _, self._rest = self._rest.partition(end)
        return head + end

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer; Content-Length framing."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        size = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._rest) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._rest)
            self._rest += data
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(int(lines[0].split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Whether the server closed its side, with nothing more said; blocks until it says either."""
        try:
            return not self._rest and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


class Serving:
    """A real worker with real models, in a thread; `stop` drains it and gives its exit code."""

    def __init__(self, service: Service, options: WorkerOptions | None = None) -> None:
        self.options = options or WorkerOptions(drain_s=5, grace_s=0)
        self.predictors = load_all(service, self.options.run)
        self.worker = Worker(service, self.predictors, self.options, render)
        self.thread = LoopThread()
        listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listener.getsockname()
        self.host = f"127.0.0.1:{self.address[1]}"
        self.url = f"http://{self.host}"
        ready = threading.Event()
        serving = self.worker.serve(listener, ready.set)
        self.exit_code = asyncio.run_coroutine_threadsafe(serving, self.thread.loop)
        assert ready.wait(10)

    def connect(self) -> Client:
        return Client(self.address)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = HTTPConnection(*self.address, timeout=10)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        finally:
            connection.close()

    def post(self, path: str, document: object) -> Answer:
        return self.ask("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def stop(self) -> int:
        self.thread.call(self.worker.stop)
        code = self.exit_code.result(20)
        self.thread.close()
        return code


class Front:
    """The HTTP front over `Echo`, with a clock that stands still; `listener` stays usable by the test."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        self.thread = LoopThread()
        self.app = Echo()
        self.clock = Clock()
        self.connections = Connections(self.app, "fraud@1.0.0", limits or HttpLimits(), self.clock)
        self.server = HttpServer(self.connections)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listener.getsockname()
        self.thread.run(self.server.listen(listener))

    def connect(self) -> Client:
        return Client(self.address)

    def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.send(data).answer()

    def pass_time(self, seconds: float) -> None:
        """Let time go by and every connection look at the clock."""

        def tick() -> None:
            self.clock.now += seconds
            self.connections.expire(self.clock.now)

        self.thread.call(tick)

    def wait_until(self, happened: Callable[[HttpConnection], bool] | None) -> None:
        """Until it is true for a connection, or (None) until there is no connection."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.thread.call(lambda: self._check(happened)):
                return
        raise TimeoutError("it did not happen in 10 s")

    def _check(self, happened: Callable[[HttpConnection], bool] | None) -> bool:
        found = [one for one in self.connections._open if isinstance(one, HttpConnection)]
        return not found if happened is None else any(map(happened, found))

    def resolve(self, reply: Reply, number: int = 0) -> None:
        """Answer a request that waits at `/slow`."""
        request = self.app.pending[number]
        self.thread.call(lambda: request.connection.reply(request, reply))

    def close(self) -> None:
        self.thread.run(self.server.drain(0, 0))
        self.thread.close()
