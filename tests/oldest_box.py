"""The box side's own tests on the oldest set of wheels: `make test-box-2.17` (all), or a part with --part.

Runs pytest of the interpreter that runs this file: that of `.venv-box-2.17`. More arguments are pytest's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (
    "engine", "model", "check", "serve", "store", "install", "bundle", "trust", "seal", "ledger", "meter",
    "observe", "inspect", "host", "target", "tool", "cli", "killing", "attacks",
)  # fmt: skip
PART = ("engine", "model", "check", "serve", "install")
"""Their fast tests alone are the part: where arrays, photos and requests meet the engine; a third of a minute."""
OTHER_ENGINES = (
    "tests/engine/test_torch.py", "tests/engine/test_openvino.py", "tests/serve/test_engines.py",
)  # fmt: skip
"""PyTorch and OpenVINO are no part of sealift's own set, and have no wheels for glibc 2.17."""
BEYOND = {
    "four_bit": "four bits: no engine before 1.23 casts them, and 1.16 does not read their opset 21",
    "int4_edge": "the same",
    "test_layouts_share_weights_and_release_them_with_the_last_session": "1.16 (and still 1.22) copies what it maps",
    "openvino": "another engine",
    "torchscript": "another engine",
    "net.pt": "another engine",
    "net.xml": "another engine",
    "test_same_answers and (exported or ir)": "another engine",
}
"""Part of a test's name, as pytest's -k reads it -> why it cannot hold with these versions."""
QUIET = "ignore::DeprecationWarning:onnxruntime.quantization.onnx_quantizer"
"""Tests make INT8 models with the quantiser of this engine, which asks onnx in a way that onnx no longer likes."""


def command(python: str, arguments: list[str]) -> list[str]:
    """`--part` runs the fast tests of `PART`; everything else goes to pytest."""
    part = "--part" in arguments
    rooms = [f"tests/{room}" for room in (PART if part else ROOMS)]
    skipped = [word for path in OTHER_ENGINES for word in ("--ignore", path)]
    deselected = " and ".join(f"not ({name})" for name in BEYOND)
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", QUIET, "-k", deselected]
    pytest += ["-m", "not slow"] if part else []
    return [*pytest, *skipped, *rooms, *(word for word in arguments if word != "--part")]


if __name__ == "__main__":
    sys.exit(subprocess.run(command(sys.executable, sys.argv[1:]), cwd=ROOT, check=False).returncode)
