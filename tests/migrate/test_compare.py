"""Answers beside each other: what is equal, what differs, and services that give none."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sealift.cli.main import run
from sealift.errors import NotServing, UsageError
from sealift.events import Silent
from sealift.migrate.asking import Answered, NoAnswer, OldClient, request_of
from sealift.migrate.compare import Asking, Pair, compare, judge
from sealift.migrate.inputs import expand_inputs
from sealift.migrate.old_service import OldService
from sealift.migrate.own import Input, Own


def floats(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


Serving = Callable[[Callable[[str, bytes], tuple[int, Any]]], AbstractContextManager[str]]

CLASSES = Own(
    answer={
        "prediction": 1,
        "label": "cat",
        "probabilities": [
            {"class": 1, "label": "cat", "probability": 0.75},
            {"class": 0, "label": "dog", "probability": 0.25},
        ],
    }
)
SCORE = Own(answer={"prediction": "fraud", "score": 0.91, "threshold": 0.83})
TENSORS = Own(outputs={"y": floats([[1.0, 2.0]]), "z": floats([0.0])}, answer={"prediction": {}})
ROW = Input("row.json", b'{"a": 1, "b": "x"}', "application/json")


def judged(document: Any, own: Own, service: OldService | None = None) -> Pair:
    service = service or OldService()
    return judge("i", Answered(200, document), own, Asking(OldClient("http://old", service, "m"), service))


@pytest.mark.parametrize(
    ("document", "own"),
    [
        ({"prediction": 1, "confidence": 0.7501}, CLASSES),
        ({"prediction": "1", "confidence": 0.75}, CLASSES),
        ({"class_name": "cat", "probability": 0.75}, CLASSES),
        ([{"label": "cat"}], CLASSES),
        ({"cat": 0.7500001, "dog": 0.25, "cow": 1e-9}, CLASSES),
        ({"1": 0.75, "0": 0.25}, CLASSES),
        (dict(CLASSES.answer), CLASSES),
        ("cat", CLASSES),
        ({"prediction": "fraud", "score": 0.9105}, SCORE),
        (dict(SCORE.answer), SCORE),
        ({"outputs": [{"name": "y", "data": [1.0, 2.0005]}, {"name": "z", "data": [0.0]}]}, TENSORS),
        ({"predictions": {"z": [0], "y": [[1, 2]]}}, TENSORS),
        (
            {"predictions": [{"y": 1.0, "z": 0.0}, {"y": 2.0, "z": None}]},
            Own(outputs={"y": floats([1, 2])}),
        ),
        ({"predictions": [[1.0, 2.0]]}, Own(outputs={"y": floats([[1, 2]])})),
        ([1.0, 2.0], Own(outputs={"y": floats([[1, 2]])})),
    ],
)
def test_answers_in_any_form_are_equal(document: Any, own: Own) -> None:
    pair = judged(document, own)
    assert pair.is_equal, pair


@pytest.mark.parametrize(
    ("document", "own", "why"),
    [
        ({"prediction": 0, "confidence": 0.75}, CLASSES, "another class"),
        ({"prediction": 1, "confidence": 0.76}, CLASSES, "score: more than 0.001 apart"),
        ({"dog": 0.6, "cat": 0.4}, CLASSES, "another class"),
        ({"cat": 0.75, "dog": 0.2}, CLASSES, "probabilities: more than 0.001 apart"),
        ({"prediction": "ok", "score": 0.91}, SCORE, "another class"),
        ({"outputs": [{"name": "y", "data": [1.0, 2.1]}]}, TENSORS, "y: more than 0.001 apart"),
        ({"outputs": [{"name": "y", "data": [1.0]}]}, TENSORS, "y: more than 0.001 apart"),
        (
            {"status": "done"},
            CLASSES,
            "nothing to compare; the old answer has status: name its fields in old-service.toml",
        ),
    ],
)
def test_answers_that_differ_say_why(document: Any, own: Own, why: str) -> None:
    pair = judged(document, own)
    assert (pair.is_equal, pair.why) == (False, why)


def test_fields_of_ones_own_are_found_by_their_names() -> None:
    service = OldService(prediction="result.species", score="result.p")
    assert judged({"result": {"species": "cat", "p": 0.75}, "prediction": 7}, CLASSES, service).is_equal
    assert not judged({"result": {"species": "dog", "p": 0.75}}, CLASSES, service).is_equal


def test_a_refusal_is_equal_to_a_refusal_only() -> None:
    asking = Asking(OldClient("http://old", OldService(), "m"), OldService())
    refused = Answered(400, {"error": "no photo"})
    assert judge("i", refused, Own(refusal="image: not a photo"), asking).is_equal
    pair = judge("i", refused, CLASSES, asking)
    assert (pair.is_equal, pair.old, pair.new) == (False, "HTTP 400: no photo", "cat 0.7500")


def test_every_form_makes_its_own_request() -> None:
    photo = Input("p.png", b"\x89PNG", "image/png")
    own = Own(inputs={"x": floats([[1, 2]])}, has_fields=True)
    assert request_of("raw", photo, own).body == b"\x89PNG"
    assert request_of("raw", photo, own).media == "image/png"
    assert json.loads(request_of("base64:img", photo, own).body) == {"img": "iVBORw=="}
    assert (
        b'name="f"; filename="input"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--'
        in request_of("file:f", photo, own).body
    )
    (tensor,) = json.loads(request_of("v2", photo, own).body)["inputs"]
    assert tensor == {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    assert json.loads(request_of("mlflow", photo, own).body) == {"inputs": {"x": [[1.0, 2.0]]}}
    table = json.loads(request_of("mlflow", ROW, own).body)["dataframe_split"]
    assert table == {"columns": ["a", "b"], "data": [[1, "x"]]}
    assert request_of("json", ROW, own).body == ROW.body
    with pytest.raises(NoAnswer, match="the project makes no tensors of it: too small"):
        request_of("v2", photo, Own(refusal="too small"))


def ask(url: str, count: int = 5) -> None:
    asking = Asking(OldClient(url, OldService(), "m", timeout_s=0.2), OldService())
    inputs = [Input(f"{number}.json", b"{}", "application/json") for number in range(count)]
    compare(inputs, lambda _: CLASSES, asking, Silent())


def test_a_service_that_is_not_there_is_not_asked_for_every_input() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(NotServing) as caught:
        ask(f"http://127.0.0.1:{port}")
    assert caught.value.message == f"http://127.0.0.1:{port}/predict: 3 of 3 inputs have no answer"
    assert [problem.rpartition("] ")[2] for problem in caught.value.problems] == [
        *["Connection refused"] * 3,
        "2 more were not tried",
    ]


def test_a_service_that_takes_too_long_is_said_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotServing) as caught:
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}", 1)
    assert caught.value.problems == ("0.json: no answer within 0.2 s",)


@pytest.mark.parametrize(
    ("status", "document", "said"),
    [
        (200, b"<html>ok</html>", "HTTP 200, but no JSON: b'<html>ok</html>'"),
        (404, {"error": "gone"}, "HTTP 404: nothing answers POST there"),
    ],
)
def test_answers_that_are_none_come_all_at_once(
    old_service: Serving, status: int, document: Any, said: str
) -> None:
    with old_service(lambda *_: (status, document)) as url, pytest.raises(NotServing) as caught:
        ask(url, 2)
    assert caught.value.problems == (f"0.json: {said}", f"1.json: {said}")


def test_one_failure_among_answers_is_named(old_service: Serving) -> None:
    answers = iter([(200, {"prediction": 1}), (200, b"?"), (500, b"Internal Server Error")])
    with old_service(lambda *_: next(answers)) as url, pytest.raises(NotServing) as caught:
        ask(url, 3)
    assert caught.value.message.endswith("1 of 3 inputs have no answer")
    assert caught.value.problems == ("1.json: HTTP 200, but no JSON: b'?'",)


@pytest.mark.parametrize("url", ["ftp://x", "localhost:5000", "http://", "http://x:port"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"--against"):
        OldClient(url, OldService(), "m")


def test_a_path_in_the_url_counts_and_the_model_is_named_in_it() -> None:
    service = OldService(path="/v2/models/{model}/infer")
    assert OldClient("http://old:1", service, "a b").place == "http://old:1/v2/models/a%20b/infer"
    assert OldClient("http://old:1/x?y=1", service, "a").place == "http://old:1/x?y=1"


def test_folders_and_patterns_are_all_their_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", ".hidden", "deep/c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path), "-", str(tmp_path / "*" / "*.json")]
    assert expand_inputs(names) == (
        str(tmp_path / "a.png"),
        str(tmp_path / "b.png"),
        "-",
        str(tmp_path / "deep" / "c.json"),
    )
    with pytest.raises(UsageError) as caught:
        expand_inputs([str(tmp_path / "empty"), str(tmp_path / "gone.json")])
    assert caught.value.problems == (
        f"{tmp_path}/empty: an empty folder",
        f"{tmp_path}/gone.json: no such file",
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--against", "http://x"], "--against needs --project DIR"),
        (["--against-form", "raw"], "give --against URL"),
        (
            ["--against", "http://x", "--project", ".", "--against-form", "bas64:x"],
            "--against-form: expected",
        ),
    ],
)
def test_wrong_flags_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    (tmp_path / "i.json").write_text("{}")
    assert run(["predict", str(tmp_path / "i.json"), *more]) == 2
    assert said in capsys.readouterr().err


def test_a_boxs_own_sealift_says_that_it_cannot_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sealift.collect.box_side import is_box_side

    assert is_box_side("cli/predict.py")
    assert not is_box_side("cli/against.py")

    import builtins

    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == "sealift.cli.against":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run(["predict", "x.json", "--project", str(tmp_path), "--against", "http://x"]) == 2
    assert (
        "--against is of the connected side; a box's own sealift does not carry it" in capsys.readouterr().err
    )
