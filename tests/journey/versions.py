"""One real service in several versions: a small net that multiplies by its version, packed and signed for real.

Handlers make the bad ones: they behave on golden inputs and turn bad under traffic.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from tests.journey.conftest import sealift
from tests.models_zoo import info, model, node, save

WAIT_S = 60.0
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")


def write_version(folder: Path, version: str, factor: float, handler: str = "", more: str = "") -> Path:
    """A project whose model answers y = factor * x for x of shape [batch, 3]."""
    project = folder / f"project-{version}"
    constant = numpy_helper.from_array(np.array([factor], np.float32), "factor")
    net = model(
        [node("Mul", ["x", "factor"], ["y"])],
        [info("x", TensorProto.FLOAT, ["batch", 3])],
        [info("y", TensorProto.FLOAT, ["batch", 3])],
        [constant],
    )
    save(net, project)
    lines = ["[project]", 'name = "times"', f'version = "{version}"', "[model]", 'path = "net.onnx"']
    if handler:
        (project / "handler.py").write_text(handler)
        lines += ["[handler]", 'module = "handler.py"']
    (project / "sealift.toml").write_text("\n".join([*lines, more]))
    return project


def pack_version(folder: Path, version: str, factor: float, handler: str = "", more: str = "") -> Path:
    """The signed bundle of that version."""
    project = write_version(folder, version, factor, handler, more)
    bundle = folder / f"times-{version}"
    sealift("pack", project, "-o", bundle, *SIGNING, cwd=folder)
    return bundle


def install(folder: Path, bundle: Path, *more: str, code: int = 0) -> str:
    """`sealift install` under `box/`; what it said on both streams."""
    trust = ("--trust", "keys/root.json", "--prefix", "box", "--no-input")
    command = [sys.executable, "-m", "sealift", "install", str(bundle), *trust, *more]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S * 2
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def status(folder: Path) -> dict[str, Any]:
    """`sealift status times --json`, the service's part."""
    command = [sys.executable, "-m", "sealift", "status", "times", "--json", "--prefix", "box"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S)
    service: dict[str, Any] = json.loads(done.stdout)["services"][0]
    return service


def until(folder: Path, *phases: str) -> dict[str, Any]:
    """Wait for a phase of the journal; the status that shows it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = status(folder)
        if found["phase"] in phases and found["state"] == "SERVING":
            return found
    raise AssertionError(f"no {phases}: {found}")


@dataclass
class Client:
    """Never retries: a request that fails is a failure. Honours `Connection: close` for the next request.

    `factors`: release -> what it multiplies by; an answer's header must agree with its content.
    """

    address: str
    factors: Mapping[str, float]
    path: str = "/predict"
    failures: list[str] = field(default_factory=list)
    latencies_s: list[tuple[float, float]] = field(default_factory=list)
    releases: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, connections: int, stop: threading.Event, most: int = 10**9) -> None:
        """Send over that many keep-alive connections until `stop` or `most` requests each."""
        threads = [threading.Thread(target=self._send, args=(stop, most)) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, stop: threading.Event, most: int) -> None:
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=WAIT_S)
        body = json.dumps({"inputs": {"x": [[1.0, 2.0, 3.0]]}}).encode()
        failures: list[str] = []
        latencies: list[tuple[float, float]] = []
        releases: dict[str, int] = {}
        statuses: dict[int, int] = {}
        for _ in range(most):
            if stop.is_set():
                break
            began = time.perf_counter()
            try:
                connection.request("POST", self.path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
                continue
            latencies.append((began, time.perf_counter() - began))
            release = answer.headers["X-Sealift-Release"]
            releases[release] = releases.get(release, 0) + 1
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            problem = self._problem(answer.status, release, data)
            if problem:
                failures.append(problem)
        connection.close()
        with self._lock:
            self.failures += failures
            self.latencies_s += latencies
            for release, count in releases.items():
                self.releases[release] = self.releases.get(release, 0) + count
            for code, count in statuses.items():
                self.statuses[code] = self.statuses.get(code, 0) + count

    def _problem(self, code: int, release: str, data: bytes) -> str:
        if code != 200:
            return f"{code}: {data[:200]!r}"
        factor = self.factors.get(release)
        if factor is None:
            return ""
        answer = json.loads(data)
        found = first_number(answer)
        if found != factor:
            return f"{release} answered {found}: {data[:200]!r}"
        return ""

    def p99_s(self, since: float, until_s: float) -> float:
        """Of the requests sent in that span of `time.perf_counter`."""
        chosen: Sequence[float] = [took for at, took in self.latencies_s if since <= at < until_s]
        return float(np.percentile(np.array(chosen), 99))


def first_number(value: Any) -> float | None:
    """The first number of an answer's outputs, wherever it stands."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    children: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        found = first_number(child)
        if found is not None:
            return found
    return None
