"""granian's RSGI without a framework: the table in the loop, photos and tensors in the default executor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np

from engine import CASE, answers, decode_text, session, tensor_of

model = session()
HEADERS = [("content-type", "application/json")]


def run(body: bytes) -> str:
    if CASE == "tab":
        rows = np.array([json.loads(body)["input"]], np.float32)
    else:
        rows = (decode_text(json.loads(body)["image"]) if CASE == "img" else tensor_of(body))[None]
    return json.dumps(answers(model.run(None, {"input": rows})[0])[0])


async def app(scope: Any, protocol: Any) -> None:
    body = await protocol()
    if CASE == "tab":
        answer = run(body)
    else:
        answer = await asyncio.get_running_loop().run_in_executor(None, run, body)
    protocol.response_str(200, HEADERS, answer)
