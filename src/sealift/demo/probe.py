"""A client of the demo's service, run inside the namespace: waits for it, and times it.

`wait URL SECONDS` ends with 0 once `/healthz` answers 200. `time URL PHOTO...` prints, as JSON, the
median milliseconds from request to answer of each photo, one kept connection, one request at a time.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_WARM_UP: Final = 3
_ROUNDS: Final = 20
_PAUSE_S: Final = 0.05


def wait_until_healthy(url: str, seconds: float) -> bool:
    """Ask `/healthz` until it answers 200. Returns: False after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if _ask(url, seconds).status == 200:
                return True
        except OSError:
            pass
        time.sleep(_PAUSE_S)
    return False


def time_photos(url: str, photos: Sequence[Path]) -> dict[str, float]:
    """Median milliseconds per photo, posted raw to `/predict`.

    Raises: OSError: no answer; ValueError: an answer that is not 200.
    """
    connection = _connect(url, 30)
    try:
        return {str(photo): _median_ms(connection, photo) for photo in photos}
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    """As the module says; 1 when the service does not answer as it should."""
    verb, url, *rest = arguments
    if verb == "wait":
        return 0 if wait_until_healthy(url, float(rest[0])) else 1
    try:
        medians = time_photos(url, [Path(name) for name in rest])
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(medians) + "\n")
    return 0


def _connect(url: str, timeout_s: float) -> http.client.HTTPConnection:
    address = urlsplit(url)
    return http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=timeout_s)


def _ask(url: str, timeout_s: float) -> http.client.HTTPResponse:
    connection = _connect(url, timeout_s)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def _median_ms(connection: http.client.HTTPConnection, photo: Path) -> float:
    body = photo.read_bytes()
    kind = mimetypes.guess_type(photo.name)[0] or "application/octet-stream"
    took: list[float] = []
    for _ in range(_WARM_UP + _ROUNDS):
        start = time.perf_counter()
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        response = connection.getresponse()
        answer = response.read()
        took.append((time.perf_counter() - start) * 1000)
        if response.status != 200:
            raise ValueError(f"{photo.name}: {response.status} {answer[:200].decode(errors='replace')}")
    return statistics.median(took[_WARM_UP:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
