"""What the same work costs in process, without any server: the limit that a server can come near to.

    MODELS=FOLDER python benchmarks/serving/limit.py CASE SECONDS      -> {layout: runs per second} as JSON

Layouts: one run on all cores at a time (what one client can get), and one single-thread run per core on one shared
session (what many clients can get).
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from models import decode, session

CORES = len(os.sched_getaffinity(0))


def main() -> None:
    case, seconds = sys.argv[1], float(sys.argv[2])
    print(json.dumps({name: rate(work, count, seconds) for name, (work, count) in layouts(case).items()}))


def layouts(case: str) -> dict[str, tuple[Callable[[], object], int]]:
    """Layout -> (one request's work, threads that do it)."""
    models = Path(os.environ["MODELS"])
    if case in ("tab", "tabv2"):
        body, table = (models / "body-tab").read_bytes(), session(models / "table.onnx", 1)

        def answer_row() -> str:
            row = np.array([json.loads(body)["input"]], np.float32)
            return json.dumps({"probs": table.run(None, {"input": row})[0].tolist()})

        return {"JSON, one row a run, one thread": (answer_row, 1)}
    whole, single = session(models / "lite0.onnx", CORES), session(models / "lite0.onnx", 1)
    if case == "raw":
        pixels = np.load(models / "pixels.npy")
        return {
            "one run on all cores": (lambda: whole.run(None, {"input": pixels}), 1),
            "a single-thread run per core": (lambda: single.run(None, {"input": pixels}), CORES),
        }
    body = (models / "body-img").read_bytes()

    def photo() -> np.ndarray:
        return decode(base64.b64decode(json.loads(body)["image"]))[None]

    return {
        "one run on all cores": (lambda: whole.run(None, {"input": photo()})[0].argmax(), 1),
        "a single-thread run per core": (lambda: single.run(None, {"input": photo()})[0].argmax(), CORES),
    }


def rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """Runs per second of `count` threads, after a fifth of the time to warm up."""
    done = [0] * count
    begin = time.perf_counter() + seconds / 5
    end = begin + seconds

    def go(index: int) -> None:
        while (now := time.perf_counter()) < end:
            work()
            done[index] += now >= begin

    threads = [threading.Thread(target=go, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(done) / (time.perf_counter() - begin), 1)


if __name__ == "__main__":
    main()
