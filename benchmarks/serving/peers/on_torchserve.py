"""TorchServe: one worker with this file as its handler. Run by itself it archives itself and becomes the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, os.environ.get("PEERS", str(Path(__file__).parent)))

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS, WORK, answers, decode_text, session, tensor_of

CONFIG = """\
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc}
grpc_management_port={grpc_management}
disable_token_authorization=true
enable_model_api=true
job_queue_size=1000
models={models}
"""


class _Model:
    session: Any = None


def handle(data: list[dict[str, Any]] | None, _context: Any) -> list[dict[str, Any]] | None:
    if _Model.session is None:
        _Model.session = session()
    if data is None:
        return None
    rows = np.stack(
        [_row(one.get("body") if one.get("body") is not None else one.get("data")) for one in data]
    )
    return answers(_Model.session.run(None, {"input": rows})[0])


def _row(body: Any) -> Any:
    if CASE == "raw":
        return tensor_of(body)
    given = json.loads(body) if isinstance(body, bytes | bytearray) else body
    return np.array(given["input"], np.float32) if CASE == "tab" else decode_text(given["image"])


def become_server() -> None:
    here, home, store = Path(__file__).resolve(), Path(sys.executable).parent, WORK / "store"
    store.mkdir(exist_ok=True)
    environment = {**os.environ, "PEERS": str(here.parent), "PATH": f"{home}:{os.environ['PATH']}"}
    archive = [home / "torch-model-archiver", "--model-name", "m", "--version", "1.0", "--handler", here]
    made = store / "m.mar"
    if not made.is_file() or made.stat().st_mtime < here.stat().st_mtime:  # packing it is not starting it
        subprocess.run([*archive, "--export-path", store, "-f"], check=True, env=environment)
    settings = {"minWorkers": 1, "maxWorkers": 1, "batchSize": MAX_BATCH, "maxBatchDelay": round(WINDOW_MS)}
    model = {"defaultVersion": True, "marName": "m.mar", **settings, "responseTimeout": 120}
    ports = dict(
        zip(("port", "management", "metrics", "grpc", "grpc_management"), range(PORT, PORT + 5), strict=True)
    )
    (WORK / "config.properties").write_text(CONFIG.format(models=json.dumps({"m": {"1.0": model}}), **ports))
    command = [str(home / "torchserve"), "--start", "--foreground", "--ncs", "--model-store", str(store)]
    command += ["--models", "m=m.mar", "--ts-config", str(WORK / "config.properties"), "--disable-token-auth"]
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    become_server()
