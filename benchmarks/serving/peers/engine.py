"""What every adapter runs: the same model, the same preprocessing, the same engine settings."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

CASE = os.environ["CASE"]
PORT = int(os.environ["PORT"])
WORK = Path(os.environ["WORK"])
MODELS = Path(os.environ["MODELS"])
WINDOW_MS = float(os.environ.get("WINDOW_MS", 5))
MAX_BATCH = 16


def session() -> Any:
    """The case's model: the table on one thread, a photo's network on both (or ENGINE_THREADS)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    usual = 1 if CASE == "tab" else 2
    options.intra_op_num_threads = int(os.environ.get("ENGINE_THREADS", usual))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = MODELS / ("table.onnx" if CASE == "tab" else "lite0.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def decode(photo: bytes) -> Any:
    """JPEG -> float32 (3, 224, 224): Pillow, straight to size, bilinear, (x - 127) / 128."""
    from PIL import Image

    picture = Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_text(photo: str | bytes) -> Any:
    """The same from base64."""
    return decode(base64.b64decode(photo))


def tensor_of(body: bytes) -> Any:
    """602,112 bytes -> float32 (3, 224, 224)."""
    return np.frombuffer(body, np.float32).reshape(3, 224, 224)


def answers(found: Any) -> list[dict[str, Any]]:
    """One JSON answer per row of the model's output."""
    if CASE == "tab":
        return [{"probs": row.tolist()} for row in found]
    return [{"class": int(row.argmax())} for row in found]
