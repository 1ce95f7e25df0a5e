"""`sealift bench` on a box: beside the service, on the service, elsewhere; and how it refuses and stops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bad_projects import PAYLOAD, write_project
from tests.release_trees import build_runtime, stage

from sealift.cli.bench import require_room
from sealift.cli.main import run
from sealift.errors import HostError
from sealift.serve.care import WorkerLaunch
from sealift.store.prefix import Prefix, private
from sealift.store.releases import activate

pytestmark = pytest.mark.slow

QUICK = ("--seconds", "0.2", "--connections", "1,2")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    """One service, `fraud`, installed and not running."""
    folder = tmp_path_factory.mktemp("bench")
    handler = "def preprocess(body):\n    return [body['amount']]\n"
    project = write_project(folder / "project", "1.0", handler=handler, width=1)
    prefix = private(folder / "box")
    activate(prefix, stage(build_runtime(folder / "runtime"), project, prefix))
    return prefix


@contextlib.contextmanager
def serving(box: Prefix) -> Iterator[str]:
    """`sealift serve fraud`; its URL."""
    command = [sys.executable, "-m", "sealift", "serve", "fraud", "--prefix", str(box.root), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (box.root / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (box.root / "serve.log").read_text()
            yield line.strip().rpartition(" ")[2]
        finally:
            process.terminate()
            process.wait(40)
            process.stdout.close()


def bench(box: Prefix, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealift", "bench", *words, "--prefix", str(box.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def measured(box: Prefix, *words: str) -> dict[str, Any]:
    done = bench(box, *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def requests_of(url: str) -> int:
    """How many answers the service at `url` has counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("sealift_requests_total{") and "/predict" in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def workers_of(box: Prefix) -> list[str]:
    found = subprocess.run(
        ["pgrep", "-f", f"_worker --tree={box.root}"], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


def test_a_worker_of_its_own_is_measured_while_nothing_runs_and_is_gone_afterwards(box: Prefix) -> None:
    found = measured(box, "fraud", *QUICK, "--rates", "50,100")
    assert (found["schema"], found["release"], found["server"]) == (1, "fraud 1.0", "a worker of its own")
    assert [step["connections"] for step in found["closed"]] == [1, 2]
    assert [step["offered_rps"] for step in found["ladder"]] == [50, 100]
    for step in (*found["closed"], *found["ladder"]):
        assert step["statuses"].keys() == {"200"}
        assert step["errors"] == 0
        assert step["p50_ms"] <= step["p99_ms"] <= step["max_ms"]
    assert found["wrong"] == []
    assert workers_of(box) == []


def test_the_running_service_is_left_alone_unless_it_is_meant(box: Prefix, tmp_path: Path) -> None:
    case = tmp_path / "case.json"
    case.write_text(PAYLOAD)
    with serving(box) as url:
        beside = bench(box, "fraud", *QUICK, "--rates", "50", "--json")
        assert json.loads(beside.stdout)["closed"][0]["on_time"] > 0
        assert "note: fraud is serving on this box" in beside.stderr
        assert requests_of(url) == 0
        live = measured(box, "fraud", "--live", *QUICK, "--rates", "50")
        assert live["server"] == "the running service"
        assert requests_of(url) >= live["ladder"][0]["on_time"] > 0
        elsewhere = measured(box, "--url", url, "--input", str(case), *QUICK, "--rates", "50")
        assert elsewhere["ladder"][0]["statuses"] == {"200": 10}


def test_a_person_reads_a_table_a_plot_and_the_knee(box: Prefix, tmp_path: Path) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "plot.svg"
    done = bench(
        box,
        "fraud",
        *QUICK,
        "--rates",
        "20,40",
        "--slo-ms",
        "1000",
        "--html",
        str(page),
        "--svg",
        str(picture),
    )
    assert done.returncode == 0, done.stderr
    assert "knee: 40 requests/s" in done.stdout
    assert "it is the highest rate that was tried" in done.stdout
    assert "o p50   # p99" in done.stdout
    assert "1/4  1 client" in done.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert picture.read_text().startswith("<svg")


def test_a_service_that_is_down_is_said(box: Prefix) -> None:
    done = bench(box, "fraud", "--live")
    assert done.returncode == 50
    assert "fraud is not served" in done.stderr
    assert done.stdout == ""


def test_an_input_that_the_service_refuses_stops_with_its_words(box: Prefix, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"amount": ')
    done = bench(box, "fraud", "--input", str(tmp_path / "bad.json"), *QUICK)
    assert done.returncode == 2
    assert "bad.json: 127.0.0.1:" in done.stderr
    assert "answered 400" in done.stderr
    assert workers_of(box) == []


def test_a_box_without_memory_for_one_worker_more_is_left_alone() -> None:
    launch = WorkerLaunch([], "fraud@1.0", memory_bytes=400_000_000)
    with pytest.raises(HostError, match=r"needs 480\.0 MB of memory, 479\.0 MB are free"):
        require_room(launch, 479_000_000)
    require_room(launch, 480_000_000)
    require_room(launch, None)
    require_room(WorkerLaunch([], "fraud@1.0"), 1)


def test_ctrl_c_ends_it_with_its_worker(box: Prefix) -> None:
    command = [
        sys.executable,
        "-m",
        "sealift",
        "bench",
        "fraud",
        "--prefix",
        str(box.root),
        "--seconds",
        "60",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "1 client" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert workers_of(box) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--connections", "0"), "expected whole numbers from 1 to 1024"),
        (("--connections", "1,x"), "expected whole numbers from 1 to 1024"),
        (("--rates", "-5"), "expected requests per second"),
        (("--rates", "many"), "expected requests per second"),
        (("--seconds", "0"), "expected 0.1 to 600"),
        (("--seconds", "nan"), "expected 0.1 to 600"),
        (("--connections", ",".join(["1"] * 40)), "more than 32 steps"),
    ],
    ids=["none", "word", "negative", "many", "zero", "nan", "steps"],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "--url", "http://127.0.0.1:1", "--input", __file__, *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://box/", "expected http://HOST:PORT"),
        ("http://box:x/", "Port could not be cast"),
        ("http:///predict", "expected http://HOST:PORT"),
    ],
    ids=["scheme", "port", "host"],
)
def test_an_address_that_is_none_is_refused(url: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", url, "--input", __file__]) == 2
    assert says in capsys.readouterr().err


def test_an_address_without_something_to_send_asks_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", "http://127.0.0.1:1"]) == 2
    assert "name a file with --input FILE" in capsys.readouterr().err


def test_nothing_installed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--prefix", str(tmp_path)]) == 42
    assert "nothing is installed" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the minute of measuring, not after it."""
    words = [
        "bench",
        "--url",
        "http://127.0.0.1:1",
        "--input",
        __file__,
        "--html",
        str(tmp_path / "no" / "x.html"),
    ]
    assert run(words) == 30
    assert "x.html" in capsys.readouterr().err
