"""mosec: one worker that batches; photos are decoded in it (a stage of its own for them was slower)."""

from __future__ import annotations

from typing import Any

import numpy as np
from mosec import Server, Worker

from engine import CASE, MAX_BATCH, WINDOW_MS, answers, decode_text, session, tensor_of


class Model(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.session = session()

    def deserialize(self, data: bytes) -> Any:
        return tensor_of(data) if CASE == "raw" else super().deserialize(data)

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        if CASE == "tab":
            rows = np.array([one["input"] for one in data], np.float32)
        elif CASE == "img":
            rows = np.stack([decode_text(one["image"]) for one in data])
        else:
            rows = np.stack(data)
        return answers(self.session.run(None, {"input": rows})[0])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=MAX_BATCH, max_wait_time=int(WINDOW_MS))
    server.run()
