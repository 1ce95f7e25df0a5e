"""The same request alone and among 31 others gives the same answer; what cannot is never batched."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import coupled_nets
from tests.serve.nets import served, service
from tests.serve.running import Serving

from sealift.check.golden import read_batch_reason
from sealift.check.record import record_service
from sealift.model.service import PROVEN_AT_LOAD, Batching, ServedModel
from sealift.serve.predictor import PredictorOptions
from sealift.serve.worker import WorkerOptions

pytestmark = pytest.mark.slow

AT_ONCE = 32
LONG_S = 10.0
"""A run waits so long for more rows; it begins at once when 32 are there."""

Rows = Sequence[Sequence[float]]
Net = Callable[[Path], Path]


def packed(folder: Path, path: Path) -> ServedModel:
    """A model with the reason that `pack` records, and a wait so long that whatever may be batched is."""
    model = served("m", path)
    record_service(service(model), None, folder / "goldens")
    reason = read_batch_reason(folder / "goldens" / "m.json")
    return replace(model, batching=Batching(reason, AT_ONCE, LONG_S))


@contextmanager
def serving(model: ServedModel, options: PredictorOptions) -> Iterator[Serving]:
    server = Serving(service(model), WorkerOptions(drain_s=5, grace_s=0, run=options))
    try:
        yield server
    finally:
        assert server.stop() == 0


def ask(server: Serving, row: Sequence[float], shape: Sequence[int]) -> list[Any]:
    """The outputs of one row, through `/v2`: JSON says every fp32 to the bit."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(shape), "data": list(row)}
    answer = server.post("/v2/models/m/infer", {"inputs": [tensor]})
    assert answer.status == 200, answer.body
    return [output["data"] for output in answer.json()["outputs"]]


def together(server: Serving, rows: Rows, shape: Sequence[int]) -> list[Any]:
    """All rows at once, each on a connection of its own."""
    start = threading.Barrier(len(rows))

    def one(row: Sequence[float]) -> list[Any]:
        start.wait(10)
        return ask(server, row, shape)

    with ThreadPoolExecutor(len(rows)) as pool:
        return list(pool.map(one, rows))


def runs_by_rows(server: Serving) -> dict[str, int]:
    """Upper bound of rows -> runs with at most so many."""
    text = server.ask("GET", "/metrics").body.decode()
    found = re.findall(r'^sealift_batch_rows_bucket\{[^}]*le="([^"]+)"[^}]*\} ([0-9]+)', text, re.MULTILINE)
    assert found
    return {bound: int(count) for bound, count in found}


def rows_of(width: int, seed: int = 1) -> Rows:
    """Rows of very different magnitudes."""
    draw = np.random.default_rng(seed)
    found = draw.standard_normal((AT_ONCE, width)) * np.logspace(-2, 2, AT_ONCE)[:, np.newaxis]
    rows: Rows = np.asarray(found, np.float32).tolist()
    return rows


@pytest.mark.parametrize("quick_s", [10.0, 0.0], ids=["in the loop's turn", "on threads"])
def test_a_row_of_a_table_is_the_same_to_the_bit_among_31_others(tmp_path: Path, quick_s: float) -> None:
    model = packed(tmp_path, coupled_nets.table(tmp_path / "net"))
    rows, shape = rows_of(coupled_nets.WIDTH), [1, coupled_nets.WIDTH]
    with serving(replace(model, batching=Batching("", AT_ONCE, 0.0)), one_thread(quick_s)) as server:
        alone = [ask(server, row, shape) for row in rows]
        assert runs_by_rows(server)["1"] == AT_ONCE
    with serving(model, one_thread(quick_s)) as server:
        assert together(server, rows, shape) == alone
        found = runs_by_rows(server)
        assert (found["16"], found["32"], found["+Inf"]) == (0, 1, 1), "all of them shared one run"


def test_a_picture_is_the_same_within_1e_5_among_31_others(tmp_path: Path) -> None:
    model = packed(tmp_path, coupled_nets.small_conv(tmp_path / "net"))
    assert model.batching.reason == ""
    rows, shape = rows_of(3 * 16 * 16), [1, 3, 16, 16]
    options = PredictorOptions(threads=2, quick_s=0.0)
    with serving(replace(model, batching=Batching("", 1, 0.0)), options) as server:
        alone = [ask(server, row, shape) for row in rows]
    with serving(model, options) as server:
        found = together(server, rows, shape)
        assert runs_by_rows(server)["16"] == 0
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (coupled_nets.batch_mean, "output y of a row among 2 differs from the row alone"),
        (coupled_nets.dynamic_int8, "output y of a row among 2 differs from the row alone"),
        (coupled_nets.fixed_batch, "its inputs and outputs do not share a symbolic first axis"),
    ],
    ids=["row-coupled", "dynamic int8", "no batch axis"],
)
@pytest.mark.parametrize("quick_s", [10.0, 0.0], ids=["in the loop's turn", "on threads"])
def test_what_depends_on_its_neighbours_never_has_any(
    tmp_path: Path, net: Net, why: str, quick_s: float
) -> None:
    model = packed(tmp_path, net(tmp_path / "net"))
    assert model.batching.reason == why
    rows, shape = rows_of(coupled_nets.WIDTH), [1, coupled_nets.WIDTH]
    with serving(model, one_thread(quick_s)) as server:
        alone = [ask(server, row, shape) for row in rows]
        assert together(server, rows, shape) == alone
        found = runs_by_rows(server)
        assert found["1"] == found["+Inf"] == 2 * AT_ONCE, "every request had a run of its own"


@pytest.mark.parametrize(
    ("net", "is_batched"),
    [(coupled_nets.table, True), (coupled_nets.batch_mean, False), (coupled_nets.dynamic_int8, False)],
    ids=["table", "row-coupled", "dynamic int8"],
)
def test_a_project_that_nobody_packed_is_proven_by_its_worker(
    tmp_path: Path, net: Net, is_batched: bool
) -> None:
    unproven = Batching(PROVEN_AT_LOAD, 0, 0.5)
    model = replace(served("m", net(tmp_path / "net")), batching=unproven)
    rows, shape = rows_of(coupled_nets.WIDTH), [1, coupled_nets.WIDTH]
    with serving(replace(model, batching=Batching()), one_thread(10.0)) as server:
        alone = [ask(server, row, shape) for row in rows]
        assert runs_by_rows(server)["1"] == AT_ONCE
    with serving(model, one_thread(10.0)) as server:
        assert together(server, rows, shape) == alone
        found = runs_by_rows(server)
        assert (found["+Inf"] < AT_ONCE) == is_batched
        assert (found["1"] == AT_ONCE) == (not is_batched)


def one_thread(quick_s: float) -> PredictorOptions:
    return PredictorOptions(threads=1, quick_s=quick_s)
