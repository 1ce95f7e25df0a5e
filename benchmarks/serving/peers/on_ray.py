"""Ray Serve: one replica that batches."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pickled to the replica as a plain string


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Served:
    def __init__(self, here: str) -> None:
        sys.path.insert(0, here)
        import engine

        self.engine = engine
        self.session = engine.session()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WINDOW_MS / 1e3)
    async def run(self, given: list[Any]) -> list[Any]:
        rows = [self.engine.decode_text(one) for one in given] if CASE == "img" else given
        return self.engine.answers(self.session.run(None, {"input": np.stack(rows)})[0])

    async def __call__(self, request: Request) -> Any:
        if CASE == "raw":
            return await self.run(self.engine.tensor_of(await request.body()))
        document = await request.json()
        return await self.run(np.array(document["input"], np.float32) if CASE == "tab" else document["image"])


if __name__ == "__main__":
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Served.bind(HERE), route_prefix="/")
    while True:
        time.sleep(1)
