"""Start a contender, wait for its first right answer, load it with wrk, look at its memory, stop it."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from contenders import Contender, Route
from machine import FOREIGN_CORES, Server, free_ports, put_first, wait_quiet, watched
from models import cache

HERE: Final = Path(__file__).resolve().parent
READY_WITHIN_S: Final = 90.0
ERRORS_FOR_S: Final = 15.0
"""A server that answers, but never 200, for so long is not merely loading."""


class NotMeasured(Exception):
    """A contender that does not start, or answers wrongly; says why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of wrk. Latencies in ms; cores: CPU seconds per second."""

    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    server_cores: float
    client_cores: float
    foreign: float

    def as_json(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that has given its first right answer, `ready_s` after its process began."""

    server: Server
    contender: Contender
    route: Route
    models: Path
    port: int
    ready_s: float

    def measure(self, connections: int, seconds: int) -> Measured:
        """Load it; once more if somebody else used the machine meanwhile, and the quieter run counts."""
        found = self._once(connections, seconds)
        if found.foreign > FOREIGN_CORES:
            again = self._once(connections, seconds)
            found = min(found, again, key=lambda one: one.foreign)
        return found

    def warm_up(self) -> None:
        for process in self.server.tree():
            put_first(process.pid)
        self._wrk(8, 1)

    def _once(self, connections: int, seconds: int) -> Measured:
        wait_quiet()
        with watched(self.server.process.pid) as usage:
            found = self._wrk(connections, seconds)
        found = {key: value for key, value in found.items() if key != "requests"}
        return Measured(**found, server_cores=usage.server, client_cores=usage.client, foreign=usage.foreign)

    def _wrk(self, connections: int, seconds: int) -> dict[str, Any]:
        body = self.models / f"body-{self.route.body}"
        environment = {**os.environ, "BODY": str(body), "CT": self.route.content_type}
        if self.route.has_header_length:
            environment["HLEN"] = Path(f"{body}.header-length").read_text()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
        command += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{self.port}{self.route.path}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("JSON ")), None)
        if line is None:
            raise NotMeasured(f"wrk: {(done.stdout + done.stderr)[-300:]}")
        found: dict[str, Any] = json.loads(line.removeprefix("JSON "))
        return found


@contextlib.contextmanager
def running(contender: Contender, case: str, models: Path, peers: Path) -> Iterator[Running]:
    """The contender, ready and right, for one case; nothing of it is left afterwards.

    `CASE` tells the server which model and form it is to serve; the echo has one of its own.

    Raises: NotMeasured: it ended, was not ready in time, or answered something else than the model does in process.
    """
    port = free_ports(5)
    route = contender.routes[case]
    variables = {"PORT": str(port), "CASE": case, "MODELS": str(models), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **variables, **contender.variables}
    environment.pop("PYTHONPATH", None)
    environment["WORK"] = str(cache() / "work" / f"{contender.name}-{case}".replace(" ", "-"))
    server = Server(contender.argv(peers, port), environment, Path(environment["WORK"]))
    try:
        answer = _first_answer(server, route, models, port)
        ready_s = time.perf_counter() - server.began
        if not is_right(answer, environment["CASE"], json.loads((models / "expected.json").read_text())):
            raise NotMeasured(f"wrong answer: {answer[:200]!r}")
        yield Running(server, contender, route, models, port, ready_s)
    finally:
        server.stop()


def is_right(answer: bytes, case: str, expected: dict[str, Any]) -> bool:
    """Claims that the answer holds what the model says in process.

    Table: both probabilities, to 1e-4. Photos: the class (decoders and their scaling differ in the last bits).
    Tensors: the class; or all logits, to 1e-3, where the server sends them back as binary.
    """
    if case == "echo":
        return True
    head, numbers = _split(answer)
    if case.startswith("tab"):
        return all(any(math.isclose(n, p, abs_tol=1e-4) for n in numbers) for p in expected["probs"])
    binary = answer[head:]
    if len(binary) == 4 * len(expected["logits"]):
        logits = memoryview(binary).cast("f")
        return all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip(logits, expected["logits"], strict=True))
    return float(expected["class"]) in numbers


def request(route: Route, models: Path) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one request."""
    path = models / f"body-{route.body}"
    headers = {"Content-Type": route.content_type}
    if route.has_header_length:
        headers["Inference-Header-Content-Length"] = Path(f"{path}.header-length").read_text()
    return path.read_bytes(), headers


def _first_answer(server: Server, route: Route, models: Path, port: int) -> bytes:
    body, headers = request(route, models)
    last, answers_since = "no connection", math.inf
    while (now := time.perf_counter()) - server.began < READY_WITHIN_S and now - answers_since < ERRORS_FOR_S:
        if not server.alive():
            raise NotMeasured(f"ended: {_tail(server.log)}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", route.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        else:
            if response.status == 200:
                return answer
            last, answers_since = f"{response.status} {answer[:200]!r}", min(answers_since, now)
        time.sleep(0.01)
    raise NotMeasured(f"no 200, last: {last}")


def _split(answer: bytes) -> tuple[int, list[float]]:
    """Length of the JSON at the front, and every number in it."""
    try:
        text = answer.decode("utf-8", "surrogateescape")
        value, end = json.JSONDecoder().raw_decode(text)
        return len(text[:end].encode("utf-8", "surrogateescape")), list(_numbers(value))
    except ValueError:
        return 0, []


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one)


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-400:]


def limits(case: str, models: Path, seconds: float) -> dict[str, float]:
    """Layout -> runs per second in process."""
    command = [sys.executable, str(HERE / "limit.py"), case, str(seconds)]
    environment = {**os.environ, "MODELS": str(models)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
