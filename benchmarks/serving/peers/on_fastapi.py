"""FastAPI on uvicorn: the table in the loop, photos and tensors in its thread pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from engine import answers, decode_text, session, tensor_of

app = FastAPI()
model = session()


class Row(BaseModel):
    input: list[float]


class Photo(BaseModel):
    image: str


@app.post("/tab")
async def tab(row: Row) -> dict[str, Any]:
    return answers(model.run(None, {"input": np.array([row.input], np.float32)})[0])[0]


@app.post("/predict")
def predict(photo: Photo) -> dict[str, Any]:
    return answers(model.run(None, {"input": decode_text(photo.image)[None]})[0])[0]


@app.post("/raw")
async def raw(request: Request) -> dict[str, Any]:
    pixels = tensor_of(await request.body())[None]
    return answers((await run_in_threadpool(model.run, None, {"input": pixels}))[0])[0]
