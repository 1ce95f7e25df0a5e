"""`sealift serve` with a gRPC port: flag, setting, the sockets that systemd holds, and none by default."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.bad_projects import write_project
from tests.release_trees import build_runtime, stage
from tests.serve.certificates import Authority

from sealift.serve import control
from sealift.store.prefix import Prefix, private
from sealift.store.releases import activate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    folder = tmp_path_factory.mktemp("grpc")
    prefix = private(folder / "box")
    activate(prefix, stage(build_runtime(folder / "runtime"), write_project(folder / "p", "1.0"), prefix))
    return prefix


def sealift(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealift", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextlib.contextmanager
def serving(log: Path, box: Prefix, *words: str, **how: object) -> Iterator[str]:
    """A supervisor; yields the line in which it says where it serves."""
    command = [sys.executable, "-m", "sealift", "serve", "fraud", "--prefix", str(box.root), *words]
    with log.open("w") as errors:
        process = subprocess.Popen(
            how.pop("command", command),  # type: ignore[call-overload]
            stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, **how,
        )  # fmt: skip
        line = process.stdout.readline()
        try:
            assert line, log.read_text()
            yield line
        finally:
            process.terminate()
            process.wait(40)
            process.stdout.close()


def asks(port: str | int) -> str:
    """The release that answers an inference there."""
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_server_ready()
        (model,) = client.get_model_repository_index().models
        tensors = []
        for spec in client.get_model_metadata(model.name).inputs:
            shape = [1 if size < 0 else size for size in spec.shape]
            tensor = triton.InferInput(spec.name, shape, spec.datatype)
            tensors.append(tensor.set_data_from_numpy(np.zeros(shape, np.float32)))
        client.infer(model.name, tensors)
        return f"{model.name}@{model.version}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_by_default_there_is_no_grpc_port(box: Prefix, tmp_path: Path) -> None:
    with serving(tmp_path / "log", box, "--port", "0") as line:
        assert "gRPC" not in line
        status = control.ask(box.control("fraud"), "status")
        assert status["grpc_port"] is None
        inherited = Path(f"/proc/{status['worker']}/environ").read_text()
        assert "SEALIFT_GRPC_FD" not in inherited


def test_a_flag_gives_it_a_port(box: Prefix, tmp_path: Path) -> None:
    with serving(tmp_path / "log", box, "--port", "0", "--grpc-port", "0") as line:
        found = re.search(r"serving (\S+) on http://127\.0\.0\.1:\d+, gRPC on 127\.0\.0\.1:(\d+)$", line)
        assert found
        assert asks(found[2]) == found[1]
        assert control.ask(box.control("fraud"), "status")["grpc_port"] == int(found[2])


def test_with_https_both_ports_speak_tls(box: Prefix, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    tls = (f"--tls-certificate={files.certificate}", f"--tls-key={files.key}")
    with serving(tmp_path / "log", box, "--port", "0", "--grpc-port", "0", *tls) as line:
        port = line.rpartition(":")[2].strip()
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        with triton.InferenceServerClient(f"localhost:{port}", ssl=True, creds=credentials) as client:
            assert client.is_server_ready()


def test_a_box_that_sets_a_port_answers_there_from_the_next_start_on(box: Prefix, tmp_path: Path) -> None:
    port = free_port()
    done = sealift("config", "set", "fraud", f"grpc_port={port}", "--prefix", str(box.root))
    assert done.returncode == 0, done.stderr
    assert "host, ports, drain_s and tls count from the next start of sealift serve fraud" in done.stdout
    with serving(tmp_path / "log", box, "--port", "0") as line:
        assert line.rstrip().endswith(f"gRPC on 127.0.0.1:{port}")
        assert asks(port)
        assert control.ask(box.control("fraud"), "reload", 60)["ok"]
        assert asks(port)
    done = sealift("config", "set", "fraud", "grpc_port=", "--prefix", str(box.root))
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_taken_is_said_with_the_flag_that_chooses_another(box: Prefix) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = sealift("serve", "fraud", "--port", "0", "--grpc-port", port, "--prefix", str(box.root))
    assert done.returncode == 50
    assert f"127.0.0.1:{port}: Address already in use" in done.stderr
    assert "choose another with --grpc-port" in done.stderr


def test_systemd_may_hold_both_sockets(box: Prefix, tmp_path: Path) -> None:
    """Descriptors 3 and 4, in the order of the unit's ListenStream= lines."""
    start = (
        "import os, sys\n"
        "http, grpc = (os.dup(int(fd)) for fd in sys.argv[1].split(','))\n"
        "os.dup2(http, 3); os.dup2(grpc, 4)\n"
        "os.set_inheritable(3, True); os.set_inheritable(4, True)\n"  # they may have been 3 and 4 already
        "os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'sealift', *sys.argv[2:]])\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as second:
        fds = (http.fileno(), second.fileno())
        command = [
            sys.executable, "-c", start, ",".join(map(str, fds)),
            "serve", "fraud", "--grpc-port", "8001", "--prefix", str(box.root),
        ]  # fmt: skip
        with serving(tmp_path / "log", box, command=command, pass_fds=fds) as line:
            assert f":{http.getsockname()[1]}, gRPC on 127.0.0.1:{second.getsockname()[1]}" in line
            assert asks(second.getsockname()[1])
