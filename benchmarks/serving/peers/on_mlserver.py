"""MLServer: its runtime in the server's own process (PROCESSES=0) or in workers, with and without adaptive batching."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, os.environ.get("PEERS", str(Path(__file__).parent)))

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS, WORK, decode_text, session


def become_server() -> None:
    runtime = {"name": "m", "implementation": "on_mlserver.Runtime"}
    if os.environ.get("BATCHING", "1") == "1":
        runtime |= {"max_batch_size": MAX_BATCH, "max_batch_time": WINDOW_MS / 1e3}
    ports = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2, "metrics_endpoint": None}
    settings = {
        "host": "127.0.0.1",
        **ports,
        "parallel_workers": int(os.environ["PROCESSES"]),
        "debug": False,
    }
    (WORK / "settings.json").write_text(json.dumps(settings))
    (WORK / "model-settings.json").write_text(json.dumps(runtime))
    here = str(Path(__file__).resolve().parent)
    environment = {**os.environ, "PEERS": here, "PYTHONPATH": here}
    command = [str(Path(sys.executable).parent / "mlserver"), "start", str(WORK)]
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    become_server()

from mlserver import MLModel  # noqa: E402 - the launcher above needs none of it
from mlserver.codecs import NumpyCodec, StringCodec  # noqa: E402
from mlserver.types import InferenceRequest, InferenceResponse  # noqa: E402


class Runtime(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self.session = session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if CASE == "img":
            rows = np.stack([decode_text(photo) for photo in StringCodec.decode_input(given)])
        else:
            rows = NumpyCodec.decode_input(given)
        found = self.session.run(None, {"input": rows.astype(np.float32, copy=False)})[0]
        if CASE != "tab":
            found = found.argmax(-1).astype(np.int64).reshape(-1, 1)
        return InferenceResponse(model_name="m", outputs=[NumpyCodec.encode_output("y", found)])
