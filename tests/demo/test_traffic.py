"""The client that never retries: it counts every request once, and moves only where the server asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sealift.demo.traffic import Client, Report


class Service(BaseHTTPRequestHandler):
    """Answers as `release`; the script says what is special about the n-th photo."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one packet an answer: no waiting for a delayed ACK
    script: ClassVar[dict[int, str]] = {}
    seen: ClassVar[list[tuple[int, bytes]]] = []
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            self.seen.append((self.client_address[1], body))
            number = len(self.seen)
        self.act(self.script.get(number, ""), body)

    def act(self, what: str, body: bytes) -> None:
        if what == "hang up":
            self.close_connection = True
            return
        if what == "500":
            self.answer(500, {"error": "no", "code": "handler_failed"})
            return
        if what == "no class":
            self.answer(200, {"prediction": [0.5]})
            return
        probability = {b"a": 0.25, b"b": 0.75}[body] + (0.01 if what == "other content" else 0)
        release = "lite0@2" if what == "other body" else "lite0@1"
        found = {"prediction": 7, "probabilities": [{"probability": probability}], "release": release}
        self.answer(200, found, close=what == "close")

    def answer(self, status: int, document: dict[str, Any], *, close: bool = False) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Sealift-Release", "lite0@1")
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Service.script, Service.seen = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for path in paths:
        path.write_text(path.stem)
    return paths


class UntilSeen(Client):
    """Stops itself once the service has seen so many requests."""

    enough = 20

    def _book(self, release: str) -> Any:
        if len(Service.seen) >= self.enough:
            self.stop()
        return super()._book(release)


def sent(url: str, photos: list[Path], script: dict[int, str], connections: int = 1) -> Report:
    Service.script = script
    return UntilSeen(url, photos, photos[0].parent / "flowing").run(connections, per_second=1000.0)


def test_every_photo_is_sent_once_over_kept_connections(url: str, photos: list[Path]) -> None:
    report = sent(url, photos, {}, connections=4)
    assert report.sent == len(Service.seen) >= 20
    assert len({port for port, _ in Service.seen}) == report.connections == 4
    assert {body for _, body in Service.seen} == {b"a", b"b"}
    [(name, answers)] = report.releases.items()
    assert (name, answers.good, answers.failed) == ("lite0@1", report.sent, 0)
    assert answers.first == {"a.png": (7, 0.25), "b.jpg": (7, 0.75)}
    assert 0 < answers.median_ms <= answers.slowest_ms
    assert (report.failed, report.moved, report.contradictions) == (0, 0, 0)
    assert 0 < report.silence_ms < 60_000


def test_connection_close_is_no_failure_and_the_next_photo_goes_over_a_new_one(
    url: str, photos: list[Path]
) -> None:
    report = sent(url, photos, {3: "close", 5: "close"})
    assert (report.failed, report.moved, report.connections) == (0, 2, 3)
    ports = [port for port, _ in Service.seen]
    assert len(set(ports[:3])) == len(set(ports[3:5])) == len(set(ports[5:])) == 1
    assert ports[2] != ports[3] != ports[5]


@pytest.mark.parametrize(
    ("what", "who", "named"),
    [
        ("hang up", "nobody", "RemoteDisconnected"),
        ("500", "lite0@1", "500 handler_failed"),
        ("no class", "lite0@1", '200 {"prediction": [0.5]}'),
    ],
)
def test_a_failure_is_counted_and_its_photo_not_sent_again(
    what: str, who: str, named: str, url: str, photos: list[Path]
) -> None:
    report = sent(url, photos, {4: what})
    assert report.releases[who].failures == {named: 1}
    assert report.releases[who].first_failed_s == report.releases[who].last_failed_s > 0
    assert report.sent == len(Service.seen)
    assert [body for _, body in Service.seen[2:6]] == [b"a", b"b", b"a", b"b"]


def test_nobody_listening_is_a_failure_for_each_photo(photos: list[Path]) -> None:
    client = Client("http://127.0.0.1:1", photos, photos[0].parent / "flowing")
    threading.Timer(0.2, client.stop).start()
    report = client.run(2, per_second=100.0)
    assert report.releases["nobody"].failures == {"ConnectionRefusedError": report.sent}
    assert report.failed == report.sent > 0


@pytest.mark.parametrize("what", ["other content", "other body"])
def test_an_answer_that_is_not_of_the_release_in_its_header_is_a_contradiction(
    what: str, url: str, photos: list[Path]
) -> None:
    assert sent(url, photos, {6: what}).contradictions == 1


@pytest.mark.slow
def test_as_a_command_it_runs_until_sigterm_and_prints_its_report(
    url: str, photos: list[Path], tmp_path: Path
) -> None:
    flowing = tmp_path / "flowing"
    command = [sys.executable, "-m", "sealift.demo.traffic", url, "2", "50", str(flowing), *map(str, photos)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not flowing.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    report = Report.from_json(json.loads(output))
    assert process.returncode == 0
    assert report.sent == report.releases["lite0@1"].good == len(Service.seen) >= 50
