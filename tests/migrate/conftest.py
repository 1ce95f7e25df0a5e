"""Small models and small old services for the migration's tests."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

Answer = Callable[[str, bytes], tuple[int, Any]]
"""(path, body) -> (status, JSON, or bytes that are none)."""


def _weights(rows: int, columns: int) -> Any:
    values = np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)
    return numpy_helper.from_array(values, "w")


def _saved(
    path: Path, nodes: Sequence[Any], shape: Sequence[int | str], out: Sequence[int | str], weights: Any
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(out))],
        [weights],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def photo_net() -> Callable[[Path], Path]:
    """Writes a classifier of photos, (n, 3, height, width) to 4 logits."""

    def write(path: Path, height: int = 24, width: int = 32) -> Path:
        nodes = [
            helper.make_node("GlobalAveragePool", ["x"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ]
        return _saved(path, nodes, ["n", 3, height, width], ["n", 4], _weights(3, 4))

    return write


@pytest.fixture(scope="session")
def row_net() -> Callable[..., Path]:
    """Writes a scorer of rows, (n, columns) to one value between 0 and 1 (or `classes` logits)."""

    def write(path: Path, columns: int = 3, classes: int = 1) -> Path:
        last = "Sigmoid" if classes == 1 else "Identity"
        nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node(last, ["m"], ["y"])]
        return _saved(path, nodes, ["n", columns], ["n", classes], _weights(columns, classes))

    return write


@pytest.fixture(scope="session")
def script_net() -> Callable[[Path, int], Path]:
    """Writes TorchScript: of 3 inputs a classifier of photos of any size, else of rows; 4 logits."""

    def write(path: Path, inputs: int) -> Path:
        import torch

        torch.manual_seed(0)
        pool = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()] if inputs == 3 else []
        net = torch.nn.Sequential(*pool, torch.nn.Linear(inputs, 4)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            scripted: Any = torch.jit.script(net)
            scripted.save(str(path))
        return path

    return write


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four photos of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(1)
    for number in range(4):
        small = random.integers(0, 255, (6 + number, 9, 3), dtype=np.uint8)
        Image.fromarray(small).resize((340 + 10 * number, 300), Image.Resampling.BICUBIC).save(
            folder / f"{number}.png"
        )
    return folder


@contextmanager
def _serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = answer(self.path, body)
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def old_service() -> Callable[[Answer], Any]:
    """A context that serves an answer function over HTTP and gives its URL."""
    return _serving


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, to see that nothing changed."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    return read
