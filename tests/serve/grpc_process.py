"""A worker process with two listening sockets, as a supervisor starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from sealift.serve import control
from sealift.serve.listening import GRPC_FD

WORKER = """
import atexit, json, os, socket, sys
from pathlib import Path
from sealift.model.declaration import TensorInput, TensorOutput
from sealift.model.service import ServedModel, Service
from sealift.model.signature import Signature, TensorSpec
from sealift.observe.exposition import render
from sealift.serve.listening import GRPC_FD
from sealift.serve.worker import WorkerOptions, run_worker

flags = dict(arg.lstrip("-").split("=") for arg in sys.argv[3:])
signature = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("batch", 3)),),
    outputs=(TensorSpec(name="score", datatype="FP32", shape=("batch", 1)),), batch_axis="batch",
)
model = ServedModel("fraud", Path(sys.argv[1]), signature, TensorInput(), TensorOutput())
number = os.environ.get(GRPC_FD)
code = run_worker(
    Service("fraud", sys.argv[2], (model,)), socket.socket(fileno=int(flags["listen-fd"])),
    WorkerOptions(drain_s=5, grace_s=0.2, beat_s=0.05), render_metrics=render,
    channel=socket.socket(fileno=int(flags["supervisor-fd"])),
    grpc=socket.socket(fileno=int(number)) if number else None,
)
if sys.argv[2] == "1.0":
    print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("hpack", "google", "grpc", "sealift")]))
sys.exit(code)
"""


def start(
    model: Path, http: socket.socket, second: socket.socket | None
) -> tuple[subprocess.Popen[str], socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    fds = [http.fileno(), theirs.fileno(), *([second.fileno()] if second else [])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if second is not None:
        environ[GRPC_FD] = str(second.fileno())
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable, "-c", WORKER, str(model), "1.0",
                f"--listen-fd={fds[0]}", f"--supervisor-fd={fds[1]}",
            ],
            pass_fds=fds, stdout=subprocess.PIPE, text=True, env=environ,
        )  # fmt: skip
    ready = ours.makefile("rb").readline()
    assert (control.decode(ready) or {}).get("ready") is True
    return process, ours


def end(process: subprocess.Popen[str], channel: socket.socket) -> set[str]:
    """The modules it had loaded."""
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    channel.close()
    assert process.returncode == 0
    return set(json.loads(out))
