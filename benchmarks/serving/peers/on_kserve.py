"""KServe's own model server, one process, the Open Inference Protocol over REST."""

from __future__ import annotations

from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

from engine import CASE, PORT, decode_text, session


class Served(Model):
    def __init__(self) -> None:
        super().__init__("m")
        self.session = session()
        self.ready = True

    def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        given = payload.inputs[0]
        rows = np.stack([decode_text(photo) for photo in given.data]) if CASE == "img" else given.as_numpy()
        found = self.session.run(None, {"input": rows})[0]
        if CASE != "tab":
            found = found.argmax(-1).astype(np.int64)
        datatype = "FP32" if CASE == "tab" else "INT64"
        output = InferOutput(name="y", shape=list(found.shape), datatype=datatype)
        output.set_data_from_numpy(found, binary_data=False)
        return InferResponse(response_id="1", model_name="m", infer_outputs=[output])


if __name__ == "__main__":
    ModelServer(http_port=PORT, enable_grpc=False, access_log_format=None).start([Served()])
