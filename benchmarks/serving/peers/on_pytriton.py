"""PyTriton: Triton in front of a Python function of this process."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from engine import CASE, MAX_BATCH, PORT, WINDOW_MS, decode_text, session

model = session()
INPUTS = {
    "tab": Tensor(name="input", dtype=np.float32, shape=(30,)),
    "img": Tensor(name="input", dtype=np.bytes_, shape=(1,)),
    "raw": Tensor(name="input", dtype=np.float32, shape=(3, 224, 224)),
}
OUTPUT = (
    Tensor(name="y", dtype=np.float32, shape=(2,))
    if CASE == "tab"
    else Tensor(name="y", dtype=np.int64, shape=(1,))
)


@batch
def infer(input: Any) -> list[Any]:  # noqa: A002 - the tensor's name is the argument's
    rows = np.stack([decode_text(photo) for photo in input[:, 0]]) if CASE == "img" else input
    found = model.run(None, {"input": rows})[0]
    return [found if CASE == "tab" else found.argmax(-1).astype(np.int64)[:, None]]


if __name__ == "__main__":
    config = TritonConfig(http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False)
    batcher = DynamicBatcher(max_queue_delay_microseconds=round(WINDOW_MS * 1000))
    with Triton(config=config) as server:
        server.bind(
            model_name="m", infer_func=infer, inputs=[INPUTS[CASE]], outputs=[OUTPUT],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=batcher), strict=False,
        )  # fmt: skip
        server.serve()
