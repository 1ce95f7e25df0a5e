"""Paths, methods, health, metrics and the OpenAPI document."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serve.nets import colours, fraud, served, service
from tests.serve.running import Serving

from sealift.errors import Unavailable
from sealift.model.service import Batching
from sealift.serve.http.limits import HttpLimits
from sealift.serve.openapi import openapi
from sealift.serve.predictor import PredictorOptions
from sealift.serve.ticket import Ticket
from sealift.serve.worker import WorkerOptions

ROW = {"amount": 120, "age": 33, "country": "FR"}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(
        service(fraud(tmp_path)), WorkerOptions(http=HttpLimits(body_bytes=5000), drain_s=5, grace_s=0)
    )
    yield serving
    assert serving.stop() == 0
    assert serving.thread.reported == []


def test_the_only_model_needs_no_name(serving: Serving) -> None:
    assert serving.post("/predict", ROW).json() == serving.post("/predict/fraud", ROW).json()


def test_health_names_the_release(serving: Serving) -> None:
    answer = serving.ask("GET", "/healthz")
    assert (answer.status, answer.json()) == (200, {"status": "ready", "release": "fraud@1.2.0"})
    assert answer.headers["x-sealift-release"] == "fraud@1.2.0"


def test_the_index_says_where_things_are(serving: Serving) -> None:
    assert serving.ask("GET", "/").json()["models"] == {"fraud": "/predict/fraud"}


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/predct", "/predict"),
        ("/predict/", "/predict"),
        ("/v1/models/fraud/infer", "/v2/models/fraud/infer"),
        ("/health", "/healthz"),
        ("/predict/froud", "/predict/fraud"),
    ],
)
def test_a_wrong_path_is_told_the_near_one(serving: Serving, path: str, near: str) -> None:
    answer = serving.ask("GET", path)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["error"] == f"no such path: {path}; did you mean {near}?"


def test_a_path_far_from_all_is_told_the_models(serving: Serving) -> None:
    assert "this release serves fraud" in serving.ask("GET", "/wp-login.php").json()["error"]


def test_a_wrong_method_is_told_the_right_ones(serving: Serving) -> None:
    answer = serving.ask("GET", "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = serving.ask("DELETE", "/healthz")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_percent_encoded_paths_mean_the_same(serving: Serving) -> None:
    assert serving.ask("GET", "/v2/models/%66raud").status == 200


def test_a_model_name_that_needs_quoting_is_found(tmp_path: Path) -> None:
    serving = Serving(service(served("tüv 3", fraud(tmp_path).path)))
    try:
        assert serving.ask("GET", "/v2/models/t%C3%BCv%203").json()["name"] == "tüv 3"
        assert serving.ask("GET", "/v2/models/t%c3%bcv%203").status == 200
    finally:
        serving.stop()


def test_head_is_get_without_the_body(serving: Serving) -> None:
    answer = serving.ask("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) == len(serving.ask("GET", "/healthz").body)


def test_a_body_that_grows_too_large_by_decompression_is_413(serving: Serving) -> None:
    import gzip

    body = gzip.compress(b" " * 1_000_000)
    assert len(body) < 5000
    answer = serving.ask("POST", "/predict", body, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.json()["code"]) == (413, "too_large")


def samples(serving: Serving) -> dict[str, float]:
    """Metric lines by name and labels."""
    lines = serving.ask("GET", "/metrics").body.decode().splitlines()
    return {
        key: float(value)
        for key, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def test_metrics_count_what_happened(serving: Serving) -> None:
    serving.post("/predict", ROW)
    serving.post("/predict/fraud", {**ROW, "amount": "x"})
    serving.ask("GET", "/nowhere/" + "x" * 50)
    found = samples(serving)
    assert found['sealift_requests_total{path="/predict/{model}",model="fraud",status="200"}'] == 1
    assert found['sealift_requests_total{path="/predict/{model}",model="fraud",status="400"}'] == 1
    assert found['sealift_requests_total{path="other",model="",status="404"}'] == 1
    assert found['sealift_request_seconds_count{path="/predict/{model}",model="fraud"}'] == 2
    assert found['sealift_stage_seconds_count{model="fraud",stage="inference"}'] == 1
    assert found['sealift_release_info{name="fraud",version="1.2.0",identity="sha256:0123"}'] == 1
    assert found["sealift_requests_in_flight"] == 1  # this very one
    assert found["sealift_queue_depth"] == 0
    assert found["sealift_connections"] == 1
    assert found["sealift_request_bytes_total"] > 50
    assert found["process_resident_memory_bytes"] > 10_000_000


def fraud_on(tmp_path: Path, quick_s: float, promised_s: float | None = None, max_rows: int = 1) -> Serving:
    """The fraud model in the loop's turn (`quick_s` is large) or on threads (0)."""
    model = replace(fraud(tmp_path), batching=Batching("", max_rows))
    run = PredictorOptions(threads=2, quick_s=quick_s)
    return Serving(service(model), WorkerOptions(drain_s=5, grace_s=0, run=run, promised_s=promised_s))


IN_TURN, ON_THREADS = 10.0, 0.0
both_ways = pytest.mark.parametrize(
    "quick_s", [IN_TURN, ON_THREADS], ids=["in the loop's turn", "on threads"]
)
STAGES = ("decode", "queue", "inference", "encode")


@both_ways
def test_the_stages_of_requests_add_up_to_their_time(tmp_path: Path, quick_s: float) -> None:
    serving = fraud_on(tmp_path, quick_s)
    try:
        for number in range(20):
            assert serving.post("/predict", {**ROW, "amount": number}).status == 200
        found = samples(serving)
        assert serving.post("/predict", {**ROW, "amount": "x"}).status == 400
        after = samples(serving)
    finally:
        serving.stop()
    route = '{path="/predict/{model}",model="fraud"}'
    assert found["sealift_request_seconds_count" + route] == 20
    assert after["sealift_request_seconds_count" + route] == 21
    spent = 0.0
    for stage in STAGES:
        labels = f'{{model="fraud",stage="{stage}"}}'
        assert found["sealift_stage_seconds_count" + labels] == 20
        assert after["sealift_stage_seconds_count" + labels] == 20, "what was never run has no stages"
        spent += found["sealift_stage_seconds_sum" + labels]
    # In the loop's turn the stages end when the answers are with their connections: a moment after the request's end.
    moments_s = 20 * 0.005 if quick_s == IN_TURN else 1e-6
    assert spent == pytest.approx(found["sealift_request_seconds_sum" + route], abs=moments_s)


def test_latencies_have_a_bucket_that_ends_at_the_promise(tmp_path: Path) -> None:
    serving = fraud_on(tmp_path, IN_TURN, promised_s=0.0123)
    try:
        serving.post("/predict", ROW)
        found = samples(serving)
    finally:
        serving.stop()
    assert 'sealift_request_seconds_bucket{path="/predict/{model}",model="fraud",le="0.0123"}' in found
    for stage in STAGES:
        assert f'sealift_stage_seconds_bucket{{model="fraud",stage="{stage}",le="0.0123"}}' in found


def runs(found: dict[str, float]) -> tuple[float, float, float, float]:
    """Wide and narrow runs, runs, rows."""
    wide, narrow = (
        found.get(f'sealift_runs_total{{model="fraud",layout="{layout}"}}', 0.0)
        for layout in ("wide", "narrow")
    )
    batches = '{model="fraud"}'
    return (
        wide,
        narrow,
        found["sealift_batch_rows_count" + batches],
        found["sealift_batch_rows_sum" + batches],
    )


@both_ways
def test_runs_and_their_rows_are_counted(tmp_path: Path, quick_s: float) -> None:
    serving = fraud_on(tmp_path, quick_s, max_rows=8)
    try:
        for _ in range(5):
            serving.post("/predict", ROW)
        wide, narrow, count, rows = runs(samples(serving))
        assert (wide + narrow, count, rows) == (5, 5, 5)
        assert serving.post("/predict", [ROW] * 8).status == 200
        wide, narrow, count, rows = runs(samples(serving))
        assert (wide + narrow, count, rows) == (6, 6, 13), "a list is one run where rows may share one"
        stats = serving.ask("GET", "/v2/models/fraud/stats").json()["model_stats"][0]
        assert (stats["execution_count"], stats["inference_count"]) == (6, 6)
        times = stats["inference_stats"]
        assert times["success"]["count"] == 6
        parts = ("queue", "compute_input", "compute_infer", "compute_output")
        assert times["success"]["ns"] == sum(times[part]["ns"] for part in parts) > 0
        assert serving.ask("GET", "/v2/models/stats").json()["model_stats"] == [stats]
    finally:
        serving.stop()


def refused(found: dict[str, float], reason: str) -> float:
    return found.get(f'sealift_refused_total{{model="fraud",reason="{reason}"}}', 0.0)


def test_who_cannot_be_answered_in_time_is_refused_on_the_headers_and_counted(tmp_path: Path) -> None:
    serving = fraud_on(tmp_path, ON_THREADS, promised_s=0.05)
    lane = serving.worker._crew._lanes[0]
    try:
        assert serving.post("/predict", ROW).status == 200

        def overload() -> None:
            """Fifty are inside, and answers come a second apart."""
            now = time.perf_counter()
            for number in range(200):
                lane.admission.enter(now + number)
                lane.admission.left(now + number + 1, 1.0, counts=True)
            lane.admission.inside += 50

        serving.thread.call(overload)
        answer = serving.post("/predict", ROW)
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (
            503,
            "overloaded",
            "1",
        )
        found = samples(serving)
        assert refused(found, "overload") == 1
        assert found['sealift_requests_total{path="/predict/{model}",model="fraud",status="503"}'] == 1
        assert serving.ask("GET", "/healthz").status == 200
        serving.thread.call(lambda: setattr(lane.admission, "inside", lane.admission.inside - 50))
        assert serving.post("/predict", ROW).status == 200
    finally:
        serving.stop()


@pytest.mark.parametrize(
    "quick_s",
    [
        pytest.param(IN_TURN, id="in the loop's turn"),
        pytest.param(ON_THREADS, id="on threads"),
    ],
)
def test_work_nobody_waits_for_any_more_is_refused_and_counted(tmp_path: Path, quick_s: float) -> None:
    serving = fraud_on(tmp_path, quick_s)
    try:
        headers = {"Content-Type": "application/json", "X-Sealift-Timeout-Ms": "0.0001"}
        answer = serving.ask("POST", "/predict", json.dumps(ROW).encode(), headers)
        assert (answer.status, answer.json()["code"]) == (504, "deadline_passed")
        found = samples(serving)
        assert refused(found, "deadline") == 1
        assert 'sealift_stage_seconds_count{model="fraud",stage="inference"}' not in found or (
            found['sealift_stage_seconds_count{model="fraud",stage="inference"}'] == 0
        )
    finally:
        serving.stop()


def test_a_full_queue_is_503_and_counted(tmp_path: Path) -> None:
    serving = fraud_on(tmp_path, ON_THREADS)
    crew, gate = serving.worker._crew, threading.Event()
    try:

        def wait() -> None:
            assert gate.wait(10)

        def fill() -> None:
            with contextlib.suppress(Unavailable):
                while True:
                    crew.begin(wait, Ticket())

        serving.thread.call(fill)
        answer = serving.post("/predict", ROW)
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (
            503,
            "queue_full",
            "1",
        )
        found = samples(serving)
        assert found["sealift_queue_depth"] == serving.options.queue_limit
        gate.set()
        assert refused(found, "queue_full") == 1
    finally:
        gate.set()
        serving.stop()


def test_clients_that_are_slow_to_send_their_body_keep_nobody_out(tmp_path: Path) -> None:
    """They have asked for nothing yet: the model is idle."""
    serving = fraud_on(tmp_path, ON_THREADS, promised_s=0.000_001)
    head = b"POST /predict HTTP/1.1\r\nHost: box\r\nContent-Length: 100\r\n\r\n"
    try:
        for _ in range(10):
            assert serving.post("/predict", ROW).status == 200
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                client = stack.enter_context(serving.connect())
                client.send(head)
                serving.thread.call(lambda: None)
            assert serving.post("/predict", ROW).status == 200
    finally:
        serving.stop()


def test_metrics_are_valid_prometheus_text(serving: Serving) -> None:
    serving.post("/predict", ROW)
    answer = serving.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    sample = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? [-+0-9.e]+')
    for line in answer.body.decode().splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line


def test_the_openapi_document_describes_fields_and_tensors(tmp_path: Path) -> None:
    document = openapi(service(fraud(tmp_path), colours(tmp_path)))
    assert document["openapi"] == "3.1.0"
    table = document["components"]["schemas"]["fraud.Input"]
    assert table["required"] == ["amount", "country"]
    assert table["properties"]["country"] == {"enum": ["DE", "FR"]}
    assert table["examples"] == [{"amount": 100.0, "age": 0.0, "country": "DE"}]
    assert "image/*" in document["paths"]["/predict/colours"]["post"]["requestBody"]["content"]
    assert "x: FP32 [batch, 3]" in document["paths"]["/v2/models/fraud/infer"]["post"]["description"]
    assert "/predict" not in document["paths"]  # two models: it must be named


def test_every_reference_and_path_of_the_openapi_document_exists(serving: Serving) -> None:
    text = serving.ask("GET", "/openapi.json").body.decode()
    document = json.loads(text)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method in methods:
            assert serving.ask(method.upper(), path).status not in (404, 405), path


def test_the_example_of_the_openapi_document_is_accepted(serving: Serving) -> None:
    document = serving.ask("GET", "/openapi.json").json()
    example = document["components"]["schemas"]["fraud.Input"]["examples"][0]
    assert serving.post("/predict", example).status == 200


def test_draining_is_not_ready_but_alive(serving: Serving) -> None:
    with serving.connect() as client:
        ask = b"GET %b HTTP/1.1\r\nHost: box\r\n\r\n"
        assert client.send(ask % b"/healthz").answer().status == 200
        serving.thread.call(lambda: None)
        with serving.connect() as other:
            other.send(ask % b"/v2/health/live")
            assert other.answer().status == 200
            serving.thread.call(serving.worker.stop)
            for _ in range(10):  # turns of the event loop: from the stop to the drain there are a few
                serving.thread.call(lambda: None)
            answer = other.send(ask % b"/v2/health/ready").answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
        answer = client.send(ask % b"/healthz").answer()
        assert (answer.status, answer.json()["status"]) == (503, "draining")
