"""`/predict` as people use it: `requests`, curl's habits, forms, photos, lists, handlers."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from tests.serve.nets import colours, fraud, one_echo, served, service
from tests.serve.running import Answer, Serving

from sealift.model.declaration import TextInput

ROW: dict[str, Any] = {"amount": 120, "age": 33, "country": "FR"}

HANDLER = """
import sys
import numpy as np

def preprocess(data):
    if data == b"crash": raise RuntimeError("secret of the handler")
    if data == b"exit": sys.exit(3)
    return {"x": np.frombuffer(data, np.uint8)[None, :3].astype(np.float32)}

def postprocess(outputs):
    return {"prediction": outputs["score"].tolist(), "kind": np.float32(1.5)}
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("models")
    handler = folder / "handler.py"
    handler.write_text(HANDLER)
    handled = served("handled", fraud(folder).path, handler=handler)
    text = served("words", one_echo(folder / "words.onnx", "BYTES", ["n"]), TextInput())
    serving = Serving(service(fraud(folder), colours(folder), handled, text))
    yield serving
    assert serving.stop() == 0
    assert serving.thread.reported == []


def photo(colour: tuple[int, int, int], form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(stream, form)
    return stream.getvalue()


GREEN = photo((0, 255, 0))
BLUE = photo((0, 0, 255), "JPEG")


def test_the_guides_own_client_works_unchanged(serving: Serving) -> None:
    url = serving.url + "/predict/colours"
    image = base64.b64encode(GREEN).decode()
    response = requests.post(url, json={"image": image}, timeout=10)
    assert response.json()["prediction"] == 1
    assert response.json()["label"] == "green"
    assert response.json()["release"] == "fraud@1.2.0"


def test_a_table_row_is_scored_and_named(serving: Serving) -> None:
    answer = requests.post(serving.url + "/predict/fraud", json=ROW, timeout=10).json()
    assert answer["prediction"] in ("fraud", "ok")
    assert 0 <= answer["score"] <= 1
    assert answer["threshold"] == 0.5


def test_a_list_of_items_gives_a_list_of_the_same_answers(serving: Serving) -> None:
    rows = [ROW, {**ROW, "amount": 9}, {**ROW, "country": "DE"}]
    single = [serving.post("/predict/fraud", row).json() for row in rows]
    assert serving.post("/predict/fraud", rows).json() == single


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "image/png"}, GREEN),
        ({"Content-Type": "IMAGE/JPEG; q=1"}, photo((0, 255, 0), "JPEG")),
        ({"Content-Type": "application/octet-stream"}, GREEN),
        ({"Content-Type": "application/x-www-form-urlencoded"}, GREEN),  # curl --data-binary @photo.png
        ({}, GREEN),
        ({"Content-Encoding": "gzip", "Content-Type": "image/png"}, gzip.compress(GREEN)),
    ],
    ids=["png", "jpeg", "octets", "curl", "no type", "gzip"],
)
def test_a_photo_may_be_the_body(serving: Serving, headers: dict[str, str], body: bytes) -> None:
    answer = serving.ask("POST", "/predict/colours", body, headers)
    assert answer.json()["label"] == "green", answer


JSON_ROW = b'{"amount": 120, "age": 33, "country": "FR"}'


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, JSON_ROW),
        ({"Content-Type": 'application/json; charset="UTF-16"'}, JSON_ROW.decode().encode("utf-16")),
        ({"Content-Type": "application/json"}, b"\xef\xbb\xbf" + JSON_ROW),
        ({"Content-Type": "application/vnd.bank+json"}, JSON_ROW),
        ({"Content-Type": "application/x-www-form-urlencoded"}, JSON_ROW),  # curl -d
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"amount=120&age=33&country=FR"),
        ({"Content-Type": "text/plain"}, JSON_ROW),
        ({}, b"\n " + JSON_ROW),
        ({"Content-Encoding": "deflate"}, __import__("zlib").compress(JSON_ROW)),
    ],
    ids=["charset", "utf-16", "bom", "+json", "curl -d", "form", "text", "no type", "deflate"],
)
def test_json_comes_in_many_dresses(serving: Serving, headers: dict[str, str], body: bytes) -> None:
    expected = serving.post("/predict/fraud", ROW).json()
    assert serving.ask("POST", "/predict/fraud", body, headers).json() == expected


def test_forms_with_one_file_several_files_or_fields(serving: Serving) -> None:
    url = serving.url + "/predict/colours"
    one = requests.post(url, files={"image": ("green.png", GREEN)}, timeout=10).json()
    assert one["label"] == "green"
    files = [("image", ("green.png", GREEN)), ("image", ("blue.jpg", BLUE))]
    several = requests.post(url, files=files, timeout=10).json()
    assert [answer["label"] for answer in several] == ["green", "blue"]
    fields = {name: (None, str(value)) for name, value in ROW.items()}
    table = requests.post(serving.url + "/predict/fraud", files=fields, timeout=10).json()
    assert table == serving.post("/predict/fraud", ROW).json()


def test_a_missing_form_field_takes_the_declared_value(serving: Serving) -> None:
    expected = serving.post("/predict/fraud", {**ROW, "age": None}).json()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert serving.ask("POST", "/predict/fraud", b"amount=120&age=&country=FR", form).json() == expected


def test_tensors_may_always_be_given_by_name(serving: Serving) -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[0, 2] = 1
    answer = serving.post("/predict/colours", {"inputs": {"image": image.tolist()}}).json()
    assert answer["label"] in ("blue", ["blue"])


def test_text_may_be_the_body(serving: Serving) -> None:
    plain = serving.ask("POST", "/predict/words", "grün".encode(), {"Content-Type": "text/plain"})
    assert plain.json()["prediction"] == serving.post("/predict/words", {"text": "grün"}).json()["prediction"]


def test_a_handler_gets_raw_bytes_and_its_numpy_answer_becomes_json(serving: Serving) -> None:
    answer = serving.ask(
        "POST", "/predict/handled", b"\x01\x02\x03", {"Content-Type": "application/octet-stream"}
    )
    assert answer.status == 200, answer
    assert answer.json()["kind"] == 1.5


@pytest.mark.parametrize("body", [b"crash", b"exit"])
def test_a_handler_that_fails_is_a_500_without_its_secrets(serving: Serving, body: bytes) -> None:
    answer = serving.ask("POST", "/predict/handled", body, {"Content-Type": "application/octet-stream"})
    assert answer.status == 500
    assert set(answer.json()) >= {"error", "code"}
    assert "Traceback" not in answer.body.decode()
    again = serving.ask("POST", "/predict/handled", b"abc", {"Content-Type": "application/octet-stream"})
    assert again.status == 200


JSON = {"Content-Type": "application/json"}
BAD: list[tuple[str, str, dict[str, str], bytes, int, dict[str, Any]]] = [
    ("wrong number", "fraud", JSON, b'{"amount": "12,5", "age": 3, "country": "FR"}', 400,
     {"error": 'amount: expected a number, got "12,5"', "code": "invalid_field", "field": "amount"}),
    ("wrong item", "fraud", JSON, b'[{"amount": 1, "age": 3, "country": "FR"}, {"amount": "x", "country": "FR"}]', 400,
     {"error": '[1].amount: expected a number, got "x"', "code": "invalid_field", "field": "[1].amount"}),
    ("no JSON", "fraud", JSON, b"{", 400, {"code": "invalid_json"}),
    ("deep JSON", "fraud", JSON, b'{"a":' * 60_000, 400, {"code": "invalid_json"}),
    ("not UTF-8", "fraud", JSON, b'{"amount": "\xff"}', 400, {"code": "invalid_json"}),
    ("empty body", "fraud", JSON, b"", 400, {"code": "invalid_body"}),
    ("empty list", "fraud", JSON, b"[]", 400, {"code": "invalid_body"}),
    ("unknown charset", "fraud", {"Content-Type": "application/json; charset=klingon"}, b"{}", 415,
     {"code": "unsupported_media"}),
    ("unknown type", "fraud", {"Content-Type": "application/pdf"}, b"%PDF", 415, {"code": "unsupported_media"}),
    ("unknown coding", "fraud", {"Content-Encoding": "br"}, b"x", 415, {"code": "unsupported_encoding"}),
    ("bad gzip", "fraud", {"Content-Encoding": "gzip"}, b"x", 400, {"code": "invalid_encoding"}),
    ("bad form", "colours", {"Content-Type": "multipart/form-data"}, b"x", 400, {"code": "invalid_multipart"}),
    ("no image", "colours", {"Content-Type": "image/png"}, b"not an image at all", 400, {}),
    ("field twice", "fraud", {"Content-Type": "multipart/form-data; boundary=b"},
     b'--b\r\nContent-Disposition: form-data; name="age"\r\n\r\n1\r\n' * 2 + b"--b--", 400,
     {"code": "invalid_multipart", "field": "age"}),
    ("file and field", "colours", {"Content-Type": "multipart/form-data; boundary=b"},
     b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n1\r\n'
     b'--b\r\nContent-Disposition: form-data; name="b"\r\n\r\n1\r\n--b--', 400, {"code": "invalid_multipart"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "headers", "body", "status", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_every_mistake_is_named_in_the_same_shape(
    serving: Serving, model: str, headers: dict[str, str], body: bytes, status: int, expected: dict[str, Any]
) -> None:
    answer: Answer = serving.ask("POST", f"/predict/{model}", body, headers)
    document = answer.json()
    assert answer.status == status, document
    assert {"error", "code"} <= set(document) <= {"error", "code", "field"}
    assert expected.items() <= document.items()
    assert {"x-request-id", "x-sealift-release"} <= set(answer.headers)


def test_several_models_must_be_named(serving: Serving) -> None:
    answer = serving.post("/predict", ROW)
    assert (answer.status, answer.json()["code"]) == (400, "model_required")
    assert "/predict/fraud, /predict/colours" in answer.json()["error"]
