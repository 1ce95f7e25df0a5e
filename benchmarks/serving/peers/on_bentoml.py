"""BentoML: one service, one worker, adaptive batching or none (BATCHING=0)."""

import os

import bentoml
import numpy as np

from engine import MAX_BATCH, PORT, decode_text, session

BATCHING = {"batchable": True, "max_batch_size": MAX_BATCH, "max_latency_ms": 10000}
HOW = BATCHING if os.environ.get("BATCHING", "1") == "1" else {}


@bentoml.service(
    workers=1,
    traffic={"timeout": 60},
    http={"port": PORT, "host": "127.0.0.1"},
    logging={"access": {"enabled": False}},
)
class Service:
    def __init__(self) -> None:
        self.session = session()

    @bentoml.api(**HOW)
    def tab(self, input: list[list[float]]) -> list[list[float]]:  # noqa: A002 - the field's name
        return self.session.run(None, {"input": np.array(input, np.float32)})[0].tolist()

    @bentoml.api(**HOW)
    def predict(self, image: list[str]) -> list[int]:
        rows = np.stack([decode_text(photo) for photo in image])
        return self.session.run(None, {"input": rows})[0].argmax(-1).tolist()
