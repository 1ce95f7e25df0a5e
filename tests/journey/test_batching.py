"""Pack, inspect, install, serve: the proof is made and shown, rows are measured, and runs follow both."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import coupled_nets
from tests.journey.conftest import Server, make_keys, pack_and_install, sealift

pytestmark = pytest.mark.slow

NETS = {
    "table": coupled_nets.table,
    "coupled": coupled_nets.batch_mean,
    "dynamic": coupled_nets.dynamic_int8,
    "fixed": coupled_nets.fixed_batch,
}
DIFFERS = "output y of a row among 2 differs from the row alone"
REASONS = {
    "table": "",
    "coupled": DIFFERS,
    "dynamic": DIFFERS,
    "fixed": "its inputs and outputs do not share a symbolic first axis",
}
AT_ONCE = 32


@dataclass(frozen=True)
class Desk:
    """Four models of one release, served."""

    folder: Path
    server: Server

    def told(self, *words: str) -> Any:
        return json.loads(sealift(*words, "--prefix", "box", "--json", cwd=self.folder))

    def set(self, *pairs: str) -> None:
        sealift("config", "set", "desk", *pairs, "--prefix", "box", cwd=self.folder)

    def runs(self, model: str) -> dict[str, int]:
        """Upper bound of rows -> runs with at most so many."""
        with urllib.request.urlopen(f"{self.server.url}/metrics") as answer:
            text = answer.read().decode()
        pattern = rf'^sealift_batch_rows_bucket\{{[^}}]*model="{model}"[^}}]*le="([^"]+)"[^}}]*\}} ([0-9]+)'
        return {bound: int(count) for bound, count in re.findall(pattern, text, re.MULTILINE)}

    def ask(self, model: str, row: list[float]) -> Any:
        body = json.dumps({"inputs": {"x": [row]}}).encode()
        request = urllib.request.Request(f"{self.server.url}/predict/{model}", body)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["prediction"]

    def together(self, model: str, rows: list[list[float]]) -> list[Any]:
        start = threading.Barrier(len(rows))

        def one(row: list[float]) -> Any:
            start.wait(10)
            return self.ask(model, row)

        with ThreadPoolExecutor(len(rows)) as pool:
            return list(pool.map(one, rows))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    lines = ["[project]", 'name = "desk"', 'version = "1"']
    for name, net in NETS.items():
        net(folder / "project" / name)
        lines += [f"[models.{name}]", f'path = "{name}/model.onnx"']
    (folder / "project" / "sealift.toml").write_text("\n".join(lines))
    make_keys(folder)
    pack_and_install(folder, "project")
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "desk", "--port", "0"], folder)
    yield Desk(folder, server)
    assert server.stop() == 0
    server.log.close()


def test_inspect_says_which_models_are_batched_and_why_not(desk: Desk) -> None:
    models = desk.told("inspect", "bundle")["models"]
    assert {model["name"]: model["batch_reason"] for model in models} == REASONS
    assert {model["name"] for model in models if model["batched"]} == {"table"}
    page = sealift("inspect", "bundle", "--prefix", "box", cwd=desk.folder)
    assert page.count(f"batch   off: {DIFFERS}") == 2


def test_what_pays_was_measured_on_this_box_and_reaches_the_worker(desk: Desk) -> None:
    (service,) = desk.told("status")["services"]
    measured = service["check"]["max_rows"]["table"]
    assert measured > 1
    assert service["check"]["max_rows"] == {"coupled": 1, "dynamic": 1, "fixed": 1, "table": measured}
    command = Path(f"/proc/{service['serving']['worker']}/cmdline").read_bytes().split(b"\0")
    assert b"--max-rows=table=%d" % measured in command
    why = sealift("status", "--why", "--prefix", "box", cwd=desk.folder)
    assert "batching of table: batches up to " in why
    assert f"batching of dynamic: not batched: {DIFFERS}" in why


def test_rows_of_a_run_follow_the_proof_and_the_settings_and_answers_do_not(desk: Desk) -> None:
    draw = np.random.default_rng(3)
    spread = np.logspace(-2, 2, AT_ONCE)[:, np.newaxis]
    rows = (draw.standard_normal((AT_ONCE, coupled_nets.WIDTH)) * spread).astype(np.float32).tolist()
    alone = {name: [desk.ask(name, row) for row in rows] for name in NETS}
    desk.set(*(f"models.{name}.batch_wait_ms=300" for name in NETS))
    for name in NETS:
        assert desk.together(name, rows) == alone[name]
        found = desk.runs(name)
        if name == "table":
            assert found["+Inf"] < AT_ONCE, "requests shared runs"
        else:
            assert found["1"] == found["+Inf"] == AT_ONCE, "every request had a run of its own"
    desk.set("models.table.batch_max=1", "models.coupled.batch_max=32")
    for name in ("table", "coupled"):
        assert desk.together(name, rows) == alone[name]
        assert desk.runs(name)["1"] == desk.runs(name)["+Inf"] == AT_ONCE
