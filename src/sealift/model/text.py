"""`{"text": ...}` or a raw UTF-8 body -> a BYTES tensor of one element."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from sealift.errors import InvalidInput
from sealift.model.arrays import JsonValue, Prepared, shown
from sealift.model.signature import TensorSpec

Pair = Literal["refused", "optional", "required"]
_FORMS: Final = {
    "refused": '{"text": "..."}',
    "optional": '{"text": "..."} or {"text": "...", "pair": "..."}',
    "required": '{"text": "...", "pair": "..."}',
}


class TextPreparation:
    """Args: spec: the model's only input, BYTES; must have passed `agreement.text_problems`."""

    def __init__(self, spec: TensorSpec) -> None:
        self._name = spec.name
        axes = spec.shape if spec.shape is not None else ("?",)
        self._shape = (1,) * len(axes)
        self._added = frozenset(axes[:1])

    def __call__(self, payload: bytes | JsonValue) -> Prepared:
        """Raises: InvalidInput: not text, or bytes that are not UTF-8."""
        tensor = np.empty(self._shape, dtype=np.object_)
        tensor.fill(read_texts(payload)[0])
        return Prepared({self._name: tensor}, self._added)


def read_texts(payload: bytes | JsonValue, pair: Pair = "refused") -> tuple[str, str | None]:
    """The text and its second text, None where there is none.

    Raises: InvalidInput: another body, no string, a pair that is missing or not taken.
    """
    expected = _FORMS[pair]
    if isinstance(payload, bytes):
        payload = {"text": _decoded(payload)}
    if not isinstance(payload, dict) or "text" not in payload:
        raise InvalidInput(f"expected {expected}, got {shown(payload)}", code="invalid_body", field="text")
    taken = ("text",) if pair == "refused" else ("text", "pair")
    for key, value in payload.items():
        if key not in taken:
            raise InvalidInput(f"{key}: only {' and '.join(taken)} is taken", code="invalid_field", field=key)
        if not isinstance(value, str):
            text = f"{key}: expected a string, got {shown(value)}"
            raise InvalidInput(text, code="invalid_field", field=key)
    if pair == "required" and "pair" not in payload:
        raise InvalidInput(f"pair: missing; expected {expected}", code="invalid_field", field="pair")
    return payload["text"], payload.get("pair")


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"the body is not UTF-8 text: byte {error.start} is 0x{body[error.start]:02x}"
        raise InvalidInput(text, code="invalid_text") from error
