"""Ten times what a model can do, for a minute: what is admitted stays within its SLO, the rest is refused at once.

    python benchmarks/serving/overload.py                   60 s at 1,000 requests/s, then the recovery
    python benchmarks/serving/overload.py --seconds 5       a smoke run

The model is made to take about 100 requests/s on this machine (convolutions; as many layers as that needs). It is
packed with `latency_p99_ms = 50`, installed with throwaway keys and served with everything on. The load generator is
`sealift bench` in a process of its own: an open loop, latencies from the moment a request was due.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
from limit import CORES, rate
from load import NotMeasured
from machine import Server, description, free_ports, lone_session, resident_kb
from models import cache, session
from service import installed, project_folder
from verdicts import Verdict

SLO_MS: Final = 50
CAPACITY_RPS: Final = 100
INPUTS: Final = 16
PROJECT: Final = f"""\
[project]
name = "slow"
version = "1.0.0"

[model]
path = "model.onnx"
license = "Apache-2.0"

[slo]
latency_p99_ms = {SLO_MS}
"""
GOOD_IN_A_ROW: Final = 10
"""So many answers within the SLO, one after the other: the service is as before."""


def main() -> int:
    """Measure and judge; 1 when a promise does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="of overload; default 60")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests/s; default 1000")
    parser.add_argument("--served", choices=("release", "project"), default="release")
    parser.add_argument("--json", type=Path, metavar="F", help="write every figure there")
    args = parser.parse_args()
    lone_session()
    model = slow_model()
    found = {"machine": {**description(), "served": args.served}, **overloaded(model, args)}
    lines = verdicts(found)
    print(json.dumps(found, indent=1))
    print("\n".join(str(line) for line in lines))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(line.holds is False for line in lines))


def overloaded(model: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Capacity, a minute of overload, memory, recovery."""
    body = cache() / "overload.json"
    body.write_text(json.dumps({"input": [0.5] * INPUTS}))
    port = free_ports(1)
    server = Server(command(model, args.served, port), dict(os.environ), cache() / "work" / "overload")
    try:
        wait_ready(server, port, body.read_bytes())
        capacity = bench(port, body, "--connections", "1,2,4", "--rates", "none", "--seconds", "4")
        settled_kb = tree_kb(server)
        load = bench(
            port, body, "--connections", "none", "--rates", f"{args.rate:g}", "--seconds", str(args.seconds)
        )
        recovery_s = recovery(port, body.read_bytes(), load["ended_at"])
        after = bench(port, body, "--connections", "2,4", "--rates", "none", "--seconds", "4")
        return {
            # Before and after, the better of both: a slow minute must not make the goodput look good.
            "capacity_rps": max(step["achieved_rps"] for step in (*capacity["closed"], *after["closed"])),
            "alone_p50_ms": capacity["closed"][0]["p50_ms"],
            "overload": load["ladder"][0],
            "resident_kb_before": settled_kb,
            "resident_kb_after": tree_kb(server),
            "recovery_s": recovery_s,
        }
    finally:
        server.stop()


def verdicts(found: dict[str, Any], *, tell: bool = True) -> list[Verdict]:
    """The promises of this benchmark; `tell`: print the figures in a line first."""
    load = found["overload"]
    others = sum(n for status, n in load["statuses"].items() if status not in ("200", "429", "503"))
    others += load["failures"] + load["unanswered"]
    growth = found["resident_kb_after"] / found["resident_kb_before"] - 1
    share = load["achieved_rps"] / found["capacity_rps"]
    lines = [
        Verdict("p99 of what was admitted, ms", SLO_MS, load["p99_ms"], at_most=True),
        Verdict("goodput over the capacity", 0.9, share),
        Verdict("answers other than 200, 429 and 503, and no answers", 0, others, True),
        Verdict("growth of resident memory", 0.05, growth, at_most=True),
        Verdict("seconds until it answers as before", 1.0, found["recovery_s"], at_most=True),
    ]  # fmt: skip
    if tell:
        print(said(found))
    return lines


def said(found: dict[str, Any]) -> str:
    load = found["overload"]
    return (
        f"offered {load['offered_rps']:,.0f}/s for {load['seconds']:.0f} s, capacity {found['capacity_rps']:.0f}/s, "
        f"statuses {load['statuses']}, generator {load['generator_cores']:.2f} cores"
        f"{' (it may have been the limit)' if load['generator_was_the_limit'] else ''}"
    )


def slow_model() -> Path:
    """A network of so many convolutions that single-thread runs, one per core, make about `CAPACITY_RPS` right now.

    The one of the last run is kept where it still does: a machine is not every day as fast.
    """
    path, noted = cache() / "slow.onnx", cache() / "slow.layers"
    layers = int(noted.read_text()) if noted.is_file() and path.is_file() else 0
    for _ in range(4):
        if layers == 0:
            layers = 16
            write_slow(path, layers)
        found = rate_of(path)
        print(f"slow model: {layers} layers, {found:.0f} runs/s in process", file=sys.stderr, flush=True)
        if 0.9 < found / CAPACITY_RPS < 1.1:
            break
        layers = max(1, round(layers * found / CAPACITY_RPS))
        write_slow(path, layers)
    noted.write_text(str(layers))
    return path


def rate_of(path: Path) -> float:
    """Runs a second of one single-thread run per core."""
    model, row = session(path, 1), np.full((1, INPUTS), 0.5, np.float32)
    return rate(lambda: model.run(None, {"input": row}), CORES, 2)


def write_slow(path: Path, layers: int) -> None:
    import warnings

    import torch
    from torch import nn

    torch.manual_seed(0)
    convolutions = [nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()) for _ in range(layers)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2), nn.Softmax(-1)]
    net = nn.Sequential(
        nn.Linear(INPUTS, 64 * 28 * 28), nn.Unflatten(1, (64, 28, 28)), *convolutions, *head
    ).eval()
    axes = {"input": {0: "batch"}, "probs": {0: "batch"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.randn(2, INPUTS),), str(path), input_names=["input"], output_names=["probs"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip


def command(model: Path, served: str, port: int) -> list[str]:
    if served == "project":
        folder = project_folder("slow", PROJECT, model)
        return [sys.executable, "-m", "sealift", "serve", str(folder), "--port", str(port), "-q"]
    box = installed("slow", PROJECT, model)
    return [str(box / "bin" / "sealift"), "serve", "slow", "--prefix", str(box), "--port", str(port), "-q"]


def bench(port: int, body: Path, *words: str) -> dict[str, Any]:
    """`sealift bench` in its own process, as JSON."""
    to = ["--url", f"http://127.0.0.1:{port}", "--input", str(body)]
    line = [sys.executable, "-m", "sealift", "bench", *to, *words, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"{' '.join(line)}: {done.returncode} {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wait_ready(server: Server, port: int, body: bytes, limit_s: float = 60.0) -> None:
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end and server.alive():
        if one(port, body) == 200:
            return
        time.sleep(0.01)
    raise NotMeasured(f"not ready; see {server.log}")


def one(port: int, body: bytes) -> int:
    """The status of one request on a connection of its own; 0: nobody answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return 0
        return response.status


def recovery(port: int, body: bytes, ended_at: float) -> float:
    """Seconds from the end of the load to the end of the first of `GOOD_IN_A_ROW` good answers; 30 at most."""
    good_at, row = 0.0, 0
    while row < GOOD_IN_A_ROW and time.time() - ended_at < 30:
        asked = time.perf_counter()
        is_good = one(port, body) == 200 and (time.perf_counter() - asked) * 1e3 <= SLO_MS
        if is_good and row == 0:
            good_at = time.time()
        row = row + 1 if is_good else 0
    return round(good_at - ended_at, 3) if row else 30.0


def tree_kb(server: Server) -> int:
    """Resident memory of supervisor and worker."""
    return sum(resident_kb(process.pid) for process in server.tree())


if __name__ == "__main__":
    sys.exit(main())
