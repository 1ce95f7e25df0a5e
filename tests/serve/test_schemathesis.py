"""What /openapi.json promises, held against a live server by schemathesis: generated requests, every answer checked.

No 5xx, every status, header and body as declared, `Allow` right, undeclared methods refused; where the schema
says all there is to say (a table), also: what it permits is answered, what it forbids is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, load, numpy_helper
from onnx import save as save_model
from tests.serve.nets import colours, fraud, one_echo, served, service
from tests.serve.running import Serving

pytestmark = pytest.mark.slow

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
NOT_SAID = "positive_data_acceptance,negative_data_rejection"
"""A schema cannot say what decodes as a photo, or that two tensors agree in an axis."""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A table and a photo model, and one of bare tensors."""
    folder = tmp_path_factory.mktemp("models")
    tensors = served("tensors", one_echo(folder / "tensors.onnx", "FP32", ["n", 2]))
    models = (fraud(folder), colours(folder), tensors)
    for model in models[:2]:
        clip(model.path)
    serving = Serving(service(*models))
    yield serving
    assert serving.stop() == 0


def clip(path: Path) -> None:
    """Bound the input inside the net: one that overflows on 1e38 answers 500 `not_finite`, as it should."""
    net = load(path)
    name = net.graph.input[0].name
    for bound, value in (("low", -1e6), ("high", 1e6)):
        net.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), bound))
    net.graph.node.insert(0, helper.make_node("Clip", [name, "low", "high"], ["clipped"]))
    net.graph.node[1].input[0] = "clipped"
    save_model(net, path)


def explore(url: str, folder: Path, *options: str) -> None:
    """Run schemathesis, the same requests each time. Fails with its report."""
    command = [
        str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--seed=5", "--generation-deterministic", "--no-color",
        "--phases=examples,coverage,fuzzing", "--suppress-health-check=all", "--request-timeout=60",
        "--warnings=off", "--checks=all", *options,
    ]  # fmt: skip
    environ = {**os.environ, "NO_COLOR": "1", "SCHEMATHESIS_HOOKS": ""}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_request_meets_an_answer_that_is_not_declared(serving: Serving, tmp_path: Path) -> None:
    said = (f"--exclude-checks={NOT_SAID}", "--exclude-path-regex=/versions/")
    explore(serving.url, tmp_path, "--max-examples=8", *said)


def test_a_tables_schema_permits_what_is_answered_and_forbids_what_is_refused(
    serving: Serving, tmp_path: Path
) -> None:
    explore(serving.url, tmp_path, "--max-examples=40", "--include-path=/predict/fraud")
