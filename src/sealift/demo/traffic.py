"""A client that never retries: sends photos over kept connections until SIGTERM, then prints what came back.

`URL CONNECTIONS PER_SECOND FLOWING PHOTO...`: each connection sends one photo after the other, and goes on over a
new connection only where the server said `Connection: close`, or after a failure that it has counted. The
file FLOWING appears once a second's worth of photos was answered. The report is one JSON document on stdout.
"""

from __future__ import annotations

import http.client
import json
import math
import mimetypes
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 30.0
SAME: Final = 1e-4
"""Two probabilities of one release for one photo are nearer than this; those of two releases are not."""
_UNKNOWN: Final = "nobody"


@dataclass(slots=True)
class Answers:
    """What one release answered.

    `failures`: what went wrong -> how often. times in seconds since the epoch, 0 where there was none.
    `first`: photo -> its first class and that one's probability.
    """

    good: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    first_s: float = 0.0
    last_good_s: float = 0.0
    first_failed_s: float = 0.0
    last_failed_s: float = 0.0
    slowest_ms: float = 0.0
    median_ms: float = 0.0
    first: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return sum(self.failures.values())


@dataclass(slots=True)
class Report:
    """Everything that was sent, and what became of it.

    `releases`: `X-Sealift-Release` -> its answers; `nobody` where no answer came. `contradictions`: answers
    whose content is not that of the release in their header. `moved`: times that the server asked for a new
    connection. `silence_ms`: the longest time between two good answers.
    """

    sent: int = 0
    connections: int = 0
    moved: int = 0
    contradictions: int = 0
    silence_ms: float = 0.0
    releases: dict[str, Answers] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Requests without a good answer, whoever was asked."""
        return sum(answers.failed for answers in self.releases.values())

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Report:
        """What the client printed."""
        releases = {name: Answers(**answers) for name, answers in document["releases"].items()}
        return cls(**{**document, "releases": releases})


class Client:
    """Connections that send side by side until they are told to stop; one lock guards the books."""

    def __init__(self, url: str, photos: Sequence[Path], flowing: Path) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "127.0.0.1", address.port or 80)
        self._bodies = [(photo.name, _kind(photo), photo.read_bytes()) for photo in photos]
        self._flowing = flowing
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._report = Report()
        self._enough = 0
        self._took: dict[str, list[float]] = {}
        self._last_good_s = time.time()

    def stop(self) -> None:
        """Finish the requests on their way, and send no more."""
        self._stop.set()

    def run(self, connections: int, per_second: float) -> Report:
        """Send until `stop`, all connections together `per_second` photos at most."""
        pause_s = connections / per_second
        self._enough = round(per_second)
        threads = [
            threading.Thread(target=self._send_on, args=(number, number * pause_s / connections, pause_s))
            for number in range(connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, took in self._took.items():
            self._report.releases[name].median_ms = statistics.median(took)
            self._report.releases[name].slowest_ms = max(took)
        return self._report

    def _send_on(self, number: int, delay_s: float, pause_s: float) -> None:
        connection = self._connect()
        due_s = time.monotonic() + delay_s
        for turn in count(number):
            if self._stop.wait(max(0.0, due_s - time.monotonic())):
                break
            due_s = max(due_s + pause_s, time.monotonic())
            if not self._send(connection, *self._bodies[turn % len(self._bodies)]):
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        with self._lock:
            self._report.connections += 1
        return http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)

    def _send(self, connection: http.client.HTTPConnection, photo: str, kind: str, body: bytes) -> bool:
        """One request, sent once. Returns: whether the connection may carry another."""
        start = time.perf_counter()
        try:
            connection.request("POST", "/predict", body, {"Content-Type": kind})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._note_failure(_UNKNOWN, type(error).__name__)
            return False
        took_ms = (time.perf_counter() - start) * 1000
        release = response.headers.get("X-Sealift-Release", _UNKNOWN)
        found = _first_class(answer, release) if response.status == 200 else None
        if found is not None:
            self._note_answer(release, photo, found, took_ms)
        else:
            self._note_failure(release, f"{response.status} {_code_of(answer)}")
        if response.will_close:
            with self._lock:
                self._report.moved += 1
        return not response.will_close

    def _note_answer(self, release: str, photo: str, found: tuple[int, float], took_ms: float) -> None:
        with self._lock:
            answers, now_s = self._book(release)
            answers.good += 1
            answers.last_good_s = now_s
            self._took.setdefault(release, []).append(took_ms)
            self._report.silence_ms = max(self._report.silence_ms, (now_s - self._last_good_s) * 1000)
            self._last_good_s = now_s
            known = answers.first.setdefault(photo, found)
            is_same = found[0] == known[0] and abs(found[1] - known[1]) <= SAME
            self._report.contradictions += not is_same

    def _note_failure(self, release: str, what: str) -> None:
        with self._lock:
            answers, now_s = self._book(release)
            answers.failures[what] = answers.failures.get(what, 0) + 1
            answers.first_failed_s = answers.first_failed_s or now_s
            answers.last_failed_s = now_s

    def _book(self, release: str) -> tuple[Answers, float]:
        now_s = time.time()
        self._report.sent += 1
        if self._report.sent == self._enough:
            self._flowing.touch()
        return self._report.releases.setdefault(release, Answers(first_s=now_s)), now_s


def main(arguments: Sequence[str]) -> int:
    """As the module says."""
    url, connections, per_second, flowing, *photos = arguments
    client = Client(url, [Path(name) for name in photos], Path(flowing))
    signal.signal(signal.SIGTERM, lambda _number, _frame: client.stop())
    report = client.run(int(connections), float(per_second))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


def _kind(photo: Path) -> str:
    return mimetypes.guess_type(photo.name)[0] or "application/octet-stream"


def _first_class(answer: bytes, release: str) -> tuple[int, float] | None:
    """Class and probability; NaN where another release speaks than the header says; None: no class."""
    try:
        document = json.loads(answer)
        probability = float(document["probabilities"][0]["probability"])
        return int(document["prediction"]), probability if document["release"] == release else math.nan
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _code_of(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["code"])
    except (ValueError, KeyError, TypeError):
        return answer[:40].decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
