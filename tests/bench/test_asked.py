"""Golden inputs become requests, and recorded outputs judge the answers."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sealift.bench.answer import Answer
from sealift.bench.asked import Asked, of_file, of_goldens
from sealift.errors import NotInstalled, StoreError, UsageError


def tensor(name: str, datatype: str, shape: list[int], data: bytes, strings: tuple[str, ...] = ()) -> Any:
    text = base64.b64encode(data).decode()
    return {"name": name, "datatype": datatype, "shape": shape, "data": text, "strings": list(strings)}


def write_goldens(folder: Path, model: str, *goldens: Any) -> None:
    folder.mkdir(exist_ok=True)
    document = {"model": model, "goldens": list(goldens), "reason": "", "batch_reason": ""}
    (folder / f"{model}.json").write_text(json.dumps(document))


def tensor_golden(tolerance: float = 0.01, y: float = 0.5) -> Any:
    inputs = [tensor("x", "FP32", [1, 2], struct.pack("<2f", 1, 2)), tensor("s", "BYTES", [1], b"", ("ab",))]
    output = {"tensor": tensor("y", "FP32", [1], struct.pack("<f", y)), "tolerance": tolerance}
    return {"name": "one", "payload": None, "inputs": inputs, "outputs": [output]}


def payload_golden(file: str) -> Any:
    return {"name": file, "payload": file, "inputs": [], "outputs": []}


def answer(values: bytes, name: str = "y") -> Answer:
    outputs = [{"name": name, "parameters": {"binary_data_size": len(values)}}]
    head = json.dumps({"outputs": outputs}).encode()
    lines = f"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {len(head)}".encode()
    return Answer(200, lines, head + values, keeps=True)


def golden(tmp_path: Path, **how: Any) -> Asked:
    write_goldens(tmp_path, "m", tensor_golden(**how))
    [asked] = of_goldens(tmp_path)
    return asked


def test_tensors_go_as_binary_and_are_asked_back_as_binary(tmp_path: Path) -> None:
    asked = golden(tmp_path)
    length = int(asked.headers["Inference-Header-Content-Length"])
    head, raw = json.loads(asked.body[:length]), asked.body[length:]
    assert asked.path == "/v2/models/m/infer"
    assert head["parameters"] == {"binary_data_output": True}
    assert [one["parameters"]["binary_data_size"] for one in head["inputs"]] == [8, 6]
    assert raw == struct.pack("<2f", 1, 2) + b"\x02\x00\x00\x00ab"


def test_a_payload_goes_to_predict_as_its_name_tells(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8")
    write_goldens(tmp_path / "sub", "other")
    folder = tmp_path
    write_goldens(folder / "goldens", "m", payload_golden("../a.json"), payload_golden("../b.jpg"))
    found = of_goldens(folder / "goldens")
    assert [one.path for one in found] == ["/predict", "/predict"]
    assert [one.headers["Content-Type"] for one in found] == ["application/json", "image/jpeg"]


def test_with_several_models_each_has_its_path_and_one_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"x")
    for model in ("a", "b"):
        write_goldens(tmp_path, model, payload_golden("p.png"))
    assert [one.path for one in of_goldens(tmp_path)] == ["/predict/a", "/predict/b"]
    assert [one.path for one in of_goldens(tmp_path, "b")] == ["/predict/b"]


def test_the_message_is_one_request(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text('{"a": 1}')
    message = of_file(tmp_path / "case.json", "/predict").message("box:8000")
    assert message == (
        b"POST /predict HTTP/1.1\r\nHost: box:8000\r\nContent-Length: 8\r\n"
        b'Content-Type: application/json\r\n\r\n{"a": 1}'
    )


def test_an_answer_within_the_tolerance_is_as_recorded(tmp_path: Path) -> None:
    assert golden(tmp_path).difference(answer(struct.pack("<f", 0.505))) == ""


@pytest.mark.parametrize(
    ("values", "name", "says"),
    [
        (struct.pack("<f", 0.6), "y", "output y: differs by 0.1, tolerance 0.01"),
        (struct.pack("<f", float("nan")), "y", "output y: differs by inf"),
        (b"\0" * 8, "y", "output y: expected 4 bytes, found 8"),
        (struct.pack("<f", 0.5), "z", "output y: missing"),
    ],
    ids=["far", "nan", "size", "name"],
)
def test_any_other_answer_is_not(tmp_path: Path, values: bytes, name: str, says: str) -> None:
    assert golden(tmp_path).difference(answer(values, name)).startswith(says)


def test_without_a_tolerance_only_the_same_bytes_will_do(tmp_path: Path) -> None:
    asked = golden(tmp_path, tolerance=0)
    assert asked.difference(answer(struct.pack("<f", 0.5))) == ""
    assert "found others" in asked.difference(answer(struct.pack("<f", 0.50001)))


def test_an_answer_without_binary_tensors_is_no_match(tmp_path: Path) -> None:
    plain = Answer(200, b"HTTP/1.1 200 OK", b"{}", keeps=True)
    assert "not readable" in golden(tmp_path).difference(plain)


def test_nan_equals_nan(tmp_path: Path) -> None:
    assert golden(tmp_path, y=float("nan")).difference(answer(struct.pack("<f", float("nan")))) == ""


def test_a_release_without_golden_inputs_asks_for_a_file(tmp_path: Path) -> None:
    write_goldens(tmp_path, "m")
    with pytest.raises(NotInstalled, match="no golden inputs"):
        of_goldens(tmp_path)


def test_another_model_than_the_release_has_is_refused(tmp_path: Path) -> None:
    write_goldens(tmp_path, "m", tensor_golden())
    with pytest.raises(UsageError, match="--model x: the release has m"):
        of_goldens(tmp_path, "x")


@pytest.mark.parametrize("damage", ["{", '{"model": "m"}', "[]"], ids=["cut", "keys", "list"])
def test_damaged_goldens_are_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "m.json").write_text(damage)
    with pytest.raises(StoreError, match=r"m\.json: damaged"):
        of_goldens(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--input"):
        of_file(tmp_path / "none.jpg", "/predict")
