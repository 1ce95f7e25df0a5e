"""An input -> a request in the old service's own form, and its answer."""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

from numpy.typing import NDArray

from sealift.errors import NotServing, UsageError
from sealift.migrate.old_service import OldService
from sealift.migrate.own import Input, Own
from sealift.model.datatypes import datatype_of

TIMEOUT_S: Final = 60.0
_JSON: Final = "application/json"
_BOUNDARY: Final = "sealift-6f1c2a0b9d"
_WRONG_PLACE: Final = (404, 405)


class NoAnswer(Exception):
    """Why an input has none: nobody listens, it took too long, or what came is no JSON."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted."""

    body: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back: `document` is parsed JSON; None where a refusal (4xx, 5xx) was no JSON."""

    status: int
    document: Any

    @property
    def refusal(self) -> str:
        """Why it refused, in a few words; empty: it did not."""
        if 200 <= self.status < 300:
            return ""
        said = (
            self.document.get("error") or self.document.get("message")
            if isinstance(self.document, dict)
            else None
        )
        return f"HTTP {self.status}" + (f": {said}" if isinstance(said, str) else "")


def request_of(form: str, given: Input, own: Own) -> Request:
    """An input in the form of `OldService.form`. Raises: NoAnswer: it needs tensors, and the project made none."""
    kind, _, field = form.partition(":")
    if kind in ("v2", "mlflow") and own.refusal:
        raise NoAnswer(f"the project makes no tensors of it: {own.refusal}")
    if kind == "v2":
        tensors = [_tensor(name, array) for name, array in own.inputs.items()]
        return Request(json.dumps({"inputs": tensors}).encode(), _JSON)
    if kind == "mlflow":
        return Request(json.dumps(_mlflow(given, own)).encode(), _JSON)
    if kind == "base64" and given.media != _JSON:
        return Request(json.dumps({field: base64.b64encode(given.body).decode()}).encode(), _JSON)
    if kind == "file":
        return Request(_multipart(field, given), f"multipart/form-data; boundary={_BOUNDARY}")
    return Request(given.body, _JSON if kind == "json" else given.media)


def _tensor(name: str, array: NDArray[Any]) -> dict[str, Any]:
    data = array.reshape(-1).tolist()
    return {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype), "data": data}


def _mlflow(given: Input, own: Own) -> dict[str, Any]:
    """Named fields as a table of one row, in their order; anything else as tensors."""
    row = json.loads(given.body) if given.media == _JSON and own.has_fields else None
    if isinstance(row, dict):
        return {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
    return {"inputs": {name: array.tolist() for name, array in own.inputs.items()}}


def _multipart(field: str, given: Input) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="input"\r\n'
        f"Content-Type: {given.media}\r\n\r\n"
    )
    return head.encode() + given.body + f"\r\n--{_BOUNDARY}--\r\n".encode()


class OldClient:
    """Asks one old service, over one connection that is opened again where it was closed.

    Args:
        url: `http://HOST:PORT`; a path in it counts instead of `service.path`.
        model: for `{model}` in the path.
        context: for https.
    Raises: UsageError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        service: OldService,
        model: str,
        *,
        context: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"--against {url}: expected http://HOST:PORT, with or without a path")
        path = parts.path if parts.path not in ("", "/") else service.path
        self.path = quote(path.replace("{model}", model), safe="/:%") + (
            f"?{parts.query}" if parts.query else ""
        )
        self.place = f"{parts.scheme}://{parts.netloc}{self.path}"
        try:
            self._connection = (
                HTTPSConnection(parts.netloc, timeout=timeout_s, context=context)
                if parts.scheme == "https"
                else HTTPConnection(parts.netloc, timeout=timeout_s)
            )
        except HTTPException as error:
            raise UsageError(f"--against {url}: {error}") from error

    def ask(self, request: Request) -> Answered:
        """Raises: NoAnswer."""
        try:
            self._connection.request("POST", self.path, request.body, {"Content-Type": request.media})
            response = self._connection.getresponse()
            data = response.read()
        except TimeoutError as error:
            self._connection.close()
            raise NoAnswer(f"no answer within {self._connection.timeout:g} s") from error
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise NoAnswer(f"it does not answer: {error}") from error
        if response.status in _WRONG_PLACE:
            raise NoAnswer(f"HTTP {response.status}: nothing answers POST there")
        return _answered(response.status, data)

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()


def _answered(status: int, data: bytes) -> Answered:
    try:
        return Answered(status, json.loads(data))
    except ValueError as error:
        if status >= 400:
            return Answered(status, None)
        raise NoAnswer(f"HTTP {status}, but no JSON: {data[:40]!r}") from error


def unanswered(place: str, problems: list[str], untried: int, total: int) -> NotServing:
    """The one error for all inputs without an answer."""
    rest = [f"{untried} more were not tried"] if untried else []
    return NotServing(
        f"{place}: {len(problems)} of {total - untried} inputs have no answer",
        problems=[*problems[:20], *rest],
        next_step="see that the old service runs there and how it is asked: old-service.toml, --against-form",
    )
