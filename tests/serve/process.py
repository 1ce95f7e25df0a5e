"""A real worker process with limits of the test's choosing, and what it costs: memory, descriptors, its log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.serve.running import Client

from sealift.serve import control

SCRIPT = """
import json, logging, resource, socket, sys
from pathlib import Path
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.service import ServedModel, Service
from sealift.model.signature import Signature, TensorSpec
from sealift.observe.exposition import render
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.tls import tls_files
from sealift.serve.worker import WorkerOptions, run_worker

wish = json.loads(sys.argv[1])
if wish["files"]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wish["files"], 64), wish["files"]))
logging.basicConfig(level=logging.INFO)
signature = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 3)),),
    outputs=(TensorSpec(name="score", datatype="FP32", shape=("batch", 1)),), batch_axis="batch",
)
model = ServedModel("fraud", Path(wish["model"]), signature, TensorInput(), TensorOutput())
listener, channel = socket.socket(fileno=wish["listener"]), socket.socket(fileno=wish["channel"])
options = WorkerOptions(
    drain_s=5, grace_s=0.1, http=HttpLimits(**wish["limits"]), tls=tls_files(*wish["tls"])
)
sys.exit(run_worker(Service("fraud", "1.0", (model,)), listener, options, render_metrics=render, channel=channel))
"""


class WorkerProcess:
    """Started, ready, and held to ending without a word of complaint.

    Args:
        limits: of `HttpLimits`, by name.
        files: the hard limit of open files; 0: the caller's.
        tls: certificate and key.
    """

    def __init__(
        self,
        model: Path,
        limits: dict[str, Any] | None = None,
        *,
        files: int = 0,
        tls: tuple[str, str] | None = None,
    ) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address: tuple[str, int] = listener.getsockname()
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(30)
        wish = {
            "channel": theirs.fileno(),
            "files": files,
            "limits": limits or {},
            "listener": listener.fileno(),
            "model": str(model),
            "tls": tls or (None, None),
        }
        self._log = model.parent / f"worker-{self.address[1]}.log"
        with self._log.open("w") as log, theirs, listener:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, json.dumps(wish)],
                pass_fds=(listener.fileno(), theirs.fileno()),
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._heard = self._channel.makefile("rb")
        ready = control.decode(self._heard.readline()) or {}
        assert ready.get("ready") is True, self.log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        self._heard.close()
        self._channel.close()
        if kind is None:
            assert (code, "Traceback" in self.log) == (0, False), self.log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def resident_bytes(self) -> int:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) * 1024

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self) -> Client:
        return Client(self.address)

    def is_well(self) -> bool:
        """Claims that it still answers as it should."""
        body = json.dumps({"inputs": {"x": [[1, 2, 3], [4, 5, 6]]}}).encode()
        request = b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\n"
        with self.connect() as client:
            answer = client.send(request + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)).answer()
            return answer.status == 200 and len(answer.json()["prediction"]) == 2
