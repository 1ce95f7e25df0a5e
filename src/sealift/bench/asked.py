"""A release's golden inputs, or one file -> the requests that are sent, and what their answers must hold."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sealift.bench.answer import Answer
from sealift.errors import NotInstalled, StoreError, UsageError

_FORMATS: Final = {
    "FP64": "d", "FP32": "f", "FP16": "e", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "BOOL": "?",
}  # fmt: skip
_MEDIA: Final = {
    ".json": "application/json",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """A recorded output: `|y - recorded| <= tolerance` elementwise."""

    datatype: str
    data: bytes
    tolerance: float


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    `name`: which golden input it is. `expected`: recorded outputs by name; none: only the status counts.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    expected: Mapping[str, Expected] = field(default_factory=dict)

    def message(self, host: str) -> bytes:
        """The request as bytes of HTTP/1.1."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def difference(self, answer: Answer) -> str:
        """What is not as recorded in an answer with status 200; '' where nothing is, or nothing was recorded."""
        if not self.expected:
            return ""
        try:
            found = _tensors_of(answer)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return f"the answer is not readable: {error!r}"
        for name, wanted in self.expected.items():
            problem = _differs(wanted, found.get(name))
            if problem:
                return f"output {name}: {problem}"
        return ""


def of_file(path: Path, url_path: str, content_type: str | None = None) -> Asked:
    """The file's bytes as one request. Raises: UsageError: it cannot be read."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--input {path}: {error.strerror}") from error
    return Asked(path.name, url_path, {"Content-Type": content_type or media_of(path)}, body)


def of_goldens(folder: Path, only: str | None = None) -> tuple[Asked, ...]:
    """The golden inputs of every model of a release (`application/goldens/MODEL.json`), or of one.

    Payloads go to `/predict/MODEL`; tensors go as binary to the model's V2 endpoint and come back as binary.

    Raises:
        StoreError: the folder is damaged.
        UsageError: there is no such model.
        NotInstalled: the release carries no golden input.
    """
    sets = sorted(folder.glob("*.json")) if folder.is_dir() else []
    names = [path.stem for path in sets]
    if only is not None and only not in names:
        raise UsageError(f"--model {only}: the release has {', '.join(names) or 'no models'}")
    found = [asked for path in sets if only in (None, path.stem) for asked in _of_set(path, len(sets) > 1)]
    if not found:
        raise NotInstalled(
            "the release carries no golden inputs", next_step="name an input of your own with --input FILE"
        )
    return tuple(found)


def media_of(path: Path) -> str:
    """The content type that a file's name tells."""
    return _MEDIA.get(path.suffix.lower(), "application/octet-stream")


def _of_set(path: Path, several: bool) -> Sequence[Asked]:
    try:
        document = json.loads(path.read_bytes())
        model = document["model"]
        predict = f"/predict/{quote(model, safe='')}" if several else "/predict"
        return [_of_golden(golden, model, predict, path.parent) for golden in document["goldens"]]
    except (OSError, ValueError, KeyError, TypeError, binascii.Error) as error:
        raise StoreError(f"golden inputs {path}: damaged: {error!r}") from error


def _of_golden(golden: Mapping[str, Any], model: str, predict: str, folder: Path) -> Asked:
    if golden.get("payload") is not None:
        file = folder / golden["payload"]
        return Asked(golden["name"], predict, {"Content-Type": media_of(file)}, file.read_bytes())
    tensors = [(tensor, _raw(tensor)) for tensor in golden["inputs"]]
    inputs = [
        {
            "name": tensor["name"],
            "shape": list(tensor["shape"]),
            "datatype": tensor["datatype"],
            "parameters": {"binary_data_size": len(raw)},
        }
        for tensor, raw in tensors
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    expected = {
        output["tensor"]["name"]: Expected(
            output["tensor"]["datatype"], _raw(output["tensor"]), float(output["tolerance"])
        )
        for output in golden["outputs"]
    }
    body = head + b"".join(raw for _, raw in tensors)
    return Asked(golden["name"], f"/v2/models/{quote(model, safe='')}/infer", headers, body, expected)


def _raw(tensor: Mapping[str, Any]) -> bytes:
    """As the protocol's binary extension has it; BYTES elements are preceded by their length."""
    if tensor["datatype"] != "BYTES":
        return base64.b64decode(tensor.get("data", ""), validate=True)
    items = [text.encode() for text in tensor.get("strings", ())]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _tensors_of(answer: Answer) -> dict[str, bytes]:
    length = answer.header(b"inference-header-content-length")
    if length is None:
        raise ValueError("no binary outputs")
    document, at, found = json.loads(answer.body[: int(length)]), int(length), {}
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = answer.body[at : at + size]
        at += size
    return found


def _differs(wanted: Expected, got: bytes | None) -> str:
    if got is None:
        return "missing"
    if len(got) != len(wanted.data):
        return f"expected {len(wanted.data)} bytes, found {len(got)}"
    letter = _FORMATS.get(wanted.datatype)
    if letter is None or wanted.tolerance == 0:
        return "" if got == wanted.data else "expected the recorded values, found others"
    pattern = f"<{len(got) // struct.calcsize('<' + letter)}{letter}"
    distance = 0.0
    for one, other in zip(struct.unpack(pattern, wanted.data), struct.unpack(pattern, got), strict=True):
        if one != other and not (one != one and other != other):  # NaN equals NaN
            distance = max(distance, abs(one - other)) if math.isfinite(one - other) else math.inf
    return (
        "" if distance <= wanted.tolerance else f"differs by {distance:.3g}, tolerance {wanted.tolerance:.3g}"
    )
