"""The child processes of memory.py: one calibration each; how far it is and its peak memory as lines of JSON."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from views import MEMORY_SEED, Photo, photos, views

from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static

STEP: Final = 100
PEER_BYTES: Final = 16 << 30
"""Of address space: the peer fails rather than taking the machine down."""
_EDGE: Final = 16


class Inputs:
    """Views as the network takes them, made when they are asked for: the middle 224 x 224, `(x - 127) / 128`."""

    def __init__(self, given: Sequence[Photo], count: int) -> None:
        self._given, self._count = given, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, Arrays]]:
        for name, picture in views(self._given, MEMORY_SEED, self._count):
            pixels = np.asarray(picture, np.float32)[_EDGE:-_EDGE, _EDGE:-_EDGE]
            yield name, {"input": np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1)[None])}


class Telling(Silent):
    """A line every `STEP` images."""

    def __init__(self) -> None:
        self._done = 0

    def advance(self, amount: int = 1) -> None:
        before, self._done = self._done, self._done + amount
        if before // STEP != self._done // STEP:
            tell(done=self._done)


def calibrator_command(model: Path, folder: Path, images: int) -> list[str]:
    """sealift's calibration, and the INT8 model of it."""
    return [sys.executable, __file__, "ours", str(model), str(folder), str(images)]


def peer_command(model: Path, method: str, images: int) -> list[str]:
    """onnxruntime's own."""
    return [sys.executable, __file__, "peer", str(model), method, str(images)]


def ours(model: Path, folder: Path, images: int) -> None:
    state, began = folder / "calibration.npz", time.perf_counter()
    observed = calibrate(model, Inputs(photos(), images), CalibrationWish(threads=1), state, Telling())
    took = time.perf_counter() - began
    recipe = StaticRecipe("percentile 99.99", overflow_safe=True)
    made = quantise_static(model, observed, recipe, folder / "model.onnx")
    tell(done=observed.items, state=_digest(state), int8=_digest(made), seconds=round(took, 1))


def peer(model: Path, method: str, images: int) -> None:
    """Every activation that static quantising needs, as `quantize_static` asks for them."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (PEER_BYTES, PEER_BYTES))
    rows, began = (inputs for _, inputs in Inputs(photos(), images)), time.perf_counter()

    class Reader:
        def get_next(self) -> Arrays | None:
            return next(rows, None)

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model, augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod[method.capitalize()],
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            calibrator.collect_data(Reader())
            calibrator.compute_data()
    tell(done=images, seconds=round(time.perf_counter() - began, 1))


def tell(**figures: Any) -> None:
    status = Path("/proc/self/status").read_text()
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({**figures, "peak_mb": round(peak_kb * 1024 / 1e6)}), flush=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        ours(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        peer(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
