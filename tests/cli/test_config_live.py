"""`sealift config set` on a service that runs: taken up without a pause, or put back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from tests.bad_projects import PAYLOAD, write_project
from tests.release_trees import build_runtime, stage

from sealift.serve import control
from sealift.store.prefix import Prefix, private
from sealift.store.releases import activate

pytestmark = pytest.mark.slow

SCORES = '[model.output]\nkind = "scores"\npositive = "fraud"\nname = "y"\nthreshold = 20\n'


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    """One service that answers `fraud` from a score of 20 on."""
    folder = tmp_path_factory.mktemp("config")
    handler = "def preprocess(body):\n    return [body['amount']]\n"
    project = write_project(folder / "project", "1.0", handler=handler, model_keys=SCORES, width=1)
    prefix = private(folder / "box")
    activate(prefix, stage(build_runtime(folder / "runtime"), project, prefix))
    return prefix


@pytest.fixture
def port(box: Prefix) -> Iterator[int]:
    command = [sys.executable, "-m", "sealift", "serve", "fraud", "--prefix", str(box.root), "--port", "0"]
    with (box.root / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (box.root / "serve.log").read_text()
        yield int(line.strip().rpartition(":")[2])
        process.terminate()
        process.wait(40)
        process.stdout.close()


def config(box: Prefix, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealift", "config", *words, "--prefix", str(box.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def ask(port: int) -> dict[str, Any]:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/predict", PAYLOAD, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
    assert answer.status == 200, found
    return found


def worker(box: Prefix) -> int:
    return int(control.ask(box.control("fraud"), "status")["worker"])


def test_a_threshold_and_threads_are_taken_up_without_a_pause_and_a_wrong_device_is_put_back(
    box: Prefix, port: int
) -> None:
    assert ask(port) | {"release": ""} == {
        "prediction": "fraud", "score": 25.0, "threshold": 20.0, "release": "",
    }  # fmt: skip
    before = worker(box)

    done = config(box, "set", "fraud", "threshold=30", "threads=1")
    assert done.returncode == 0, done.stderr
    assert "a new worker serves with these settings; no request was lost" in done.stdout
    assert worker(box) != before
    found = ask(port)
    assert (found["prediction"], found["threshold"]) == ("not fraud", 30.0)

    written, before = box.site("fraud").read_bytes(), worker(box)
    done = config(box, "set", "device=cuda")
    assert done.returncode == 60, done.stdout
    assert "is as before: no worker of fraud got ready with these settings" in done.stderr
    assert box.site("fraud").read_bytes() == written
    assert worker(box) == before
    assert ask(port)["threshold"] == 30.0

    shown = json.loads(config(box, "show", "--json").stdout)
    assert shown["listening"]["port"] == port
    assert shown["settings"]["threshold"]["from"] == "site"
    events = subprocess.run(
        [sys.executable, "-m", "sealift", "audit", "show", "--json", "--prefix", str(box.root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = json.loads(events.stdout)["records"]
    assert [line["facts"]["action"] for line in lines if line["event"] == "config"] == [
        "set",
        "set",
        "put back",
    ]
