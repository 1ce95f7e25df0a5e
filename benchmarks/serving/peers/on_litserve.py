"""LitServe: one worker process that batches."""

from __future__ import annotations

from typing import Any

import litserve
import numpy as np

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS, answers, decode_text, session


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = session()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # it reads the annotations
        return np.array(request["input"], np.float32) if CASE == "tab" else decode_text(request["image"])

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        return self.session.run(None, {"input": x})[0]

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> Any:
        return answers([output])[0]


if __name__ == "__main__":
    api = Api(max_batch_size=MAX_BATCH, batch_timeout=WINDOW_MS / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
