"""`{"text": ...}` or a raw UTF-8 body -> a BYTES tensor of one element."""

from __future__ import annotations

import numpy as np

from sealift.errors import InvalidInput
from sealift.model.arrays import JsonValue, Prepared, shown
from sealift.model.signature import TensorSpec


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
        tensor.fill(_text(payload))
        return Prepared({self._name: tensor}, self._added)


def _text(payload: bytes | JsonValue) -> str:
    if isinstance(payload, bytes):
        try:
            return payload.decode("utf-8")
        except UnicodeDecodeError as error:
            text = f"the body is not UTF-8 text: byte {error.start} is 0x{payload[error.start]:02x}"
            raise InvalidInput(text, code="invalid_text") from error
    if not isinstance(payload, dict) or "text" not in payload:
        raise InvalidInput(
            f'expected {{"text": "..."}}, got {shown(payload)}', code="invalid_body", field="text"
        )
    extra = [key for key in payload if key != "text"]
    if extra:
        raise InvalidInput(f"{extra[0]}: only text is taken", code="invalid_field", field=extra[0])
    text = payload["text"]
    if not isinstance(text, str):
        raise InvalidInput(f"text: expected a string, got {shown(text)}", code="invalid_field", field="text")
    return text
