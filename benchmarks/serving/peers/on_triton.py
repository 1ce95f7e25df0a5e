"""Triton's Python backend, by the server binary that nvidia-pytriton carries, without PyTriton's proxy.

Run by itself this file writes the model repository, with a copy of itself as the model, and becomes the server.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, os.environ.get("PEERS", str(Path(__file__).parent)))

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS, WORK, decode_text, session

CONFIG = """\
name: "m"
backend: "python"
max_batch_size: {batch}
input [ {{ name: "input" data_type: {given} dims: [ {shape} ] }} ]
output [ {{ name: "y" data_type: {found} dims: [ {size} ] }} ]
dynamic_batching {{ max_queue_delay_microseconds: {window_us} }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
"""
TENSORS = {
    "tab": {"given": "TYPE_FP32", "shape": "30", "found": "TYPE_FP32", "size": "2"},
    "img": {"given": "TYPE_STRING", "shape": "1", "found": "TYPE_INT64", "size": "1"},
    "raw": {"given": "TYPE_FP32", "shape": "3, 224, 224", "found": "TYPE_INT64", "size": "1"},
}


class TritonPythonModel:
    def initialize(self, _args: Any) -> None:
        self.session = session()

    def execute(self, requests: list[Any]) -> list[Any]:
        import triton_python_backend_utils as backend

        given = [backend.get_input_tensor_by_name(one, "input").as_numpy() for one in requests]
        ends = np.cumsum([len(one) for one in given])[:-1]
        rows = np.concatenate(given)
        if CASE == "img":
            rows = np.stack([decode_text(photo) for photo in rows[:, 0]])
        found = self.session.run(None, {"input": rows})[0]
        if CASE != "tab":
            found = found.argmax(-1).astype(np.int64)[:, None]
        parts = np.split(found, ends)
        return [backend.InferenceResponse([backend.Tensor("y", np.ascontiguousarray(one))]) for one in parts]


def become_server() -> None:
    packages = Path(site.getsitepackages()[0])
    triton, here = packages / "pytriton" / "tritonserver", Path(__file__).resolve()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    model, backends = WORK / "repository" / "m", WORK / "backends"
    shutil.rmtree(WORK / "repository", ignore_errors=True)
    (model / "1").mkdir(parents=True)
    shutil.copyfile(here, model / "1" / "model.py")
    filled = CONFIG.format(batch=MAX_BATCH, window_us=round(WINDOW_MS * 1000), **TENSORS[CASE])
    (model / "config.pbtxt").write_text(filled)
    if not backends.is_dir():
        shutil.copytree(triton / "backends" / "python", backends / "python")
        stub = (
            packages
            / "pytriton"
            / "tritonserver"
            / "python_backend_stubs"
            / python
            / "triton_python_backend_stub"
        )
        shutil.copy(stub, backends / "python" / stub.name)
    libraries = [packages / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR"))]
    environment = {
        **os.environ,
        "PEERS": str(here.parent),
        "PYTHONPATH": str(packages),
        "LD_LIBRARY_PATH": ":".join([*map(str, libraries), os.environ.get("LD_LIBRARY_PATH", "")]),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [str(triton / "bin" / "tritonserver"), f"--model-repository={WORK / 'repository'}"]
    command += [f"--backend-directory={backends}", "--http-address=127.0.0.1", f"--http-port={PORT}"]
    command += ["--allow-grpc=false", "--allow-metrics=false", "--log-verbose=0"]
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    become_server()
