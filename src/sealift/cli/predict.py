"""`sealift predict INPUT...`: to a running service, or through a project in process."""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result, table
from sealift.errors import NotServing, RequestError, UsageError
from sealift.serve import control
from sealift.store.prefix import choose_service

if TYPE_CHECKING:
    from sealift.serve.predictor import Predictor

TIMEOUT_S: Final = 60.0
_MEDIA: Final = {
    ".json": "application/json",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}

Answer = dict[str, Any]
Predict = Callable[[bytes, str], Answer]
"""(body, content type) -> the answer."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `predict`."""
    add_common(
        parser,
        "Send inputs to a service and print its answers: photos and other files as they are, .json files as "
        "JSON, '-' for standard input. With --project the project is run in process, nothing is served.",
        "  sealift predict cat.jpg\n"
        "  sealift predict case.json --model fraud\n"
        "  sealift predict *.jpg --url http://127.0.0.1:8000\n"
        "  echo '{\"amount\": 12.5}' | sealift predict - --project fraud/\n"
        "  sealift predict photos/ --project photos-new/ --against http://127.0.0.1:5000",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="a service elsewhere, e.g. http://127.0.0.1:8000 or https://box:8000")
    where.add_argument("--project", type=Path, metavar="DIR", help="run this project in process")
    parser.add_argument(
        "--ca", type=Path, metavar="F", help="https: trust this CA (PEM) instead of this machine's"
    )
    parser.add_argument(
        "--against",
        metavar="URL",
        help="with --project: ask the old service there too, and compare; exits with 63 where answers differ",
    )
    parser.add_argument(
        "--against-form",
        metavar="FORM",
        help="how it is asked: raw, json, base64:FIELD, file:FIELD, v2 or mlflow (default: DIR/old-service.toml)",
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=1e-3,
        metavar="X",
        help="how far numbers may be apart, relative",
    )
    parser.add_argument("--model", metavar="NAME", help="the service, or one model of a service with several")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `predict`."""
    if args.against is not None:
        return _against(args)
    if args.against_form is not None:
        raise UsageError("--against-form says how --against is asked; give --against URL")
    bodies = [(name, *_read(name)) for name in args.inputs]
    with _opened(args) as predict:
        answers = []
        for name, body, media in bodies:
            began = time.perf_counter()
            answer = predict(body, media)
            took_ms = (time.perf_counter() - began) * 1000
            answers.append({**answer, "input": name, "latency_ms": round(took_ms, 2)})
    result = answers[0] if len(answers) == 1 else {"answers": answers}
    print_result(args, result, table([_row(answer) for answer in answers]))
    return 0


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected 0 to 1, got {text}")
    return value


def _against(args: argparse.Namespace) -> int:
    """Beside an old service; what that needs stays on the connected machine."""
    try:
        from sealift.cli.against import Parts, compare_with
    except ModuleNotFoundError as error:
        if error.name != "sealift.cli.against":
            raise
        raise UsageError(
            "--against is of the connected side; a box's own sealift does not carry it",
            next_step="compare where the project lies, before it is packed",
        ) from error
    context = _trusting(args.ca) if args.against.startswith("https://") else None
    return compare_with(args, Parts(lambda folder: _loaded(args, folder)[0], _read, _parsed, context))


def _read(name: str) -> tuple[bytes, str]:
    if name == "-":
        body = sys.stdin.buffer.read()
        return body, _sniffed(body)
    path = Path(name)
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    return body, _MEDIA.get(path.suffix.lower(), "application/octet-stream")


def _sniffed(body: bytes) -> str:
    return "application/json" if body.lstrip()[:1] in (b"{", b"[") else "application/octet-stream"


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[Predict]:
    if args.project is not None:
        with tempfile.TemporaryDirectory() as workspace:
            yield _in_process(args, Path(workspace))
        return
    connection, path = _address(args)
    try:
        yield lambda body, media: _post(connection, path, body, media)
    finally:
        connection.close()


def _in_process(args: argparse.Namespace, workspace: Path) -> Predict:
    from sealift.serve.ticket import Ticket

    predictor, release = _loaded(args, workspace)

    def predict(body: bytes, media: str) -> Answer:
        payload = _parsed(body) if media == "application/json" else body
        return {**predictor.predict(payload, Ticket()), "release": release}

    return predict


def _loaded(args: argparse.Namespace, workspace: Path) -> tuple[Predictor, str]:
    """The project's model, and the name of what it would be as a release."""
    from sealift.cli.services import project_service
    from sealift.engine.choose import engine_of
    from sealift.serve.predictor import load_predictor

    service = project_service(args.project, workspace)
    name: str | None = args.model
    models = {model.name: model for model in service.models}
    if (name is None and len(models) > 1) or (name is not None and name not in models):
        raise UsageError(f"--model: expected one of {', '.join(models)}, got {name or 'none'}")
    model = models[name] if name is not None else service.models[0]
    return load_predictor(model, engine_of(model)), service.release


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise UsageError(f"the input is not JSON: {error}") from error


def _address(args: argparse.Namespace) -> tuple[HTTPConnection, str]:
    """Whom to ask, not connected yet, and the path to post to."""
    if args.url is not None:
        parts = urlsplit(args.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"--url {args.url}: expected http://HOST:PORT or https://HOST:PORT")
        context = _trusting(args.ca) if parts.scheme == "https" else None
        return _connection(parts.netloc, context), _predict_path(args.model)
    prefix = prefix_of(args)
    is_service = args.model in prefix.services()
    name = choose_service(prefix, args.model if is_service else None)
    found = control.ask(prefix.control(name), "status")
    host = f"[{found['host']}]" if ":" in found["host"] else found["host"]
    context = _trusting_itself(found["certificate"]) if found.get("certificate") else None
    return _connection(f"{host}:{found['port']}", context), _predict_path(None if is_service else args.model)


def _connection(host: str, context: ssl.SSLContext | None) -> HTTPConnection:
    if context is None:
        return HTTPConnection(host, timeout=TIMEOUT_S)
    return HTTPSConnection(host, timeout=TIMEOUT_S, context=context)


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError too: no certificate in it
        raise UsageError(f"--ca {ca}: {error.strerror or error}") from error


def _trusting_itself(certificate: str) -> ssl.SSLContext:
    """For the service of this machine: whoever shows its own certificate, whatever host that names."""
    context = _trusting(Path(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _predict_path(model: str | None) -> str:
    return "/predict" if model is None else f"/predict/{quote(model, safe='')}"


def _post(connection: HTTPConnection, path: str, body: bytes, media: str) -> Answer:
    try:
        connection.request("POST", path, body, {"Content-Type": media})
        response = connection.getresponse()
        data = response.read()
    except (OSError, HTTPException) as error:
        raise NotServing(
            f"{connection.host}:{connection.port} does not answer: {error}", next_step="sealift status"
        ) from error
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise NotServing(
            f"{connection.host}:{connection.port} answered {response.status} without JSON"
        ) from error
    if response.status != 200:
        raise RequestError(f"{answer.get('error')} (HTTP {response.status})", code=str(answer.get("code")))
    return answer if isinstance(answer, dict) else {"prediction": answer}


def _row(answer: Answer) -> tuple[str, ...]:
    shown = answer.get("label", answer.get("prediction"))
    text = shown if isinstance(shown, str) else json.dumps(shown)
    best = answer.get("probabilities") or [{}]
    score = answer.get("score", best[0].get("probability") if isinstance(best[0], dict) else None)
    figure = f"{score:.3f}" if isinstance(score, float) else ""
    return answer["input"], text[:60], figure, f"{answer['latency_ms']:.1f} ms"
