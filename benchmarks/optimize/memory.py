"""Peak memory of calibrating EfficientNet-Lite0 on 2,000 views, killed in the middle and resumed; and the peer's.

python benchmarks/optimize/memory.py [--json F]

Two processes side by side go through the same views: one to the end, one that is killed with SIGKILL half way and
started again. Both write what they found and the INT8 model of it: the bytes have to be the same. Peak memory is the
kernel's VmHWM of each process, with Python, onnxruntime and the photos. Then onnxruntime's own calibrators see the
first 50 and 100 of these views, held to a bound of memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from calibrating import calibrator_command, peer_command
from figures import main_of
from quiet import surroundings

from sealift.demo.material import default_cache, fetch_wheels, read_material
from sealift.demo.project import build_model
from sealift.optimize.quantise.fuse import fuse

IMAGES: Final = 2000
PEERS: Final = (("percentile", 50), ("percentile", 100), ("entropy", 50))
Found = dict[str, Any]


def measure() -> Found:
    """Every figure of this benchmark, as JSON."""
    with tempfile.TemporaryDirectory() as name, surroundings() as others:
        folder = Path(name)
        model = _model(folder)
        with ThreadPoolExecutor(2) as pool:
            whole = pool.submit(_to_the_end, model, folder / "whole", IMAGES)
            resumed = pool.submit(_killed_and_resumed, model, folder / "resumed", IMAGES)
            ours = {"whole": whole.result(), "resumed": resumed.result()}
        peers = [_peer(model, method, count) for method, count in PEERS]
    same = all(ours["whole"][key] == ours["resumed"][key] for key in ("state", "int8"))
    return {"images": IMAGES, "ours": ours, "same_bytes": same, "peers": peers, "others": others.as_json()}


def _model(folder: Path) -> Path:
    fetch_wheels(default_cache())
    given = folder / "given.onnx"
    given.write_bytes(build_model(read_material(default_cache())))
    return fuse(given, folder / "fused" / "model.onnx").path


def _to_the_end(model: Path, folder: Path, images: int) -> Found:
    with _started(calibrator_command(model, folder, images)) as process:
        *_, last = _lines(process)
    return last


def _killed_and_resumed(model: Path, folder: Path, images: int) -> Found:
    with _started(calibrator_command(model, folder, images)) as process:
        for line in _lines(process):
            if line["done"] >= images // 2:
                process.kill()
                break
    if process.returncode != -9:
        raise RuntimeError(f"it ended with {process.returncode}, expected to be killed")
    return {
        "killed_after": line["done"],
        "peak_before_mb": line["peak_mb"],
        **_to_the_end(model, folder, images),
    }


def _peer(model: Path, method: str, images: int) -> Found:
    with _started(peer_command(model, method, images)) as process:
        *_, last = _lines(process)
    return {"method": method, "images": images, **last}


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _lines(process: subprocess.Popen[str]) -> Iterator[Found]:
    """What a child tells, as it tells it. Raises: RuntimeError: it failed."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    if process.wait() not in (0, -9):
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


if __name__ == "__main__":
    sys.exit(main_of(measure, __doc__))
