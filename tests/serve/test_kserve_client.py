"""The unmodified `kserve` client, REST and gRPC, from an environment of its own (`make kserve`)."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from tests.serve.grpc_process import end, start
from tests.serve.nets import fraud

from sealift.serve.listening import bind

pytestmark = pytest.mark.slow

PYTHON = Path(__file__).parents[2] / ".venv-kserve" / "bin" / "python"
CLIENT = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def ask(client, where):
    x = InferInput("x", [2, 3], "FP32")
    x.set_data_from_numpy(np.array([[1, 2, 3], [0, 0, 0]], np.float32), binary_data=where != "rest")
    request = InferRequest(model_name="fraud", infer_inputs=[x], request_id="seven")
    more = {"base_url": sys.argv[1]} if where.startswith("rest") else {"infer_request": request}
    if where.startswith("rest"):
        more["data"], more["model_name"] = request, "fraud"
    answer = await client.infer(**more)
    (output,) = answer.outputs
    return {"id": answer.id, "name": output.name, "values": output.as_numpy().reshape(-1).tolist()}

async def main():
    found = {}
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    found["rest"] = await ask(rest, "rest")
    found["rest-binary"] = await ask(rest, "rest-binary")
    found["rest-ready"] = await rest.is_model_ready(sys.argv[1], "fraud")
    await rest.close()
    async with InferenceGRPCClient(sys.argv[2]) as client:
        found["grpc"] = await ask(client, "grpc")
        found["grpc-live"] = await client.is_server_live()
        found["grpc-ready"] = await client.is_server_ready()
        found["grpc-model"] = await client.is_model_ready("fraud")
    print(json.dumps(found))

asyncio.run(main())
"""


@pytest.mark.skipif(not PYTHON.exists(), reason="make kserve builds its environment: 450 MB, not in .venv")
def test_the_kserve_client_speaks_with_both_faces(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as http, bind("127.0.0.1", 0) as grpc:
        process, channel = start(fraud(tmp_path).path, http, grpc)
        try:
            said = subprocess.run(
                [PYTHON, "-W", "ignore", "-c", CLIENT, f"http://{_at(http)}", _at(grpc)],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        finally:
            end(process, channel)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout.splitlines()[-1])
    rest = found["rest"]
    assert rest == found["rest-binary"]
    assert found["grpc"] == rest
    assert (rest["id"], rest["name"], rest["values"][1]) == ("seven", "score", 0.5)
    assert [found[name] for name in ("rest-ready", "grpc-live", "grpc-ready", "grpc-model")] == [True] * 4


def _at(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"
