"""What `onnxruntime.quantization` and `onnxruntime.transformers` want before they work, and leave behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from onnx import ModelProto

INFERRED: Final = ("onnx.infer", "onnxruntime.quant")
"""Their mark of a graph whose types are inferred; without it, they write the model to disk to infer them."""


@contextmanager
def quiet() -> Iterator[None]:
    """They talk through the root logger; what matters is measured afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def without_mark(model: ModelProto) -> ModelProto:
    """The same model, changed in place: the mark is no property of it."""
    for entry in [entry for entry in model.metadata_props if entry.key == INFERRED[0]]:
        model.metadata_props.remove(entry)
    return model
