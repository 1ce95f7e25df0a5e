"""The demo's client waits for a service, times it, and does not take an error for an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sealift.demo.probe import main


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one packet an answer: no waiting for a delayed ACK
    posts: ClassVar[list[tuple[str, str, bytes]]] = []
    healthy_after: ClassVar[int] = 0

    def do_GET(self) -> None:
        type(self).healthy_after -= 1
        self._answer(200 if self.path == "/healthz" and type(self).healthy_after < 0 else 503, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posts.append((self.path, self.headers["Content-Type"], body))
        self._answer(400 if body == b"bad" else 200, b'{"error": "no photo"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Service.posts.clear()
    Service.healthy_after = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_waits_until_healthz_says_200(url: str) -> None:
    Service.healthy_after = 2
    assert main(["wait", url, "30"]) == 0
    assert Service.healthy_after == -1


def test_it_gives_up_in_time_where_nobody_listens() -> None:
    assert main(["wait", "http://127.0.0.1:1", "0.05"]) == 1


def test_photos_are_posted_raw_with_their_type_and_timed(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.unknown"]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
    assert main(["time", url, *map(str, photos)]) == 0
    medians = json.loads(capsys.readouterr().out)
    assert list(medians) == [str(photo) for photo in photos]
    assert all(0 < value < 10_000 for value in medians.values())
    assert set(Service.posts) == {
        ("/predict", "image/png", b"a.png"),
        ("/predict", "image/jpeg", b"b.jpg"),
        ("/predict", "application/octet-stream", b"c.unknown"),
    }


def test_an_error_answer_is_no_timing(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"bad")
    assert main(["time", url, str(tmp_path / "a.png")]) == 1
    assert capsys.readouterr().err == 'a.png: 400 {"error": "no photo"}\n'
