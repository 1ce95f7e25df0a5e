"""ResNet18 (shape only) in one run: fp32, static and dynamic INT8 in onnxruntime, and the guide's recipe in torch.

python benchmarks/optimize/resnet18.py [--json F]

Batch 1, on one thread and on all. Rounds in which all take turns, each with one run to warm up that does not count;
a speed-up is the ratio of the medians of the rounds, with a bootstrap interval over rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from figures import main_of
from numpy.typing import NDArray
from quiet import surroundings, wait_quiet
from resnet_net import pictures, resnet18, write_files

from sealift.engine.onnxruntime import OnnxRuntime
from sealift.engine.protocol import EngineOptions
from sealift.events import Silent
from sealift.model.graph_formats import size_of
from sealift.optimize.evidence.paired import faster
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate
from sealift.optimize.quantise.dynamic_int8 import CONVOLUTIONAL, DynamicRecipe, quantise_dynamic
from sealift.optimize.quantise.fuse import fuse
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static

ROUNDS: Final = 15
RUNS: Final = 5
CALIBRATION: Final = 48
COMPARED: Final = 24
Picture = NDArray[np.float32]
Run = Callable[[Picture], Picture]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; `against` names the row that its speed-up and its size are held against."""

    name: str
    against: str
    path: Path


def measure() -> dict[str, Any]:
    """Every figure of this benchmark, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(Path(folder))
        torch.manual_seed(1)
        inputs = [each[None].numpy() for each in pictures(COMPARED)]
        threads = sorted({1, len(os.sched_getaffinity(0))})
        wait_quiet(60)
        with surroundings() as others:
            speeds = {count: _speeds(rows, inputs, count) for count in threads}
        likeness = _likeness(rows, inputs)
        sizes = {row.name: size_of(row.path) for row in rows}
    table = [
        {
            "name": row.name,
            "against": row.against,
            "bytes": sizes[row.name],
            "share": sizes[row.name] / sizes[row.against],
            "cosine": likeness[row.name],
            "threads": {str(count): speeds[count][row.name] for count in threads},
        }
        for row in rows
    ]
    return {"rows": table, "rounds": ROUNDS, "runs": RUNS, "others": others.as_json()}


def _rows(folder: Path) -> list[Row]:
    paths = write_files(folder / "given")
    fused = fuse(paths["onnx"], folder / "fused" / "model.onnx").path
    torch.manual_seed(2)
    items = [
        (str(number), {"input": each[None].numpy()}) for number, each in enumerate(pictures(CALIBRATION))
    ]
    observed = calibrate(fused, items, CalibrationWish(), folder / "calibration.npz", Silent())
    recipe = StaticRecipe("percentile 99.99", overflow_safe=True)
    static = quantise_static(fused, observed, recipe, folder / "static" / "model.onnx")
    dynamic = quantise_dynamic(fused, DynamicRecipe(kinds=CONVOLUTIONAL), folder / "dynamic" / "model.onnx")
    return [
        Row("torch, fp32", "torch, fp32", paths["torch"]),
        Row("torch, the guide's recipe", "torch, fp32", paths["guide"]),
        Row("onnxruntime, fp32", "onnxruntime, fp32", paths["onnx"]),
        Row("onnxruntime, dynamic INT8", "onnxruntime, fp32", dynamic),
        Row("onnxruntime, static INT8", "onnxruntime, fp32", static),
    ]


def _speeds(rows: Sequence[Row], inputs: Sequence[Picture], threads: int) -> dict[str, dict[str, Any]]:
    torch.set_num_threads(threads)
    times = _rounds({row.name: _run_of(row, threads) for row in rows}, inputs)
    found = {}
    for row in rows:
        ratio, interval = faster(times[row.against], times[row.name])
        found[row.name] = {
            "p50_ms": statistics.median(times[row.name]),
            "speedup": ratio,
            "low": interval.low,
            "high": interval.high,
        }
    return found


def _rounds(runs: Mapping[str, Run], inputs: Sequence[Picture]) -> dict[str, list[float]]:
    """Name -> the median of each round in ms; who begins changes from round to round."""
    for run in runs.values():
        for x in inputs[:3]:  # TorchScript compiles at its second run
            run(x)
    medians: dict[str, list[float]] = {name: [] for name in runs}
    for count in range(ROUNDS):
        for name in list(runs)[:: 1 if count % 2 == 0 else -1]:
            runs[name](inputs[0])
            medians[name].append(
                statistics.median(_time_ms(runs[name], inputs[k % len(inputs)]) for k in range(RUNS))
            )
    return medians


def _time_ms(run: Run, x: Picture) -> float:
    began = time.perf_counter()
    run(x)
    return (time.perf_counter() - began) * 1000


def _run_of(row: Row, threads: int) -> Run:
    """As it is served: onnxruntime by the engine room, torch eager or the saved TorchScript."""
    if row.path.suffix == ".onnx":
        session = OnnxRuntime().load(row.path, EngineOptions(threads=threads))
        return lambda x: session.run({"input": x})["logits"]
    jit: Any = torch.jit
    net: Any
    if row.path.suffix == ".pt":
        net = jit.load(str(row.path))
    else:
        net = resnet18()
        net.load_state_dict(torch.load(row.path, weights_only=True))

    def run(x: Picture) -> Picture:
        with torch.inference_mode():
            return np.asarray(net(torch.from_numpy(x)).numpy())

    return run


def _likeness(rows: Sequence[Row], inputs: Sequence[Picture]) -> dict[str, float]:
    """Mean cosine of the centred logits with fp32's: the weights are drawn, so a class would say nothing."""
    logits = {
        row.name: np.concatenate([_run_of(row, 1)(x) for x in inputs]).astype(np.float64) for row in rows
    }
    common = logits[rows[0].name].mean(axis=0)
    found = {}
    for row in rows:
        a, b = logits[row.against] - common, logits[row.name] - common
        found[row.name] = float(
            np.mean((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
        )
    return found


if __name__ == "__main__":
    sys.exit(main_of(measure, __doc__))
