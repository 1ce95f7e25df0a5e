"""The real curl, with the requests that guides show and with what it sends by itself."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from PIL import Image
from tests.serve.nets import colours, service
from tests.serve.running import Serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(service(colours(tmp_path_factory.mktemp("model"))))
    yield serving
    assert serving.stop() == 0


@pytest.fixture(scope="module")
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


def curl(*words: str | Path) -> Any:
    done = subprocess.run(["curl", "-s", *words], capture_output=True, check=True, timeout=30)
    return json.loads(done.stdout)


def test_the_guides_own_request_is_answered(serving: Serving, photo: bytes) -> None:
    """curl -s -X POST http://127.0.0.1:PORT/predict -H 'Content-Type: application/json' -d '{"image": "<base64>"}'."""
    body = json.dumps({"image": base64.b64encode(photo).decode()})
    url = f"http://127.0.0.1:{serving.address[1]}/predict"
    answer = curl("-X", "POST", url, "-H", "Content-Type: application/json", "-d", body)
    assert (answer["prediction"], answer["label"]) == (1, "green")


def test_every_way_in_which_curl_sends_a_photo_gives_the_same_answer(
    serving: Serving, photo: bytes, tmp_path: Path
) -> None:
    plain, packed, tight = (tmp_path / name for name in ("cat.jpg", "cat.jpg.gz", "cat.jpg.zst"))
    plain.write_bytes(photo)
    packed.write_bytes(gzip.compress(photo))
    tight.write_bytes(zstandard.compress(photo))
    case = tmp_path / "case.json"
    case.write_text(json.dumps({"image": base64.b64encode(photo).decode()}))
    url = f"{serving.url}/predict"
    jpeg = ("-H", "Content-Type: image/jpeg")
    ways: list[tuple[str, ...]] = [
        (*jpeg, "--data-binary", f"@{plain}"),
        ("--data-binary", f"@{plain}"),  # says x-www-form-urlencoded
        ("-F", f"file=@{plain}"),
        ("-H", "Content-Type: application/json", "-d", f"@{case}"),
        (*jpeg, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{plain}"),
        (*jpeg, "-H", "Expect: 100-continue", "--data-binary", f"@{plain}"),
        (*jpeg, "-T", str(plain), "-X", "POST"),
        (*jpeg, "-0", "--data-binary", f"@{plain}"),  # HTTP/1.0
        (*jpeg, "--http2", "--data-binary", f"@{plain}"),  # offers h2c
        (*jpeg, "-H", "Content-Encoding: gzip", "--data-binary", f"@{packed}"),
        (*jpeg, "-H", "Content-Encoding: zstd", "--data-binary", f"@{tight}"),
        ("--compressed", "-F", f"file=@{plain}"),
    ]
    assert [curl(url, *way)["prediction"] for way in ways] == [1] * len(ways)
    both = curl(url, "-F", f"one=@{plain}", "-F", f"two=@{plain}")
    assert [answer["prediction"] for answer in both] == [1, 1]


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(serving: Serving, tmp_path: Path) -> None:
    """curl asks first (Expect: 100-continue) and hears 413 instead of sending 65 MiB."""
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(65 * 2**20)
    words = ["-w", "%{http_code} %{size_upload}", "-o", "/dev/null", "--data-binary", f"@{large}"]
    done = subprocess.run(
        ["curl", "-s", "-H", "Expect: 100-continue", *words, f"{serving.url}/predict"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout == "413 0"
